"""Spawner whose starts wait in a queue, so that those that run end soon, and the hub answers meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import Integer

from . import start_queue
from .watched_spawner import WatchedSpawner

#: Seconds after which a start no longer keeps others waiting, even if its server does not answer yet.
LONGEST_TURN = 60
#: Seconds between two looks at the position.
POSITION_EVERY = 0.5


class QueuedSpawner(WatchedSpawner):
    """Starts a number of servers at the same time, and the others in the order of their requests."""

    concurrent_starts = Integer(
        0, min=0, config=True, help="Servers that start at the same time, while others wait; 0 means no queue."
    )

    _has_turn = False

    @property
    def ready(self) -> bool:
        """Whether the server can be used; not if its start was cancelled.

        From the cancellation to the stop, a second later, JupyterHub took such a server for one that is ready.
        """
        return bool(super().ready and not self._start_pending)

    def run_pre_spawn_hook(self) -> Any:
        """Wait for the turn of this server, then run the operator's hook.

        JupyterHub calls it before `start`, whose time is limited by `start_timeout`; waiting does not count. It is not
        a coroutine, because JupyterHub would run that in another task than the start.
        """
        return self._wait_and_run_hook(asyncio.current_task())

    async def _wait_and_run_hook(self, start: Any) -> None:
        if self.concurrent_starts:
            end_turn = await start_queue.of_hub(self.concurrent_starts).enter(self)
            # The task of the start ends when the server answers and has its route, and when it fails or is cancelled.
            start.add_done_callback(end_turn)
            start.add_done_callback(lambda _: setattr(self, "_has_turn", False))
            asyncio.get_running_loop().call_later(LONGEST_TURN, end_turn)
            self._has_turn = True
        await maybe_future(super().run_pre_spawn_hook())

    async def progress(self) -> Any:
        """Show the position in the queue, then the progress of the start."""
        shown = None
        while self.concurrent_starts and not self._has_turn:
            place = start_queue.of_hub(self.concurrent_starts).place(self)
            if place and place != shown:
                text = "Other servers start first. You are number {} of {} in the queue.".format(*place)
                yield {"message": text, "position": place[0]}  # which a rehearsal reads
            shown = place
            await asyncio.sleep(POSITION_EVERY)
        async for event in super().progress():
            yield event
