"""What a user sees while the server starts, as a result; test_rehearsal.py in tests/integration starts servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.rehearsal import starts
from ansible.module_utils.jupyterhub_deploy.rehearsal.starts import Start, Starter

QUEUED = [{"message": f"You are number {number} of 4 in the queue.", "position": number} for number in (3, 1)]
STARTING = {"progress": 50, "message": "Starting the server"}
READY = {"progress": 100, "ready": True, "message": "Server ready at /user/rehearsal-1/"}


def follow(*events: dict[str, Any], stopped: bool = False) -> Start:
    """Follow events of which one comes each second."""
    now = 0.0

    def each_second() -> Iterator[dict[str, Any]]:
        nonlocal now
        for event in events:
            now += 1
            yield event

    return starts.follow(each_second(), lambda: now, lambda: stopped)


def test_a_server_that_waits_and_starts() -> None:
    assert follow(*QUEUED, {}, STARTING, READY) == Start(5.0, "", 3, 2.0)


@pytest.mark.parametrize(
    ("events", "failure"),
    [
        ([STARTING, {"failed": True, "message": "Spawn failed: no image"}], "Spawn failed: no image"),
        ([{"failed": True}], "it failed without a reason"),
        ([STARTING], "the hub ended the progress without a result"),
    ],
)
def test_a_server_that_does_not_start(events: list[dict[str, Any]], failure: str) -> None:
    assert follow(*events).failure == failure
    assert follow(*events, stopped=True) == Start()  # its user is being removed


class Hub:
    """The API of a hub that gives each request the same answer."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def request(self, method: str, path: str, *_: Any, **__: Any) -> tuple[int, None]:
        self.asked.append(f"{method} {path}")
        if isinstance(self.answers[0], str):
            raise DeployError(self.answers[0])
        return self.answers[0], None

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        self.asked.append(path)
        yield READY


def starter(hub: Hub) -> Starter:
    made = Starter(None, "http://127.0.0.1:9/hub/api", "token", lambda _: None, kernels=False)
    made.api = hub  # type: ignore[assignment]
    return made


def test_a_start_that_takes_longer_is_followed() -> None:
    hub = Hub(202)
    assert starter(hub).start("rehearsal-1").seconds is not None
    assert hub.asked == ["POST /users/rehearsal-1/server", "/users/rehearsal-1/server/progress"]
    hub = Hub(201)
    assert starter(hub).start("rehearsal-1").seconds is not None
    assert len(hub.asked) == 1


def test_the_same_reason_is_the_same_text_for_all_users() -> None:
    hub = Hub("user rehearsal-1: container lab-jupyter-rehearsal-2d1 exists")
    failure = starter(hub).start("rehearsal-1").failure
    assert failure == "user NAME: container lab-jupyter-NAME exists"


def test_nobody_starts_a_server_after_the_end() -> None:
    hub = Hub(201)
    ended = starter(hub)
    ended.stop.set()
    assert ended.start("rehearsal-1") == Start()
    assert hub.asked == []


def test_a_kernel_needs_a_server() -> None:
    made = starter(Hub(201))
    made.kernels = True
    assert made.start("rehearsal-1").kernel == "the server has ended"
