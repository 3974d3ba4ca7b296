"""Kills of a process right after its n-th step, as by SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

#: A function or method that counts as a step: its module, class or object, and its name there.
Step = tuple[Any, str]


def kill_after(number: int, steps: Iterable[Step]) -> None:
    """Kill this process right after one of `steps` has returned for the n-th time."""
    left = number

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            result = function(*args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for place, name in steps:
        setattr(place, name, counted(getattr(place, name)))


def killed_after(number: int, steps: Iterable[Step], work: Callable[[], object]) -> bool:
    """Do work in another process that is killed after its n-th step; return whether it was.

    Returns after the processes that it has started, such as tar, have ended, too: until then, they hold its locks.

    :raises AssertionError: the work failed.
    """
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        kill_after(number, steps)
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(child, 0)
            time.sleep(0.01)
    assert status == 0 or os.WIFSIGNALED(status), status
    return os.WIFSIGNALED(status)
