"""Stopping servers by the hub's API: the requests, their order, and what one failure does to the others."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers

import jupyterhub_servers
import jupyterhub_status
from support.modules import ModuleError, run

CONFIG = "/etc/jupyterhub/config"
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
STOP = servers.StopOptions("stop", idle_seconds=3600, timeout=0)
STOP_IDLE = dataclasses.replace(STOP, policy="stop-idle")


def ago(seconds: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Engine:
    """A fake Docker client with one container for each server: (user, server name)."""

    def __init__(self, *names: tuple[str, str], image: str = OLD, cores: float = 0.0) -> None:
        self.cores = cores
        self.by_id = {f"id-{user}-{server}": self.container(user, server, image) for user, server in names}

    @staticmethod
    def container(user: str, server: str, image: str) -> dict[str, Any]:
        return {
            "Id": f"id-{user}-{server}",
            "Name": f"/jupyter-{user}-{server}",
            "Image": image,
            "Config": {
                "Image": "notebook:1",
                "Labels": {"org.jupyterhub.deploy.user": user},
                "Env": [f"JUPYTERHUB_SERVER_NAME={server}"],
            },
            "State": {"Running": True, "StartedAt": ago(9000)},
            "NetworkSettings": {"Networks": {}},
        }

    def containers(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert filters == {"label": ["org.jupyterhub.deploy.hub=jupyterhub", "org.jupyterhub.deploy.user"]}
        return [{"Id": identity} for identity in self.by_id]

    def inspect_container(self, identity: str) -> dict[str, Any]:
        if identity not in self.by_id:
            raise docker_errors.NotFound(identity)
        return self.by_id[identity]

    def inspect_image(self, reference: str) -> dict[str, Any]:
        return {"Id": NEW}

    def stats(self, identity: str, stream: bool) -> dict[str, Any]:
        assert stream is False
        used = {"cpu_usage": {"total_usage": int(self.cores * 10**9)}}
        none = {"cpu_usage": {"total_usage": 0}}
        return {"preread": ago(10), "read": ago(9), "precpu_stats": none, "cpu_stats": used}


class Hub:
    """A fake of the hub's API: user to server name to the hub's description of it."""

    def __init__(self, known: dict[str, dict[str, Any]], seen: str | None = None) -> None:
        self.known, self.seen = known, seen
        self.calls: list[str] = []
        self.refused: set[str] = set()
        self.stays = False  # a stop is accepted, and never done
        self.leaves = False  # a stop fails, and the hub counts the server as stopped
        self.engine: Engine | None = None

    def users(self) -> Any:
        return [{"name": user, "servers": dict(found)} for user, found in self.known.items()]

    def user(self, name: str) -> dict[str, Any] | None:
        return {"name": name, "servers": dict(self.known[name])} if name in self.known else None

    def last_seen(self, user: str, server: str) -> str | None:
        return self.seen

    def request(self, method: str, path: str) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if path in self.refused:
            raise DeployError("the hub answers with 500")
        if method == "DELETE" and not self.stays:
            user, _, server = path.removeprefix("/users/").replace("%40", "@").partition("/server")
            del self.known[user][server.removeprefix("s/")]
            if self.engine and not self.leaves:
                del self.engine.by_id[f"id-{user}-{server.removeprefix('s/')}"]
        return 202, None


def idle(seconds: float = 9000) -> dict[str, Any]:
    return {"ready": True, "pending": None, "last_activity": ago(seconds)}


def outcome(engine: Engine, hub: Any, options: servers.StopOptions, check: bool = False) -> dict[str, tuple[str, str]]:
    hub.engine = engine
    found = servers.observe(engine, hub, "jupyterhub", {NEW})
    done = servers.apply(engine, hub, found, options, check)
    return {f"{one['user']}/{one['server']}": (one["action"], one["reason"]) for one in done}


def test_servers_are_stopped_by_the_api_by_their_names() -> None:
    engine = Engine(("alice", ""), ("b@example.com", "gpu"))
    hub = Hub({"alice": {"": idle()}, "b@example.com": {"gpu": idle(), "": idle()}})
    assert outcome(engine, hub, STOP) == {
        "alice/": ("stopped", "it has an old image"),
        "b@example.com/gpu": ("stopped", "it has an old image"),
    }
    assert hub.calls == ["DELETE /users/alice/server", "DELETE /users/b%40example.com/servers/gpu"]


def test_check_mode_calls_nothing() -> None:
    hub = Hub({"alice": {"": idle()}})
    assert outcome(Engine(("alice", "")), hub, STOP, check=True)["alice/"][0] == "would_stop"
    assert hub.calls == []


def test_a_server_that_cannot_be_stopped_does_not_affect_the_others() -> None:
    hub = Hub({"alice": {"": idle()}, "bob": {"": idle()}})
    hub.refused.add("/users/alice/server")
    assert outcome(Engine(("alice", ""), ("bob", "")), hub, STOP) == {
        "alice/": ("failed", "the hub answers with 500"),
        "bob/": ("stopped", "it has an old image"),
    }


def test_a_server_that_does_not_end_in_time_was_not_stopped() -> None:
    hub = Hub({"alice": {"": idle()}})
    hub.stays = True
    action, reason = outcome(Engine(("alice", "")), hub, STOP)["alice/"]
    assert (action, reason) == ("failed", "it was still stopping after 0 s; read the hub's log")


def test_a_server_that_the_hub_could_not_stop_was_not_stopped() -> None:
    hub = Hub({"alice": {"": idle()}})
    hub.leaves = True
    action, reason = outcome(Engine(("alice", "")), hub, STOP)["alice/"]
    assert action == "failed"
    assert reason.startswith(
        "the hub counts it as stopped, but container jupyter-alice- still runs; read the hub's log"
    )


class TestRecheck:
    """What is checked again right before a stop."""

    @pytest.fixture
    def engine(self) -> Engine:
        return Engine(("alice", ""))

    @pytest.fixture
    def hub(self, engine: Engine) -> Hub:
        hub = Hub({"alice": {"": idle()}})
        hub.engine = engine
        return hub

    def stop(self, engine: Engine, hub: Hub, listed: list[dict[str, Any]], policy: str) -> tuple[str, str]:
        (done,) = servers.apply(engine, hub, listed, dataclasses.replace(STOP, policy=policy), check=False)  # type: ignore[arg-type]
        return done["action"], done["reason"]

    @pytest.fixture
    def listed(self, engine: Engine, hub: Hub) -> list[dict[str, Any]]:
        return servers.observe(engine, hub, "jupyterhub", {NEW})  # type: ignore[arg-type]

    def test_nothing_new(self, engine: Engine, hub: Hub, listed: Any) -> None:
        assert self.stop(engine, hub, listed, "stop-idle")[0] == "stopped"

    def test_the_hub_has_newer_activity(self, engine: Engine, hub: Hub, listed: Any) -> None:
        hub.known["alice"][""] = idle(60)
        assert self.stop(engine, hub, listed, "stop-idle") == ("kept", "it was active 1 min ago")
        assert hub.calls == []

    def test_the_proxy_has_newer_activity_than_the_hub(self, engine: Engine, hub: Hub, listed: Any) -> None:
        hub.seen = ago(60)
        assert self.stop(engine, hub, listed, "stop-idle") == ("kept", "it was active 1 min ago")
        assert hub.calls == []

    def test_check_mode_checks_again_too(self, engine: Engine, hub: Hub, listed: Any) -> None:
        hub.seen = ago(60)
        (done,) = servers.apply(engine, hub, listed, STOP_IDLE, check=True)  # type: ignore[arg-type]
        assert (done["action"], done["reason"]) == ("kept", "it was active 1 min ago")

    def test_it_is_computing(self, engine: Engine, hub: Hub, listed: Any) -> None:
        engine.cores = 0.5
        assert self.stop(engine, hub, listed, "stop-idle") == ("kept", "it is computing: 50% of a processor core")
        assert self.stop(engine, hub, listed, "stop")[0] == "stopped"  # an operator who chose this policy wants it

    @pytest.mark.parametrize("policy", ["stop", "stop-idle"])
    def test_it_is_stopping_already(self, engine: Engine, hub: Hub, listed: Any, policy: str) -> None:
        hub.known["alice"][""]["pending"] = "stop"
        assert self.stop(engine, hub, listed, policy) == ("kept", "it is stopping")

    @pytest.mark.parametrize("policy", ["stop", "stop-idle"])
    def test_its_user_has_started_another_one(self, engine: Engine, hub: Hub, listed: Any, policy: str) -> None:
        engine.by_id = {"another": {**engine.container("alice", "", NEW), "Id": "another"}}
        assert self.stop(engine, hub, listed, policy) == ("kept", "it has ended by itself")
        assert hub.calls == []

    def test_the_hub_has_stopped_it(self, engine: Engine, hub: Hub, listed: Any) -> None:
        hub.known = {"alice": {}}
        assert self.stop(engine, hub, listed, "stop") == ("kept", "it has ended by itself")


class TestObserve:
    def test_without_servers_the_hub_is_not_asked(self) -> None:
        assert servers.observe(Engine(), None, "jupyterhub", {NEW}) == []

    def test_a_user_missing_from_the_list_is_requested(self) -> None:
        hub = Hub({"alice": {"": idle()}})
        hub.users = list  # type: ignore[method-assign]
        (alice,) = servers.observe(Engine(("alice", "")), hub, "jupyterhub", {NEW})  # type: ignore[arg-type]
        assert alice["state"] == "ready"

    def test_a_server_that_ended_meanwhile_is_not_unknown_to_the_hub(self) -> None:
        engine, hub = Engine(("alice", ""), ("bob", "")), Hub({"bob": {"": idle()}})

        def user(name: str) -> None:
            engine.by_id.pop("id-alice-")

        hub.user = user  # type: ignore[method-assign]
        (bob,) = servers.observe(engine, hub, "jupyterhub", {NEW})  # type: ignore[arg-type]
        assert bob["user"] == "bob"

    def test_a_server_that_the_hub_does_not_know_is_listed_and_never_stopped(self) -> None:
        hub = Hub({})
        action, reason = outcome(Engine(("alice", "")), hub, STOP)["alice/"]
        assert action == "kept"
        assert reason.startswith("the hub does not know this server")
        assert hub.calls == []


class TestModule:
    @pytest.fixture
    def arguments(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        self.engine, self.hub = Engine(("alice", ""), ("bob", "")), Hub({"alice": {"": idle()}, "bob": {"": idle()}})
        self.hub.engine = self.engine
        monkeypatch.setattr(jupyterhub_servers, "connect", lambda: self.engine)
        monkeypatch.setattr(jupyterhub_servers, "connect_or_none", lambda: self.engine)
        monkeypatch.setattr(jupyterhub_servers.hub_api, "connect", lambda *args: self.hub)
        return {"name": "jupyterhub", "notebook_image": "notebook:1", "token_file": "/nowhere/api_token"}

    def test_a_failure_names_the_server_and_returns_the_others(self, arguments: dict[str, Any]) -> None:
        self.hub.refused.add("/users/alice/server")
        with pytest.raises(ModuleError) as caught:
            run(jupyterhub_servers, **arguments, policy="stop")
        assert str(caught.value) == (
            "1 of 2 old servers could not be stopped (alice: the hub answers with 500); "
            "run make site again, or stop them on the hub's admin page"
        )
        assert [one["action"] for one in caught.value.result["old"]] == ["failed", "stopped"]
        assert caught.value.result["changed"] is True

    def test_keep_changes_nothing(self, arguments: dict[str, Any]) -> None:
        result = run(jupyterhub_servers, **arguments)
        assert result["changed"] is False
        assert [one["user"] for one in result["old"]] == ["alice", "bob"]
        assert len(result["messages"]) == 2

    def test_without_any_current_image_nothing_is_stopped(
        self, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "inspect_image", lambda client, reference: None)
        with pytest.raises(ModuleError, match="the notebook image notebook:1 is not on this host"):
            run(jupyterhub_servers, **arguments, policy="stop")
        assert "DELETE" not in json.dumps(self.hub.calls)

    def test_a_host_without_docker_in_check_mode(
        self, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jupyterhub_servers, "connect_or_none", lambda: None)
        result = run(jupyterhub_servers, **arguments, policy="stop", check=True)
        assert (result["changed"], result["servers"]) == (False, [])


def test_the_urls_of_a_hub_are_those_of_its_configuration(tmp_path: Path) -> None:
    hub = {"Mounts": [{"Source": "/x", "Destination": "/data"}, {"Source": str(tmp_path), "Destination": CONFIG}]}
    file = tmp_path / "settings.json"
    assert servers.urls(hub) is None
    file.write_text(json.dumps({"public_url": "https://hub.example.com/", "subdomains": True, "name": "lab"}))
    assert servers.urls(hub) == ("https://hub.example.com/", True)
    for text in ('{"name": "of an earlier version"}', "{"):
        file.write_text(text)
        assert servers.urls(hub) is None
    assert servers.urls({}) is servers.urls(None) is None


def test_the_status_of_a_host_without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyterhub_status, "connect_or_none", lambda: None)
    monkeypatch.setattr(jupyterhub_status.daemon_info, "is_stopped", lambda: False)
    result = run(jupyterhub_status, name="jupyterhub", token_file="/nowhere/api_token")
    assert result["changed"] is False
    assert (result["hub"], result["unknown"]) == (None, None)
    assert result["messages"] == ["Hub jupyterhub does not exist on this host; run make site to create it."]


@pytest.mark.parametrize("case", ["stopped", "broken SDK"])
def test_the_status_when_docker_cannot_be_asked(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DeployError("Python's docker SDK does not work on this host")

    monkeypatch.setattr(jupyterhub_status, "connect_or_none", fail if case == "broken SDK" else lambda: None)
    monkeypatch.setattr(jupyterhub_status.daemon_info, "is_stopped", lambda: case == "stopped")
    result = run(jupyterhub_status, name="jupyterhub", token_file="/nowhere/api_token")
    reason = "Python's docker SDK does not work" if case == "broken SDK" else "Docker is installed and does not run"
    assert result["unknown"].startswith(reason)
    assert result["messages"] == [f"CANNOT TELL whether hub jupyterhub runs: {result['unknown']}"]


@pytest.mark.parametrize(
    ("module", "doing"),
    [(jupyterhub_servers, "checking users' servers"), (jupyterhub_status, "reading the status of the hub")],
)
def test_a_failure_of_docker_is_one_sentence(module: Any, doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise docker_errors.APIError("server gone")

    for connect in ("connect", "connect_or_none"):
        monkeypatch.setattr(module, connect, Broken, raising=False)
    with pytest.raises(ModuleError, match=f"failed while {doing}: server gone"):
        run(module, name="jupyterhub", token_file="/nowhere/api_token")
