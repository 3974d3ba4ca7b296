"""The limit of the disk that a user's files take: what is known of the use, and whether a server starts.

The limit is soft: files can grow beyond it while a server runs. Users are warned before it, and beyond it a server
starts only to clean up. What is not known prevents no start. It does not need JupyterHub.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any, NamedTuple

from tornado import web

#: In the environment of a server with a limit; the extension of Jupyter Server asks the hub for the use.
VARIABLE = "JUPYTERHUB_DEPLOY_DISK_LIMIT"
#: The part of the limit from which users are warned.
WARN_AT = 0.8
#: Seconds between two measurements of all running servers.
EVERY_SECONDS = 600
#: Seconds for which a measurement below the warning counts at a start, and one above it, from which users delete files.
FRESH_SECONDS, FRESH_ABOVE_SECONDS = 600, 3
#: A measurement above the warning counts so many times as long as it took, so that nobody keeps the disk busy.
FRESH_TIMES = 20
#: Seconds for which the last measurement counts if a new one takes too long.
OLD_SECONDS = 3 * EVERY_SECONDS
#: Seconds that a measurement of a start, and one of all running servers, can take; and those of one directory.
START_SECONDS, ALL_SECONDS = (4, 3), (300, 60)
#: Seconds after which a measurement counts as failed, in addition to those that it has.
GRACE_SECONDS = 30
#: Seconds that a start waits for its measurement, which may have to wait for another one.
WAIT_SECONDS = 6
#: Seconds in which a server can be started to clean up, after the user has asked for it.
PERMISSION_SECONDS = 600

#: Returns the bytes of users within so many seconds, and so many for each directory; blocks.
Measure = Callable[[Collection[str], int, int], Mapping[str, int]]


class DiskIsFullError(web.HTTPError):
    """A user's files take more than the limit; `html` is for the page, without it for a client of the API."""

    #: For error.html.
    disk_is_full = True

    def __init__(self, text: str, html: str = "") -> None:
        super().__init__(409, text)
        self.jupyterhub_message = text
        if html:
            self.jupyterhub_html_message = html


class Use(NamedTuple):
    """The disk that a user's files take, and the limit, in bytes."""

    used: int
    limit: int

    @property
    def is_near(self) -> bool:
        """Whether the user is warned."""
        return bool(self.limit) and self.used >= WARN_AT * self.limit

    @property
    def is_over(self) -> bool:
        """Whether a server starts only to clean up."""
        return bool(self.limit) and self.used > self.limit

    def text(self) -> str:
        """Return the use as the end of a sentence."""
        return f"{size(self.used)} of {size(self.limit)}"


def size(number: int) -> str:
    """Return a number of bytes for people."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


class DiskUse:
    """What the hub knows of the use of its users.

    Args:
        measure: runs in a thread.
        log: receives why a measurement has failed.
    """

    def __init__(self, measure: Measure, log: logging.Logger) -> None:
        self.measure, self.log = measure, log
        #: The bytes of a user's files, and when they were measured.
        self._known: dict[str, tuple[int, float]] = {}
        #: When the last measurement of a user ended, with or without a result, and how long it took.
        self._tried: dict[str, tuple[float, float]] = {}
        self._permitted: dict[str, float] = {}
        self._next: dict[str, asyncio.Future[None]] = {}
        self._work: asyncio.Task[None] | None = None

    def known(self) -> dict[str, int]:
        """Return the bytes of the users whose files were measured."""
        return {user: used for user, (used, _) in self._known.items()}

    def permit(self, user: str) -> None:
        """Let the user's next start be one to clean up."""
        self._permitted[user] = time.monotonic() + PERMISSION_SECONDS

    def is_permitted(self, user: str) -> bool:
        """Return whether this start is one to clean up, which the next is not."""
        return self._permitted.pop(user, 0) > time.monotonic()

    async def at_start(self, user: str, limit: int) -> Use | None:
        """Return the use before a start, measured again if necessary; None if it is not known."""
        used, measured = self._known.get(user, (0, float("-inf")))
        tried, took = self._tried.get(user, (float("-inf"), 0.0))
        fresh = FRESH_ABOVE_SECONDS if Use(used, limit).is_near else FRESH_SECONDS
        now = time.monotonic()
        if now - measured > fresh and now - tried > FRESH_TIMES * took:
            try:
                await asyncio.wait_for(asyncio.shield(self._request(user)), WAIT_SECONDS)
            except asyncio.TimeoutError:
                self.log.warning("The disk of %s was not measured before the start: it takes too long", user)
            used, measured = self._known.get(user, (0, float("-inf")))
        return Use(used, limit) if time.monotonic() - measured < OLD_SECONDS else None

    async def measure_every(self, seconds: float, limited: Callable[[], Collection[str]]) -> None:
        """Measure the users that `limited` returns, again and again."""
        while True:
            try:
                users = limited()
            except Exception:
                self.log.exception("The users whose disk use is measured are not known")
            else:
                await self._measure(users, ALL_SECONDS)
            await asyncio.sleep(seconds)

    def _request(self, user: str) -> asyncio.Future[None]:
        """Measure a user together with all others who wait for the end of the running measurement."""
        future = self._next.setdefault(user, asyncio.get_running_loop().create_future())
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._measure_next())
        return future

    async def _measure_next(self) -> None:
        while self._next:
            batch, self._next = self._next, {}
            await self._measure(batch, START_SECONDS)
            for future in batch.values():
                future.set_result(None)

    async def _measure(self, users: Collection[str], seconds: tuple[int, int]) -> None:
        if not users:
            return
        began = time.monotonic()
        job = asyncio.wrap_future(in_daemon_thread(self.measure, list(users), *seconds))
        try:
            found = await asyncio.wait_for(asyncio.shield(job), seconds[0] + GRACE_SECONDS)
        except Exception as error:  # whatever it is, servers start
            self.log.warning("The files of %s were not measured: %s", ", ".join(sorted(users)), error or type(error))
            found = None
        now = time.monotonic()
        self._tried.update(dict.fromkeys(users, (now, now - began)))
        if found is None:
            return
        self._known.update({user: (used, now) for user, used in found.items()})
        missing = sorted(set(users) - set(found))
        if missing:
            self.log.warning("The files of %s were not measured in %d s", ", ".join(missing), seconds[1])


def in_daemon_thread(function: Callable[..., Any], *arguments: object) -> Future[Any]:
    """Run a function in a thread that, unlike those of executors, does not delay the end of the hub."""
    job: Future[Any] = Future()

    def run() -> None:
        job.set_running_or_notify_cancel()  # cannot be cancelled any more
        try:
            job.set_result(function(*arguments))
        except BaseException as error:
            job.set_exception(error)

    Thread(target=run, daemon=True).start()
    return job
