"""When a rehearsal stops early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import MIB, Memory, Places
from ansible.module_utils.jupyterhub_deploy.rehearsal.watch import Watch

MEMORY = Memory(8192 * MIB, 4096 * MIB)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(tmp_path: Path, clock: Clock) -> Watch:
    return Watch(str(tmp_path / "stop"), ["rehearsal-1", "rehearsal-2"], Places(0, 4, True), clock)


def user(name: str, pending: str | None = None) -> dict[str, Any]:
    return {"name": name, "servers": {"": {"pending": pending}}}


WAITING = [user("rehearsal-1", "spawn"), user("rehearsal-2"), user("alice")]


def test_temporary_users_may_wait(watch: Watch, clock: Clock) -> None:
    assert watch.reason(MEMORY, WAITING) == ""
    clock.now = 100.0
    assert watch.reason(MEMORY._replace(available=2048 * MIB), WAITING) == ""
    assert watch.reason(MEMORY, WAITING) == ""
    assert (watch.lowest, watch.places.active) == (2048 * MIB, 3)


def test_a_real_user_who_waits_has_precedence(watch: Watch, clock: Clock) -> None:
    waits = [*WAITING[:2], user("alice", "spawn")]
    assert watch.reason(MEMORY, waits) == ""
    clock.now = 30.0
    assert watch.reason(MEMORY, waits) == ""
    assert watch.reason(MEMORY, WAITING) == ""  # her server is ready
    clock.now = 50.0
    assert watch.reason(MEMORY, waits) == ""  # she starts another time
    clock.now = 80.5
    assert watch.reason(MEMORY, waits) == "the server of alice, a real user, was not ready after 30 s"


def test_a_full_hub_would_refuse_a_real_user(watch: Watch) -> None:
    full = [*WAITING, user("bob")]
    assert watch.reason(MEMORY, full) == "the hub is full: 4 of 4 servers, 2 of them of real users"


def test_memory_is_kept_for_everything_else(watch: Watch) -> None:
    reason = watch.reason(MEMORY._replace(available=400 * MIB), WAITING)
    assert reason == "memory became scarce: the host has 419.4 MB available, and 429.5 MB stay free"


def test_somebody_can_end_it(watch: Watch) -> None:
    Path(watch.file).touch()
    assert watch.reason(MEMORY, []) == "somebody ended it with users=0 or SIGTERM"
    Path(watch.file).unlink()
    assert watch.reason(MEMORY, []) == ""
    watch.terminated = True
    assert watch.reason(MEMORY, []) == "somebody ended it with users=0 or SIGTERM"


def test_it_ends_before_other_runs_stop_waiting_for_the_hub(watch: Watch, clock: Clock) -> None:
    clock.now = 1201.0
    assert watch.reason(MEMORY, WAITING) == "it took longer than 20 minutes"
