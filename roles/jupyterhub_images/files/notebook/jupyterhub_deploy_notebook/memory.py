"""Whether a kernel was ended because the memory limit of its container was reached, and what the user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: The control group of the container, by the version of the kernel's interface: the file with the number of processes
#: that the Linux kernel ended, and the one with the limit in bytes.
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory.max")),
    (Path("/sys/fs/cgroup/memory/memory.oom_control"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
)


def kills(cgroups: Any = CGROUPS) -> int:
    """Return how many processes of the container the Linux kernel has ended for memory; 0 if that is not known."""
    for events, _ in cgroups:
        if events.exists():
            found = dict(line.split(maxsplit=1) for line in events.read_text().splitlines() if " " in line)
            return int(found.get("oom_kill", 0))
    return 0


def limit(cgroups: Any = CGROUPS) -> str:
    """Return the memory limit of the container, such as ``2.0 GiB``; empty without one."""
    for _, maximum in cgroups:
        text = maximum.read_text().strip() if maximum.exists() else ""
        if text.isdigit() and int(text) < 2**60:  # version 1 has a huge number in place of none
            return f"{int(text) / 2**30:.1f} GiB"
    return ""


class Watch:
    """Finds out whether a kernel that was killed was ended for memory. One for the server and all its kernels."""

    def __init__(self) -> None:
        self._seen = kills()
        self._ended: set[int] = set()

    def was_ended(self, process: int, before: int = 0) -> bool:
        """Return whether a process, which was killed, was ended for memory. Each connection to its kernel asks.

        `before` is the number of :func:`kills` when the process last ran for sure: those were other processes.
        """
        self._seen = max(self._seen, before)
        if process not in self._ended and kills() > self._seen:
            self._seen += 1  # several kernels may have ended at once
            self._ended.add(process)
        return process in self._ended


def explanation() -> str:
    """Return what the user is told."""
    size = limit()
    limited = f"This server can use {size}" if size else "The memory of this server is limited"
    return (
        f"The kernel was ended because it needed too much memory. {limited}, for all its notebooks and terminals "
        "together, and less while other users' servers need most of the host's memory. The variables are lost; saved "
        "files are not. Shut down kernels that you do not need, or work on a part of the data."
    )
