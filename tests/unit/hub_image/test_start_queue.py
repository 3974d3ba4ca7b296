"""The queue of server starts: its order, and that no turn is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jupyterhub_deploy_hub import start_queue
from jupyterhub_deploy_hub.start_queue import StartQueue


class Starts:
    """Starts in a queue that end when the test says so.

    Attributes:
        began: the names of those that had their turn, in order.
    """

    def __init__(self, at_once: int) -> None:
        self.queue = StartQueue(at_once)
        self.began: list[str] = []
        self.ends: dict[str, asyncio.Future[None]] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def request(self, *names: str) -> None:
        for name in names:
            self.ends[name] = asyncio.get_running_loop().create_future()
            self.tasks[name] = asyncio.create_task(self._start(name))
        await settle()

    async def _start(self, name: str) -> None:
        end_turn = await self.queue.enter(name)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(end_turn)
        self.began.append(name)
        await self.ends[name]

    def running(self) -> list[str]:
        return [name for name in self.began if not self.tasks[name].done()]

    def places(self, *names: str) -> list[tuple[int, int] | None]:
        return [self.queue.place(name) for name in names]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))

    run.__name__ = test.__name__
    return run


@in_loop
async def test_starts_run_in_the_order_of_their_requests() -> None:
    starts = Starts(2)
    await starts.request(*"abcde")
    assert starts.began == ["a", "b"]
    assert starts.places(*"abcde") == [None, None, (1, 3), (2, 3), (3, 3)]
    starts.ends["b"].set_result(None)
    await settle()
    assert starts.running() == ["a", "c"]
    assert starts.places("d", "e") == [(1, 2), (2, 2)]
    await starts.request("f")
    assert starts.places("f") == [(3, 3)]
    for name in "acdef":
        starts.ends[name].set_result(None)
        await settle()
    assert starts.began == list("abcdef")


@in_loop
async def test_a_new_start_does_not_pass_those_that_wait() -> None:
    starts = Starts(1)
    await starts.request("a", "b")
    starts.ends["a"].set_result(None)
    await starts.request("c")  # before b had its turn
    assert starts.running() == ["b"]


@in_loop
async def test_a_cancelled_start_leaves_the_queue() -> None:
    starts = Starts(1)
    await starts.request("a", "b", "c")
    starts.tasks["b"].cancel()
    await settle()
    assert starts.places("b", "c") == [None, (1, 1)]
    starts.tasks["a"].cancel()
    await settle()
    assert starts.running() == ["c"]


@in_loop
async def test_a_start_that_is_cancelled_when_its_turn_comes_passes_it_on() -> None:
    starts = Starts(1)
    await starts.request("a", "b", "c")
    starts.ends["a"].set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # a has ended, and b does not know yet that it has its turn
    starts.tasks["b"].cancel()
    await settle()
    assert starts.running() == ["c"]


@in_loop
async def test_a_failed_start_ends_its_turn() -> None:
    starts = Starts(1)
    await starts.request("a", "b")
    starts.ends["a"].set_exception(OSError("no container"))
    await settle()
    assert starts.running() == ["b"]
    with pytest.raises(OSError, match="no container"):
        await starts.tasks["a"]


@in_loop
async def test_a_turn_ends_once() -> None:
    queue = StartQueue(1)
    end_turn = await queue.enter("a")
    end_turn()
    end_turn("again")
    await queue.enter("b")
    waiting = asyncio.create_task(queue.enter("c"))
    await settle()
    assert queue.place("c") == (1, 1)
    waiting.cancel()


@in_loop
async def test_no_turn_is_lost_whatever_happens() -> None:
    chance = random.Random(7)
    starts = Starts(3)
    for number in range(300):
        await starts.request(str(number))
        name = str(chance.randrange(number + 1))
        if chance.random() < 0.5:
            starts.tasks[name].cancel()
        elif not starts.ends[name].done():
            starts.ends[name].set_result(None)
        if chance.random() < 0.7:
            await settle()
        assert len(starts.running()) <= 3
    for end in starts.ends.values():
        if not end.done():
            end.set_result(None)
    await asyncio.gather(*starts.tasks.values(), return_exceptions=True)
    await starts.request("x", "y", "z")
    assert starts.running() == ["x", "y", "z"]


def test_a_hub_has_one_queue() -> None:
    assert start_queue.of_hub(5) is start_queue.of_hub(5)
