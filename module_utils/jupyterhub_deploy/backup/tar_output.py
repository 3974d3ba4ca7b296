"""What GNU tar prints while it writes an archive: messages, and the list of members."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import LONGEST_NAME, MOST_NAMES

SHOWN = 200  # characters of a name that is longer than any screen

# What tar prints about a file that was written to, cut off, replaced or removed while tar read it. tar escapes newlines
# in names. A name may contain any of these sentences itself, so the patterns match at the end of the line.
CHANGED = re.compile(
    r"tar: (.*): (?:file changed as we read it|File removed before we read it"
    r"|File shrank by \d+ bytes?; padding with zeros"
    r"|Cannot [\w ]+: (?:No such file or directory|Not a directory)"
    # An attribute or an ACL that was removed. For files and directories, this is an error of the disk.
    r"|Cannot \w*(?:xattr|acl)\w*: No data available)"
)
SOCKET = re.compile(r"tar: (.*): socket ignored")
TOTAL = re.compile(r"Total bytes written: (\d+)")
UNIMPORTANT = re.compile(r"tar: Exiting with failure status due to previous errors")
# `--quoting-style=escape`: each of these is one byte.
_ESCAPED = re.compile(rb"\\(?:[0-7]{3}|.)", re.DOTALL)


class Messages(NamedTuple):
    """What tar wrote to its standard error."""

    changed: list[str]
    sockets: list[str]
    total: int | None  # bytes
    errors: list[str]


def parse_messages(lines: Iterator[str]) -> Messages:
    """Return the meaning of tar's messages. Pure."""
    names: dict[str, dict[str, None]] = {"changed": {}, "sockets": {}}
    counts = {"changed": 0, "sockets": 0}
    errors: list[str] = []
    total = None
    for raw in lines:
        line = raw.rstrip("\n")
        for kind, pattern in (("changed", CHANGED), ("sockets", SOCKET)):
            match = pattern.fullmatch(line)
            if match:
                name = match.group(1).removesuffix(": Warning")
                if name not in names[kind]:
                    counts[kind] += 1
                    if len(names[kind]) < MOST_NAMES:
                        names[kind][name] = None
                break
        else:
            match = TOTAL.match(line)
            if match:
                total = int(match.group(1))
            elif line and not UNIMPORTANT.fullmatch(line) and len(errors) < MOST_NAMES:
                errors.append(line)
    return Messages(
        _shortened(list(names["changed"]), counts["changed"]),
        _shortened(list(names["sockets"]), counts["sockets"]),
        total,
        errors,
    )


def tar_failure(code: int, messages: Messages) -> str | None:
    """Return why tar's output is not a backup, ``None`` when it is one. Pure.

    Exit status 1 means that files changed; the archive is good. Exit status 2 means a failure, unless all errors are
    about files that were removed while tar read them.

    :param code: tar's exit status; negative for the signal that killed it.
    """
    if code < 0:
        return f"tar was killed by signal {-code}"
    if code == 2 and messages.changed and not messages.errors and messages.total is not None:
        return None
    if code not in (0, 1):
        return f"tar failed: {messages.errors[-1] if messages.errors else f'exit status {code}'}"
    if messages.total is None:
        return "tar did not report how much it wrote"
    return None


def _shortened(names: list[str], count: int) -> list[str]:
    """Return names, and how many more there are."""
    return [*names, f"(and {count - len(names)} more)"] if count > len(names) else names


class MemberList:
    """Reads tar's list of members from a descriptor, in a thread of its own, until all its writers have closed it.

    One line is one member: tar escapes newlines in names.
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
        while chunk := os.read(self._descriptor, CHUNK):
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
        if size <= LONGEST_NAME or line.startswith(self._above):  # the content of a directory is not listed again
            return
        if line.endswith(b"/"):
            self._above = line
        self._too_long_count += 1
        if len(self._too_long) < MOST_NAMES:
            self._too_long.append(f"{line[:SHOWN].decode('ascii', 'replace')}… ({size} bytes)")

    def wait(self) -> tuple[int, list[str]]:
        """Return the number of members, and those that tar cannot extract; of a directory, not its content."""
        self._thread.join()
        return self.count, _shortened(self._too_long, self._too_long_count)
