"""Whether a volume is as it was: a digest over the metadata of everything in it, without reading any content.

The kernel alone sets the time of a change (ctime), so two equal digests mean equal content, as long as no file changed
in the last moments before the scan: a change right after it could carry the same time. Such a scan is not trusted.

Who writes through a memory map (a NumPy array, a database) sets the time with the first write alone, and writes on
without a trace until the kernel brings the page to the disk, up to half a minute later. So all pages are brought there
before the scan: the next write to one of them is a first one again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.backup.store import sync_filesystem
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Nanoseconds before settle() in which nothing may have changed. File systems keep times as coarse as two seconds.
QUIET = 2_000_000_000

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RECORD = struct.Struct("<QQQQqqQQ")


class Scan(NamedTuple):
    """What a scan found."""

    digest: str | None  # None: something changed just before settle(), or since
    entries: int  # the volume's own directory included
    size: int  # bytes that its files say they have


class _Directory(NamedTuple):
    key: bytes  # stands for the path; as long for a deep directory as for any other
    identity: tuple[int, int]
    pending: list[bytes]  # directories in it that were not visited yet


class _Walk:
    """Goes through a tree with one open directory at a time, whatever its depth, and follows no link.

    The tree belongs to somebody who may move and replace things in it meanwhile. So each step starts from the directory
    that is open, and the way back up is checked: ``..`` of a directory that was moved is another one.
    """

    def __init__(self) -> None:
        # A sum of digests, not a digest of a list: the order of a directory does not matter, nothing has to be sorted.
        self.total = 0
        self.entries = 0
        self.size = 0
        self.newest = 0

    def add(self, key: bytes, name: bytes, found: os.stat_result) -> None:
        """Count one entry."""
        record = _RECORD.pack(
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
            found.st_nlink,
        )
        self.total += int.from_bytes(hashlib.sha256(key + record + name).digest(), "little")
        self.entries += 1
        self.newest = max(self.newest, found.st_ctime_ns)
        if stat.S_ISREG(found.st_mode):
            self.size += found.st_size

    def enter(self, descriptor: int, key: bytes) -> _Directory:
        """Count what is in an open directory."""
        found = os.fstat(descriptor)
        pending = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                inside = entry.stat(follow_symlinks=False)
                self.add(key, name, inside)
                if stat.S_ISDIR(inside.st_mode):
                    pending.append(name)
        return _Directory(key, (found.st_dev, found.st_ino), pending)

    def walk(self, path: str) -> None:
        """Count everything below a directory.

        :raises OSError: when something vanished, was replaced or moved meanwhile.
        """
        descriptor = os.open(path, _OPEN)
        try:
            self.add(b"", b".", os.fstat(descriptor))
            stack = [self.enter(descriptor, b"\0" * 32)]
            while True:
                if stack[-1].pending:
                    name = stack[-1].pending.pop()
                    following = os.open(name, _OPEN, dir_fd=descriptor)
                    os.close(descriptor)
                    descriptor = following
                    stack.append(self.enter(descriptor, hashlib.sha256(stack[-1].key + name).digest()))
                    continue
                stack.pop()
                if not stack:
                    return
                following = os.open("..", _OPEN, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
                found = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) != stack[-1].identity:
                    raise OSError("a directory was moved")
        finally:
            os.close(descriptor)


def settle(path: str) -> int:
    """Bring what was written to a file system to its disk; return the moment (ns) since when every write shows.

    :param path: a directory on it.
    :raises OSError: there is no such directory, or the disk does not take it.
    """
    moment = time.time_ns()
    sync_filesystem(path)
    return moment


def scan(path: str, settled: int | None = None) -> Scan:
    """Return the digest of a volume.

    :param path: the volume's directory on the host.
    :param settled: what :func:`settle` has returned for its file system, where it was done already: a disk that others
        write to takes its time.
    :raises DeployError: when there is no such directory.
    """
    walk = _Walk()
    try:
        start = settle(path) if settled is None else settled
        walk.walk(path)
    except OSError as error:
        if not os.path.isdir(path):
            raise DeployError(f"directory {path} cannot be read: {error}") from error
        return Scan(None, walk.entries, walk.size)
    quiet = walk.newest < start - QUIET
    return Scan(f"{walk.total % (1 << 256):064x}" if quiet else None, walk.entries, walk.size)
