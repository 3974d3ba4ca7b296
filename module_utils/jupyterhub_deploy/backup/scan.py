"""Detect changes in a volume with a digest over the metadata of all its files, without reading their content.

Only the kernel sets the time of a change (ctime), so two equal digests mean equal content, unless a file changed just
before the scan: a later change could have the same ctime. Such a scan is not trusted.

A program that writes through a memory map (a NumPy array, a database) updates the ctime only with its first write.
Later writes leave no trace until the kernel writes the page to the disk, up to half a minute later. So all pages are
synced before the scan: the next write to one of them updates the ctime again.
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

# Nanoseconds before the sync in which nothing may have changed. Some file systems store times in steps of two seconds.
QUIET = 2_000_000_000

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RECORD = struct.Struct("<8Q")
# Times before 1970 are negative, and those after 2262 do not fit into a signed number.
_BITS = 2**64 - 1


class Scan(NamedTuple):
    """What a scan found."""

    digest: str | None  # None: something changed just before the sync, or since
    entries: int  # including the volume's own directory
    size: int  # bytes, by the sizes of its files


class _Directory(NamedTuple):
    key: bytes  # replaces the path; has the same length at any depth
    identity: tuple[int, int]
    pending: list[bytes]  # directories in it that were not visited yet


class _Walk:
    """Walks a tree of any depth with one open directory at a time, and follows no link.

    The owner of the tree may move and replace files in it during the walk. So each step starts from the open directory,
    and each step up is checked: a directory that was moved has another ``..``.
    """

    def __init__(self) -> None:
        # A sum of digests, not a digest of a list: the order of entries does not matter, so nothing has to be sorted.
        self.total = 0
        self.entries = 0
        self.size = 0
        self.newest = 0

    def add(self, key: bytes, name: bytes, found: os.stat_result) -> None:
        """Add one entry."""
        record = _RECORD.pack(
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_mtime_ns & _BITS,
            found.st_ctime_ns & _BITS,
            found.st_ino,
            found.st_nlink,
        )
        self.total += int.from_bytes(hashlib.sha256(key + record + name).digest(), "little")
        self.entries += 1
        self.newest = max(self.newest, found.st_ctime_ns)
        if stat.S_ISREG(found.st_mode):
            self.size += found.st_size

    def enter(self, descriptor: int, key: bytes) -> _Directory:
        """Add the entries of an open directory."""
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
        """Add everything below a directory.

        :raises OSError: something was removed, replaced or moved during the walk.
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


def sync_and_timestamp(path: str) -> int:
    """Sync a file system; return the time (ns) since when every write updates a ctime.

    :param path: a directory on it.
    :raises OSError: the directory does not exist, or the disk reports an error.
    """
    moment = time.time_ns()
    sync_filesystem(path)
    return moment


def scan(path: str, synced: int | None = None) -> Scan:
    """Return the digest of a volume.

    :param path: the volume's directory on the host.
    :param synced: the result of :func:`sync_and_timestamp`, if its file system was synced already: syncing a busy
        disk is slow.
    :raises DeployError: the directory cannot be read.
    """
    walk = _Walk()
    try:
        start = sync_and_timestamp(path) if synced is None else synced
        walk.walk(path)
    except OSError as error:
        if not os.path.isdir(path):
            raise DeployError(f"directory {path} cannot be read: {error}") from error
        return Scan(None, walk.entries, walk.size)
    quiet = walk.newest < start - QUIET
    return Scan(f"{walk.total % (1 << 256):064x}" if quiet else None, walk.entries, walk.size)
