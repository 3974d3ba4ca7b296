"""Hash and compare passwords in threads that leave a processor to the one that answers requests.

bcrypt takes a quarter of a second of a processor. Without a bound, a dozen sign-ins at once take all processors.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from .passwords import digest_of, too_long

_T = TypeVar("_T")

#: Passwords that are hashed or compared at the same time.
THREADS = max(1, len(os.sched_getaffinity(0)) - 1)
#: Linux has a priority for each thread: these get what the others leave.
NICE = 10

#: Compared for names without an account, so that the time of an answer does not show which names have one.
_NO_DIGEST = b"$2b$12$" + b"." * 53

#: What waits for its turn then checks again whether the client may try: others may have failed meanwhile.
TURNS = asyncio.Semaphore(THREADS)


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


_POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="password", initializer=_lower_priority)


async def in_thread(function: Callable[..., _T], *arguments: object) -> _T:
    """Return the result of a function that hashes. The caller holds one of the `TURNS`."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, function, *arguments)


async def digest(password: str) -> bytes:
    """Wait for a turn, and return what is stored of a password."""
    async with TURNS:
        return await in_thread(digest_of, password)


def matches(password: str, digest: bytes | None) -> bool:
    """Compare as the library does, but without its error (a 500) for what bcrypt 5 cannot hash.

    `digest` is None for a name without an account, which takes as long.
    """
    if too_long(password) or "\0" in password:
        return False
    return bcrypt.checkpw(password.encode(), digest or _NO_DIGEST)
