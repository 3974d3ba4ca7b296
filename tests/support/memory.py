"""Kernels that together use more memory than all servers have."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from support.poller import Notebook

#: Uses 250 MiB for 20 seconds.
KEEP = "data = b'x' * (250 << 20)\nprint('kept', flush=True)\nimport time\ntime.sleep(20)"


def answers(user: Notebook) -> bool:
    """Return whether the user's kernel answers. What it is asked while it restarts is lost."""
    try:
        return user.socket.execute("6 * 7", timeout=10) == "42"
    except ConnectionError:
        return False


def use_together(users: dict[str, Notebook], url: str) -> tuple[dict[str, str], set[int]]:
    """Let the kernels of all users use 250 MiB at once, and ask the hub meanwhile.

    Returns:
        What the users read whose kernel was ended, by their names; and the status codes of the hub's answers.
    """
    printed: dict[str, str] = {}

    def use(name: str) -> None:
        with contextlib.suppress(ConnectionError):  # the one that is not ended
            printed[name] = users[name].socket.output(KEEP, "needed too much memory", timeout=30)

    statuses = set()
    with ThreadPoolExecutor() as pool:
        uses = [pool.submit(use, name) for name in users]
        while not all(one.done() for one in uses):
            statuses.add(requests.get(f"{url}/hub/health", timeout=10).status_code)
            time.sleep(0.1)
    return printed, statuses
