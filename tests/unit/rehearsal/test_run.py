"""Temporary users are removed whatever happens (tests/integration/servers/test_rehearsal.py has a real hub)."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.rehearsal import run
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import MIB, Memory, Places, Wanted
from ansible.module_utils.jupyterhub_deploy.rehearsal.run import Found, Rehearsal
from ansible.module_utils.jupyterhub_deploy.rehearsal.starts import Start

FOUND = Found(Places(1, 0, True), ["admin"])
MEMORY = Memory(8192 * MIB, 4096 * MIB)
#: Longer than any test lasts.
NEVER = 60.0


class Users:
    """Temporary users of which nothing is created; ``done`` has what was asked for."""

    def __init__(self, done: list[str], problem: Exception | None) -> None:
        self.done, self.problem = done, problem

    def create(self, names: list[str], admin: Any) -> None:
        self.done.append("create")
        if self.problem:
            raise self.problem

    def remove(self, names: list[str], report: Any) -> None:
        self.done.append(f"remove {' '.join(names)}")

    def containers(self, names: list[str]) -> list[str]:
        return []


class Starter:
    """Starts nothing, and waits for the end unless it is to be quick."""

    quick = True

    def __init__(self, *_: Any) -> None:
        self.stop = threading.Event()

    def start(self, name: str) -> Start:
        return Start(1.0) if self.quick or not self.stop.wait(NEVER) else Start()


class Api:
    """The API of a hub without users; its service and the administrator share ``done``."""

    url, timeout, answers = "http://127.0.0.1:9/hub/api", 1.0, True

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def users(self) -> list[dict[str, Any]]:
        if not self.answers:
            raise DeployError("the hub does not answer")
        return []

    def request(self, method: str, path: str, **_: Any) -> None:
        self.done.append(f"{method} {path}")


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def rehearsal(tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    made: Any = object.__new__(Rehearsal)
    made.client, made.hub, made.reporter, made.info = None, "lab", Reporter(str(tmp_path / "progress")), {}
    made.api, made.users = Api(done), Users(done, None)
    made.accounts = SimpleNamespace(request=lambda *_, **__: {"token": "t", "token_id": "a7", "token_of": "admin"})
    monkeypatch.setattr(run, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(run, "Starter", Starter)
    monkeypatch.setattr(Starter, "quick", True)
    monkeypatch.setattr(run, "HubApi", lambda url, token, timeout: Api(done))
    monkeypatch.setattr(run.measure, "memory", lambda hub, info: MEMORY)
    monkeypatch.setattr(run, "stop_file", lambda hub: str(tmp_path / "stop"))
    return made  # type: ignore[no-any-return]


ALL = ["create", "remove rehearsal-1 rehearsal-2", "DELETE /users/admin/tokens/a7"]


def test_users_and_token_are_removed_at_the_end(rehearsal: Rehearsal, done: list[str]) -> None:
    result = rehearsal.run(Wanted(2), FOUND)
    assert (result["ready_servers"], result["slowest_seconds"], result["servers_left"]) == (2, 1.0, None)
    assert done == ALL


def test_users_of_which_only_some_were_created_are_removed(rehearsal: Rehearsal, done: list[str]) -> None:
    rehearsal.users.problem = DeployError("no space left")  # type: ignore[attr-defined]
    with pytest.raises(DeployError, match=r"^no space left$"):
        rehearsal.run(Wanted(2), FOUND)
    assert done == ALL


@pytest.mark.parametrize("interrupted", [KeyboardInterrupt, ZeroDivisionError])
def test_users_are_removed_after_an_interruption(
    interrupted: type[BaseException], rehearsal: Rehearsal, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Starter, "quick", False)

    def fail() -> None:
        raise interrupted

    rehearsal.api.users = fail  # type: ignore[assignment, method-assign]
    with pytest.raises(interrupted):
        rehearsal.run(Wanted(2), FOUND)
    assert done == ALL


@pytest.mark.parametrize(
    ("ended", "reason"), [(True, "somebody ended it with users=0 or SIGTERM"), (False, "the hub does not answer")]
)
def test_a_rehearsal_that_stops_early_reports_and_fails(
    ended: bool, reason: str, rehearsal: Rehearsal, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Starter, "quick", False)
    monkeypatch.setattr(Api, "answers", ended)
    if ended:
        run.end_running("lab")
    with pytest.raises(
        DeployError, match=rf"^the rehearsal was stopped early: {reason}; its temporary users"
    ) as caught:
        rehearsal.run(Wanted(2), FOUND)
    assert done == ALL
    assert "not ready when the rehearsal was stopped: 2" in caught.value.result["messages"]
    assert f"stopped: {reason}" in (tmp_path / "progress").read_text()
    run.forget_end("lab")
    run.forget_end("lab")
    assert not (tmp_path / "stop").exists()
