"""When a rehearsal has to stop early, so that real users are not harmed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import Memory, Places

# Seconds that a real user's start may take or wait, before it has precedence.
PATIENCE = 30.0
# Seconds for all starts together. Other runs wait for the lock of the hub for half an hour.
LONGEST = 1200.0


def stop_file(hub: str) -> str:
    """Return the file that ends a rehearsal of a hub, wherever it was started from."""
    return f"/run/jupyterhub-deploy-rehearsal-{hub}.stop"


class Watch:
    """Looks after the host and the real users during a rehearsal.

    :param file: of :func:`stop_file`.
    :param temporary: the names of the temporary users.
    :param clock: seconds from any start; replaced in tests.
    :ivar lowest: the least memory that was available, in bytes.
    :ivar places: the servers of the hub when it looked last.
    :ivar terminated: whether this process was asked to end.
    """

    def __init__(
        self, file: str, temporary: Iterable[str], places: Places, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.file, self.temporary, self.places, self.clock = file, set(temporary), places, clock
        self.lowest = float("inf")
        self.terminated = False
        self._began = clock()
        self._waiting: dict[str, float] = {}

    def reason(self, memory: Memory, active: list[dict[str, Any]]) -> str:
        """Return the reason to stop now, empty if the rehearsal can continue.

        :param active: the hub's descriptions of the users with a server.
        """
        self.lowest = min(self.lowest, memory.available)
        servers = sum(len(user["servers"]) for user in active)
        self.places = self.places._replace(active=servers)
        real = [user for user in active if user["name"] not in self.temporary]
        if self.terminated or os.path.exists(self.file):
            return "somebody ended it with users=0 or SIGTERM"
        if memory.left() < 0:
            return f"memory became scarce: {memory.shown()}"
        waiting = self._longest_wait(real)
        if waiting:
            return f"the server of {waiting}, a real user, was not ready after {PATIENCE:.0f} s"
        if self.places.limit and servers >= self.places.limit:
            taken = sum(len(user["servers"]) for user in real)
            return f"the hub is full: {servers} of {self.places.limit} servers, {taken} of them of real users"
        if self.clock() - self._began > LONGEST:
            return f"it took longer than {LONGEST / 60:.0f} minutes"
        return ""

    def _longest_wait(self, real: list[dict[str, Any]]) -> str:
        """Return a user whose start has taken too long, empty if all are in time."""
        now = self.clock()
        pending = [
            user["name"]
            for user in real
            if any(server.get("pending") == "spawn" for server in user["servers"].values())
        ]
        self._waiting = {name: self._waiting.get(name, now) for name in pending}
        return next((name for name, since in self._waiting.items() if now - since > PATIENCE), "")
