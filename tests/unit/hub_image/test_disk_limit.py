"""Which starts the disk limit refuses, and that what is not known refuses none."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import pytest

from jupyterhub_deploy_hub import disk_limit
from jupyterhub_deploy_hub.disk_limit import DiskIsFullError, DiskUse, Use

GIB = 2**30


class Files:
    """The files of users, as a measurement finds them.

    Attributes:
        used: bytes by user.
        measured: the users of each measurement.
        ready: a measurement waits for it.
        fault: what it raises.
    """

    def __init__(self, **used: int) -> None:
        self.used = used
        self.measured: list[list[str]] = []
        self.ready = threading.Event()
        self.ready.set()
        self.fault: Exception | None = None

    def __call__(self, users: Collection[str], *_: int) -> dict[str, int]:
        self.measured.append(sorted(users))
        self.ready.wait(10)
        if self.fault:
            raise self.fault
        return {user: self.used[user] for user in users if user in self.used}

    def use(self) -> DiskUse:
        return DiskUse(self, logging.getLogger("test"))


def age(disk: DiskUse, user: str, used: int, seconds: float) -> None:
    """Let the last measurement of a user be so many seconds old; it took one second."""
    ended = time.monotonic() - seconds
    disk._known[user], disk._tried[user] = (used, ended), (ended, 1.0)


async def becomes(is_true: Callable[[], bool]) -> None:
    """Wait until a condition is true; a busy machine takes its time."""
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.01)


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 20))

    run.__name__ = test.__name__
    return run


@pytest.mark.parametrize(
    ("used", "limit", "is_near", "is_over"),
    [(0, GIB, False, False), (8 * GIB, 10 * GIB, True, False), (10 * GIB, 10 * GIB, True, False),
     (10 * GIB + 1, 10 * GIB, True, True), (GIB, 0, False, False)],
)  # fmt: skip
def test_users_are_warned_from_80_percent(used: int, limit: int, is_near: bool, is_over: bool) -> None:
    assert (Use(used, limit).is_near, Use(used, limit).is_over) == (is_near, is_over)


def test_sizes_are_those_of_the_setting() -> None:
    assert Use(8 * GIB + GIB // 4, 10 * GIB).text() == "8.2 GiB of 10.0 GiB"
    assert Use(52 * 2**20, 64 * 2**20).text() == "52 MiB of 64 MiB"


@in_loop
async def test_a_recent_measurement_counts_unless_it_is_near_the_limit() -> None:
    files = Files(alice=5)
    disk = files.use()
    assert await disk.at_start("alice", 10) == Use(5, 10)
    files.used["alice"] = 9
    assert await disk.at_start("alice", 10) == Use(5, 10), "measured a moment ago"
    age(disk, "alice", 5, disk_limit.FRESH_SECONDS + 1)
    assert await disk.at_start("alice", 10) == Use(9, 10)
    files.used["alice"] = 1
    age(disk, "alice", 9, disk_limit.FRESH_ABOVE_SECONDS + 1)
    assert await disk.at_start("alice", 10) == Use(9, 10), "it took long in relation to its age"
    age(disk, "alice", 9, disk_limit.FRESH_TIMES + 1)
    assert await disk.at_start("alice", 10) == Use(1, 10), "files may have been deleted"
    assert len(files.measured) == 3


@in_loop
async def test_users_who_wait_are_measured_together() -> None:
    files = Files(alice=1, bob=2, carol=3)
    files.ready.clear()
    disk = files.use()
    starts = [asyncio.create_task(disk.at_start("alice", 10))]
    await becomes(lambda: files.measured == [["alice"]])
    starts += [asyncio.create_task(disk.at_start(name, 10)) for name in ("carol", "bob", "bob")]
    await asyncio.sleep(0.1)
    starts.pop(1).cancel()
    files.ready.set()
    assert [use and use.used for use in await asyncio.gather(*starts)] == [1, 2, 2]
    assert files.measured == [["alice"], ["bob", "carol"]]


@in_loop
async def test_a_failed_measurement_refuses_no_start() -> None:
    files = Files(alice=50)
    disk = files.use()
    assert await disk.at_start("alice", 10) == Use(50, 10)
    files.fault = OSError("no Docker")
    age(disk, "alice", 50, disk_limit.FRESH_SECONDS + 1)
    assert await disk.at_start("alice", 10) == Use(50, 10), "the last one still counts"
    age(disk, "alice", 50, disk_limit.OLD_SECONDS + 1)
    assert await disk.at_start("alice", 10) is None
    files.fault = None
    assert await disk.at_start("bob", 10) is None, "the command ended before it had measured bob"


def test_a_failed_measurement_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    files = Files()
    files.fault = OSError("no Docker")
    asyncio.run(files.use().at_start("alice", 10))
    assert caplog.messages == ["The files of alice were not measured: no Docker"]


def test_a_start_does_not_wait_for_a_slow_measurement(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disk_limit, "WAIT_SECONDS", 0.2)
    files = Files(alice=50)
    files.ready.clear()

    async def start_twice() -> None:
        disk = files.use()
        assert await disk.at_start("alice", 10) is None
        assert await disk.at_start("alice", 10) is None
        assert files.measured == [["alice"]], "one at a time"
        files.ready.set()
        await becomes(lambda: disk.known() == {"alice": 50})

    asyncio.run(start_twice())
    assert caplog.messages == ["The disk of alice was not measured before the start: it takes too long"] * 2


@in_loop
async def test_running_servers_are_measured_again_and_again() -> None:
    files = Files(alice=5)
    disk = files.use()
    users: list[str] = []

    def limited() -> list[str]:
        if users == ["fault"]:
            users[:] = ["alice"]
            raise RuntimeError("database")
        return users

    watch = asyncio.create_task(disk.measure_every(0.05, limited))
    await asyncio.sleep(0.2)
    assert files.measured == [], "nobody has a limit"
    users.append("fault")
    await becomes(lambda: len(files.measured) > 1)
    assert disk.known() == {"alice": 5}
    watch.cancel()


def test_a_permission_is_for_one_start_within_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Files().use()
    assert not disk.is_permitted("alice")
    disk.permit("alice")
    assert [disk.is_permitted(name) for name in ("bob", "alice", "alice")] == [False, True, False]
    monkeypatch.setattr(disk_limit, "PERMISSION_SECONDS", -1)
    disk.permit("alice")
    assert not disk.is_permitted("alice")


def test_a_client_of_the_api_gets_one_line() -> None:
    error = DiskIsFullError("The files of alice use 2.0 GiB of 1.0 GiB.")
    assert (error.status_code, error.jupyterhub_message) == (409, error.log_message)
    assert not hasattr(error, "jupyterhub_html_message")
    assert DiskIsFullError("a", "<p>a</p>").jupyterhub_html_message == "<p>a</p>"
