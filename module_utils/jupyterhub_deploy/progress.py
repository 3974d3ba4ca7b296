"""Lines about a long step, written by a module for the action plugin that shows them.

A module tells Ansible its result at the end only. While it works, it appends lines to a file that the action plugin
``progress`` made, reads and removes; run without that plugin there is no file, and nothing is written.
"""

from __future__ import annotations

import contextlib
import time
from typing import Callable

# A step that reports more often than this (seconds) is thinned out: a line is for a person to read.
INTERVAL = 2.0


class Reporter:
    """Appends lines to a progress file.

    :param path: the file, ``-`` for the output of this process (a command's, never a module's), or ``None`` to report
        nowhere.
    :param clock: seconds from any start; replaced in tests.
    """

    def __init__(self, path: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.clock = clock
        self.last = float("-inf")

    def say(self, line: str) -> None:
        """Report something that happens once: a step begins or ends."""
        self.last = self.clock()
        if self.path == "-":
            print(line.replace("\n", " "), flush=True)
        elif self.path:
            # The work goes on if nobody can read of it: on a full disk, or after the connection has ended.
            with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as file:
                file.write(line.replace("\n", " ") + "\n")

    def update(self, line: str) -> None:
        """Report how far a step is; left out when the line before is younger than :data:`INTERVAL`."""
        if self.clock() - self.last >= INTERVAL:
            self.say(line)
