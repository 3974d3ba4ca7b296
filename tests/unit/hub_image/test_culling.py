"""Which servers are stopped, and what their containers know of it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import tarfile
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests

from jupyterhub_deploy_hub import culler, culling
from jupyterhub_deploy_hub.culling import Limits

NOW = datetime.now(timezone.utc)
LIMITS = Limits(idle=3600, max_age=0, kernels=1800)
IDLE_KERNEL = [{"execution_state": "idle"}]


def configured(**settings: int) -> tuple[Any, list[Any], list[Any]]:
    c = SimpleNamespace(HubSpawner=SimpleNamespace())
    return c, *culling.configure(c, {"idle": 0, "max_age": 0, "kernels": 0, **settings}, "lab", "lab-network")


def test_the_culler_can_only_list_and_stop_servers() -> None:
    c, (service,), (role,) = configured(idle=3600, kernels=1800)
    assert vars(c.HubSpawner) == {
        "cull_idle_seconds": 3600, "cull_max_age_seconds": 0, "cull_kernels_seconds": 1800,
    }  # fmt: skip
    assert role["scopes"] == ["list:users", "read:servers", "delete:servers"]
    assert json.loads(service["command"][-1]) == {"hub": "lab", "network": "lab-network", "every": 120, "grace": 600}


def test_without_a_limit_of_servers_there_is_no_culler() -> None:
    assert configured(kernels=3600)[1:] == ([], [])


@pytest.mark.parametrize(
    ("shortest", "times"),
    [(20, {"every": 2, "grace": 20}), (300, {"every": 30, "grace": 300}), (86400, {"every": 120, "grace": 600})],
)
def test_times_follow_the_shortest_limit(shortest: int, times: dict[str, int]) -> None:
    assert culling.times(shortest) == times


def test_a_server_has_the_limits_of_its_start() -> None:
    assert culling.limits_of(culling.environment(LIMITS)) == LIMITS
    assert culling.environment(Limits()) == {}
    assert culling.limits_of({"PATH": "/bin"}) is None


def test_the_files_are_readable_and_change_no_directory() -> None:
    with tarfile.open(fileobj=io.BytesIO(culling.archive())) as tar:
        members = tar.getmembers()
    assert culling.CONFIG_FILE in {member.name for member in members}
    assert {(member.isfile(), member.mode, member.uid) for member in members} == {(True, 0o644, 0)}


@pytest.mark.parametrize(
    ("status", "kernels", "used"),
    [
        (
            {"last_activity": "2026-01-01T10:00:00.5Z"},
            IDLE_KERNEL,
            datetime(2026, 1, 1, 10, 0, 0, 500000, timezone.utc),
        ),
        ({"last_activity": "2026-01-01T10:00:00Z"}, [*IDLE_KERNEL, {"execution_state": "busy"}], NOW),
        (None, [], None),
        ({}, [], None),
        ({"last_activity": "lately"}, [], None),
        ({"last_activity": "2026-01-01T10:00:00Z"}, None, None),
        ({"last_activity": "2026-01-01T10:00:00Z"}, ["x"], None),
        ("x", [], None),
    ],
)
def test_a_busy_kernel_is_use_and_other_answers_are_not_from_jupyter(
    status: Any, kernels: Any, used: datetime | None
) -> None:
    assert culler.last_use(status, kernels, NOW) == used


class Docker:
    """Docker with alice's server, whose limits are `limits`."""

    def __init__(self, limits: Limits | None, started: datetime) -> None:
        self.started = started
        self.variables = {
            "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/alice/",
            "JUPYTERHUB_API_TOKEN": "own",
            **(culling.environment(limits) if limits else {}),
        }

    def containers(self, filters: dict[str, list[str]]) -> list[dict[str, str]]:
        assert filters == {"label": ["org.jupyterhub.deploy.hub=lab", "org.jupyterhub.deploy.user=alice"]}
        return [{"Id": "1"}]

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {
            "State": {"StartedAt": self.started.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")},
            "Config": {"Env": [f"{name}={value}" for name, value in self.variables.items()]},
            "NetworkSettings": {"Networks": {"lab-network": {"IPAddress": "198.18.0.5"}}},
        }


class Site:
    """A hub with alice's server, which was used so many seconds ago by its own answer and by the hub's record."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, limits: Limits | None = LIMITS, grace: int = 0, age: float = 86400
    ) -> None:
        monkeypatch.setattr(docker, "APIClient", lambda: Docker(limits, NOW - timedelta(seconds=age)))
        monkeypatch.setattr(culler, "SimpleAsyncHTTPClient", lambda **_: None)
        self.arbiter = culler.Arbiter("lab", "lab-network", grace, logging.getLogger("test"))
        self.asked: list[tuple[str, str]] = []
        # What the hub says may be of the server before this one.
        self.started = (NOW - timedelta(days=9)).isoformat()

    def stops(self, used: float | None, recorded: float = 0, kernels: Any = (), error: Exception | None = None) -> bool:
        async def ask(url: str, token: str) -> Any:
            self.asked.append((url, token))
            if error:
                raise error
            if used is None:
                return None
            if url.endswith("kernels"):
                return list(kernels)
            return {"last_activity": (NOW - timedelta(seconds=used)).isoformat()}

        self.arbiter._ask = ask  # type: ignore[method-assign]
        server = {"url": "https://alice.hub.example.com/user/alice/", "started": self.started}
        return asyncio.run(self.arbiter(inactive=timedelta(seconds=recorded), inactive_limit=600, server=server))


def test_only_the_server_itself_knows_whether_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Site(monkeypatch).stops(used=3700, recorded=0), "an open tab is no use"
    site = Site(monkeypatch)
    assert not site.stops(used=60, recorded=90000), "the hub was down"
    assert site.asked[0] == ("http://198.18.0.5:8888/user/alice/api/status", "own")


def test_a_busy_kernel_keeps_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = [{"execution_state": "busy"}]
    assert not Site(monkeypatch).stops(used=90000, recorded=90000, kernels=busy)
    old = Site(monkeypatch, LIMITS._replace(max_age=86000))
    assert old.stops(used=0, kernels=busy), "but not beyond the maximum age"


def test_nobody_is_stopped_at_the_start_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Site(monkeypatch, LIMITS._replace(max_age=60), grace=600).stops(used=90000, recorded=90000)


def test_a_server_that_does_not_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Site(monkeypatch).stops(used=None, recorded=90000, error=OSError("no route"))


def test_without_docker_nobody_is_stopped_and_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(monkeypatch)
    works = docker.APIClient
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)

    def refuse(error: Exception) -> Any:
        raise error

    for error in (docker.errors.DockerException("no socket"), requests.ConnectionError("refused")):
        monkeypatch.setattr(docker, "APIClient", lambda error=error: refuse(error))
        clock += culler._DOCKER_PAUSE
        assert not site.stops(used=90000)
        assert not site.stops(used=90000), "not asked again at once"
    assert caplog.messages == [
        "No server is stopped in the next 60 s: Docker does not answer: no socket",
        "No server is stopped in the next 60 s: Docker does not answer: refused",
    ]
    monkeypatch.setattr(docker, "APIClient", works)
    clock += culler._DOCKER_PAUSE
    assert site.stops(used=90000)


def test_without_a_jupyter_server_the_record_of_the_hub_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Site(monkeypatch).stops(used=None, recorded=3700)
    assert not Site(monkeypatch).stops(used=None, recorded=60)


@pytest.mark.parametrize("limits", [None, Limits(kernels=3600)])
def test_a_server_without_a_limit_is_kept(monkeypatch: pytest.MonkeyPatch, limits: Limits | None) -> None:
    site = Site(monkeypatch, limits)
    assert not site.stops(used=90000, recorded=90000)
    assert site.asked == []


def test_a_server_is_asked_when_it_may_be_idle_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Site(monkeypatch, age=600).stops(used=600)
    site = Site(monkeypatch)
    assert not site.stops(used=60)
    assert not site.stops(used=90000), "it cannot be"
    assert len(site.asked) == 2
