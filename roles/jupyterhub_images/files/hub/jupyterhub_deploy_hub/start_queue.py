"""The order in which servers start, if more are requested than the host starts at the same time.

It does not need JupyterHub.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable


class StartQueue:
    """Lets some starts run at the same time, and the others wait in the order of their requests.

    Args:
        at_once: how many run at the same time, at least 1.
    """

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._waiting: list[object] = []

    async def enter(self, start: object) -> Callable[..., None]:
        """Wait for the turn of a start.

        A start that is cancelled while it waits leaves the queue.

        Returns:
            A function that ends the turn; further calls have no effect, and neither do its arguments.
        """
        self._waiting.append(start)
        try:
            await self._slots.acquire()
        finally:
            self._waiting.remove(start)
        has_ended = False

        def leave(*_: object) -> None:
            nonlocal has_ended
            if not has_ended:
                has_ended = True
                self._slots.release()

        return leave

    def place(self, start: object) -> tuple[int, int] | None:
        """Return the position of a start, from 1, and how many wait; None if it does not wait."""
        if start not in self._waiting:
            return None
        return self._waiting.index(start) + 1, len(self._waiting)


@functools.cache
def of_hub(at_once: int) -> StartQueue:
    """Return the queue of this hub. The setting `at_once` is the same for all its servers."""
    return StartQueue(at_once)
