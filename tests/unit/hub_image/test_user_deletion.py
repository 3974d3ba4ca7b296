"""Which servers of a user are stopped before the user is deleted."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tornado import web

from jupyterhub_deploy_hub import user_deletion


class Spawner:
    pass


class User(SimpleNamespace):
    """Who is signed in; a service is something else."""


class Handler:
    """A handler like JupyterHub's, for the users carol and admin, who is signed in."""

    current_user: SimpleNamespace = User(name="admin")
    spawner_class = Spawner

    def __init__(self, **spawners: Any) -> None:
        self.spawners = {name.replace("default", ""): spawner for name, spawner in spawners.items()}
        self.done: list[str] = []
        self.config: dict[str, Any] = {}
        self.body: dict[str, Any] = {}

    def find_user(self, name: str) -> Any:
        return SimpleNamespace(name=name, spawners=self.spawners) if name in ("admin", "carol") else None

    async def stop_single_user(self, user: Any, server: str) -> None:
        assert self.spawners[server]._spawn_future is None or self.spawners[server]._spawn_future.cancelled()
        self.done.append(f"stop {user.name}/{server}")

    async def delete(self, user_name: str) -> None:
        self.done.append(f"delete {user_name}")

    async def patch(self, user_name: str) -> None:
        self.done.append(f"patch {user_name}")

    def get_json_body(self) -> Any:
        return self.body


def spawner(pending: str | None = None, start: Any = None) -> Any:
    return SimpleNamespace(pending=pending, ready=pending is None, _spawn_future=start)


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> type[Handler]:
    """The class with our deletion, which requires a scope as JupyterHub's does."""

    def needs_scope(scope: str) -> Any:
        assert scope in ("delete:users", "admin:users")
        return lambda function: function

    monkeypatch.setitem(sys.modules, "jupyterhub.scopes", SimpleNamespace(needs_scope=needs_scope))
    monkeypatch.setitem(sys.modules, "jupyterhub.user", SimpleNamespace(User=User))
    replaced: type[Handler] = type("Replaced", (Handler,), {"delete": Handler.delete, "patch": Handler.patch})
    user_deletion.protect(replaced)
    return replaced


def test_a_start_that_waits_is_cancelled_and_named_servers_are_stopped(handlers: type[Handler]) -> None:
    async def scenario() -> list[str]:
        waiting = asyncio.ensure_future(asyncio.sleep(600))
        handler = handlers(default=spawner("spawn", waiting), gpu=spawner())
        # As JupyterHub does at the end of a start.
        waiting.add_done_callback(lambda _: setattr(handler.spawners[""], "pending", None))
        await handler.delete("carol")
        assert waiting.cancelled()
        return handler.done

    assert asyncio.run(scenario()) == ["stop carol/", "stop carol/gpu", "delete carol"]


def test_a_user_whose_server_is_still_stopping_is_not_deleted(handlers: type[Handler]) -> None:
    handler = handlers(default=spawner(), old=spawner("stop"))
    with pytest.raises(web.HTTPError, match="A server of carol is still stopping"):
        asyncio.run(handler.delete("carol"))
    assert handler.done == []


def test_a_default_server_that_is_ready_is_stopped_by_jupyterhub(handlers: type[Handler]) -> None:
    handler = handlers(default=spawner())
    asyncio.run(handler.delete("carol"))
    assert handler.done == ["delete carol"]


@pytest.mark.parametrize("user", ["admin", "nobody"])
def test_a_deletion_that_is_refused_stops_nothing(handlers: type[Handler], user: str) -> None:
    handler = handlers(default=spawner(), gpu=spawner())
    asyncio.run(handler.delete(user))
    assert handler.done == [f"delete {user}"]


@pytest.mark.parametrize(
    ("source", "caller", "deleted"),
    [
        ("/srv/homes/{username}", User(name="admin"), False),
        ("/srv/homes/{username}", User(name="deploy"), False),
        ("/srv/homes/{username}", SimpleNamespace(name="idle"), False),
        ("/srv/homes/{username}", SimpleNamespace(name="deploy"), True),  # delete_user.yml, which looks for it
        ("home-{username}", User(name="admin"), True),  # a volume, with a label
        ("/srv/course", User(name="admin"), True),
    ],
)
def test_a_user_with_a_directory_of_the_host_is_deleted_by_the_playbook_only(
    handlers: type[Handler], source: str, caller: SimpleNamespace, deleted: bool
) -> None:
    handler = handlers(default=spawner(), gpu=spawner())
    handler.config = {"Spawner": {"volumes": {source: "/home/jovyan/work"}}}
    handler.current_user = caller
    if deleted:
        asyncio.run(handler.delete("carol"))
        assert handler.done == ["stop carol/gpu", "delete carol"]
    else:
        with pytest.raises(web.HTTPError, match=r"would get the directory /srv/homes/carol\. Delete users"):
            asyncio.run(handler.delete("carol"))
        assert handler.done == []


def test_users_are_not_renamed(handlers: type[Handler]) -> None:
    handler = handlers()
    handler.body = {"name": "caroline", "admin": True}
    with pytest.raises(web.HTTPError, match="carol cannot be renamed: account, files and backups have this name"):
        asyncio.run(handler.patch("carol"))
    assert handler.done == []


def test_the_name_that_the_page_always_sends_is_left_out(handlers: type[Handler]) -> None:
    """JupyterHub would set the name of the user to nothing."""
    handler = handlers()
    handler.body = {"name": "carol", "admin": True}
    asyncio.run(handler.patch("carol"))
    assert (handler.done, handler.get_json_body()) == (["patch carol"], {"admin": True})
