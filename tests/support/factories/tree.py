"""Create a directory with every unusual entry that a backup must keep, and describe a tree to compare it.

Test hosts run this file too, with only their own Python: ``python3 tests/support/factories/tree.py make|describe
DIRECTORY``.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NOBODY = 0xFFFFFFFF
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an access control list as the kernel keeps it: tag, permissions, id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# user::rw- user:1234:r-- group::r-- mask::r-- other::---
ACL = acl((1, 6, _NOBODY), (2, 4, 1234), (4, 4, _NOBODY), (0x10, 4, _NOBODY), (0x20, 0, _NOBODY))
DEFAULT_ACL = acl((1, 7, _NOBODY), (2, 5, 1234), (4, 5, _NOBODY), (0x10, 5, _NOBODY), (0x20, 0, _NOBODY))


def make(root: Path, levels: int = 100, tiny: int = 100) -> None:
    """Fill a directory. Needs root, and a file system with ACLs and ``user`` and ``trusted`` attributes.

    :param levels: how deep the deepest path is; pytest cannot remove one of much more than the default.
    :param tiny: how many tiny files there are in one directory.
    """
    top = os.fsencode(root)

    def write(name: bytes, content: bytes = b"content\n") -> bytes:
        path = os.path.join(top, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    for name in (
        b"two\nlines",
        b"not utf-8 \xff\xfe",
        "übung µ 試".encode(),
        b"tab\t: file changed as we read it",
        b" ",
        b"-rf",
        b"a\\nb",
        b"*?",
        b"n" * 250,
        b"m" * 255,
    ):
        write(name, name)
    write(b"empty file", b"")
    os.chown(write(b"owned"), 1234, 5678)
    for name, mode in ((b"nobody may read", 0), (b"setuid", 0o6755), (b"setgid", 0o2755)):
        path = write(name, b"#!/bin/sh\n")
        os.chown(path, 1000, 100)
        os.chmod(path, mode)
    attributes = write(b"attributes")
    os.setxattr(attributes, b"user.note", b"\x00\xff=\n")
    os.setxattr(attributes, b"trusted.note", b"root's")
    # cap_net_raw in the permitted set, as `setcap` writes it
    os.setxattr(attributes, b"security.capability", struct.pack("<IIIII", 0x02000000, 1 << 13, 0, 0, 0))
    os.setxattr(write(b"acl"), b"system.posix_acl_access", ACL)
    for name, target in ((b"outside", b"/etc/passwd"), (b"up", b"../../.."), (b"dangling", b"no\nwhere" + b"x" * 200)):
        os.symlink(target, os.path.join(top, name))
    os.lchown(os.path.join(top, b"outside"), 1000, 100)
    for name in (b"sparse", b"s" * 250):
        with open(os.path.join(top, name), "wb") as file:
            file.write(b"begin")
            file.seek(32 << 20)
            file.write(b"middle")
            file.truncate(64 << 20)
    with open(os.path.join(top, b"only a hole"), "wb") as file:
        file.truncate(16 << 20)
    os.mkfifo(os.path.join(top, b"fifo"), 0o620)
    listener = os.open(root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{listener}/socket")  # a socket's path is short
    os.close(listener)
    for name, mode in ((b"empty", 0o700), (b"closed", 0), (b"sticky", 0o3777), (b"sub", 0o755)):
        path = os.path.join(top, name)
        os.mkdir(path)
        with open(os.path.join(path, b"inside"), "wb") as file:
            file.write(name)
        if name == b"empty":
            os.unlink(os.path.join(path, b"inside"))
        os.chmod(path, mode)
    os.setxattr(os.path.join(top, b"sub"), b"system.posix_acl_default", DEFAULT_ACL)
    os.setxattr(os.path.join(top, b"sub"), b"user.note", b"of a directory")
    os.link(write(b"linked", b"two names"), os.path.join(top, b"sub/other name"))
    os.link(os.path.join(top, b"up"), os.path.join(top, b"up again"), follow_symlinks=False)
    os.mkdir(os.path.join(top, b"tiny"))
    for number in range(tiny):
        write(b"tiny/%d" % number, b"%d" % number)
    make_deep(top, [b"d"] * levels)
    os.chown(top, 1000, 100)
    os.chmod(top, 0o2750)
    os.setxattr(top, b"user.note", b"of the volume")
    for number, (parent, name, _) in enumerate(entries(root)):
        moment = 1_000_000_000_123_456_789 + number * 1_000_000_007
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)
    os.utime(top, ns=(1, -1_500_000_000))


def make_deep(top: bytes, names: list[bytes], bottom: bytes = b"bottom") -> None:
    """Make directories in one another, with a file in the last, whatever the length of its path."""
    descriptor = os.open(top, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=descriptor)
        following = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = following
    file = os.open(bottom, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=descriptor)
    os.write(file, b"deep")
    os.close(file)
    os.close(descriptor)


def entries(root: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield all entries of a tree, itself first: the open directory that each is in, its name there, and its path.

    Of any depth: one directory is open at a time.
    """
    descriptor = os.open(root, os.O_RDONLY)
    yield descriptor, b".", b"."
    path, stack = [b"."], [sorted(map(os.fsencode, os.listdir(descriptor)), reverse=True)]
    while True:
        if not stack[-1]:
            stack.pop()
            path.pop()
            if not stack:
                break
            following = os.open("..", os.O_RDONLY, dir_fd=descriptor)
        else:
            name = stack[-1].pop()
            yield descriptor, name, b"/".join([*path, name])
            if not stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                continue
            following = os.open(name, _OPEN, dir_fd=descriptor)
            path.append(name)
            stack.append(sorted(map(os.fsencode, os.listdir(following)), reverse=True))
        os.close(descriptor)
        descriptor = following
    os.close(descriptor)


def describe(root: Path) -> dict[bytes, Any]:
    """Return all attributes of each entry that a restore must preserve; sockets are left out."""
    found: dict[bytes, Any] = {}
    first_names: dict[int, bytes] = {}
    for parent, name, path in entries(root):
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFSOCK:
            continue
        facts: dict[str, Any] = {"mode": oct(info.st_mode), "owner": (info.st_uid, info.st_gid)}
        facts["mtime"] = info.st_mtime_ns
        if kind != stat.S_IFDIR:
            facts["links"], facts["same as"] = info.st_nlink, first_names.setdefault(info.st_ino, path)
        if kind == stat.S_IFLNK:
            facts["target"] = os.readlink(name, dir_fd=parent)
        else:
            descriptor = os.open(name, _OPEN, dir_fd=parent)
            facts["xattrs"] = {key: os.getxattr(descriptor, key) for key in sorted(os.listxattr(descriptor))}
            if kind == stat.S_IFREG:
                facts["size"], facts["sparse"] = info.st_size, info.st_blocks * 512 < info.st_size // 2
                with open(descriptor, "rb", closefd=False) as file:
                    facts["sha256"] = hashlib.sha256(file.read()).hexdigest()
            os.close(descriptor)
        found[path] = facts
    return found


if __name__ == "__main__":
    verb, where = sys.argv[1], Path(sys.argv[2])
    if verb == "make":
        make(where, *map(int, sys.argv[3:]))
    else:
        for path, facts in describe(where).items():
            print(path, facts)
