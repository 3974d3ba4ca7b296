"""The names of an archive's members, as GNU tar lists them while it writes: how many, and which no tar can extract."""

from __future__ import annotations

import os
import re
import threading

# Bytes. The kernel takes no path of more than 4,095. GNU tar reads what is deeper step by step, but cannot write it
# again; and to set an access list or an attribute, it puts up to 25 bytes (`/proc/self/fd/…/`) before a path.
LONGEST_NAME = 4064
# Names that a result and a manifest list at most: who makes a million files must not fill memory with their names.
MOST_NAMES = 1000
SHOWN = 200  # characters of a name that is longer than any screen

# `--quoting-style=escape`: each of these stands for one byte.
_ESCAPED = re.compile(rb"\\(?:[0-7]{3}|.)", re.DOTALL)
_CHUNK = 1 << 20


def shortened(names: list[str], count: int) -> list[str]:
    """Return names with a word on how many more there are."""
    return [*names, f"(and {count - len(names)} more)"] if count > len(names) else names


class Listed:
    """Reads tar's list from a descriptor, in a thread of its own, until all its writers have closed it.

    One line is one member: a name has no newline there, as tar escapes it.
    """

    def __init__(self, descriptor: int) -> None:
        self.count = 0
        self._descriptor = descriptor
        self._too_long: list[str] = []
        self._too_long_count = 0
        self._above = b"\n"  # the directory that was named last; no line begins with a newline
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = bytearray()
        while chunk := os.read(self._descriptor, _CHUNK):
            rest += chunk
            end = rest.rfind(b"\n", len(rest) - len(chunk)) + 1
            if end:
                lines = bytes(rest[: end - 1]).split(b"\n")
                del rest[:end]
                self.count += len(lines)
                for line in lines:
                    if len(line) > LONGEST_NAME:
                        self._note(line)
        os.close(self._descriptor)

    def _note(self, line: bytes) -> None:
        size = len(_ESCAPED.sub(b"x", line))
        if size <= LONGEST_NAME or line.startswith(self._above):  # what is below a directory goes without saying
            return
        if line.endswith(b"/"):
            self._above = line
        self._too_long_count += 1
        if len(self._too_long) < MOST_NAMES:
            self._too_long.append(f"{line[:SHOWN].decode('ascii', 'replace')}… ({size} bytes)")

    def wait(self) -> tuple[int, list[str]]:
        """Return how many members there are, and those that no tar can extract; of a directory, not what is in it."""
        self._thread.join()
        return self.count, shortened(self._too_long, self._too_long_count)
