"""Validate the members of an archive, in their order.

GNU tar writes a directory, then all that is in it, then goes on. So the members may come in no other order, and it
takes a stack of directories, not a list of all names, to know that each member's parent is a directory of this archive:
a member that would be written through a symlink has no such parent, and a second member with the same name is found.

Memory: eight bytes for each member, plus digests of the names in one directory and in those above it.
"""

from __future__ import annotations

import bisect
import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Callable

from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import (
    DIRECTORY,
    FIFO,
    FILE,
    LINK,
    LONGEST_NAME,
    MOST_NAMES,
    PAX,
    SPARSE,
    SYMLINK,
    ZEROS,
    Reader,
    check_header,
    octal,
    pax,
    refused,
    shown,
    text_in,
)
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

LONGEST_PART = 255
RUN = 1 << 15
MEMBERS = (FILE, LINK, SYMLINK, DIRECTORY, FIFO)
DEVICES = {b"3": "a character device", b"4": "a block device"}


@dataclass(frozen=True)
class Content:
    """What an archive holds, and what a tree has to hold once it is extracted."""

    entries: int  # members, `./` included
    directories: int
    symlinks: int
    fifos: int
    files: int  # all others; a hard link counts as a file of its own
    links: int  # how many members are hard links, whatever to
    size: int  # bytes of all files, holes included, each file once however many names it has
    # What no tar can extract: names, as far as they are not below one another, and how many members.
    left_out: tuple[str, ...] = ()
    left_out_entries: int = 0


def validate_members(
    tar: IO[bytes], path: str, members: int, content_size: int, write: Callable[[bytes], object] | None = None
) -> Content:
    """Validate a tar stream.

    :param path: the archive's, for messages.
    :param members: how many there have to be.
    :param content_size: bytes that the stream has to have; not one more is read or written.
    :param write: gets the stream without the members that are left out. A header is written after its validation.
    :raises DeployError: it cannot be restored.
    """
    reader = Reader(tar, path, content_size)
    seen = Members(path, members)
    extended: dict[bytes, bytes] | None = None
    pending = b""  # the extended header, which is validated together with the member that it belongs to
    while True:
        header = reader.block()
        if header == ZEROS:
            break
        kind = header[156:157]
        check_header(header, path, seen.count)
        if kind == PAX:
            if extended is not None:
                raise refused(path, seen.count, "it has two extended headers")
            extended, blocks = pax(reader, header, path, seen.count)
            pending = header + blocks
            continue
        left_out = seen.left_out_entries
        size = seen.add(header, extended or {})
        into = write if seen.left_out_entries == left_out else None
        if into:
            into(pending + header)
        reader.copy(size, into)
        extended, pending = None, b""
    if extended is not None:
        raise refused(path, seen.count, "it has an extended header and nothing else")
    reader.finish()
    if seen.count != members:
        raise DeployError(f"archive {path} has {seen.count} members, not {members} as its manifest says")
    if write:
        write(ZEROS * 2)
    return seen.content()


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first of some names for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class _Digests:
    """A set of many numbers, in little memory: sorted runs of eight bytes each, and the latest in a Python set."""

    def __init__(self) -> None:
        self._runs: list[array[int]] = []
        self._latest: set[int] = set()

    def add(self, digest: int) -> None:
        self._latest.add(digest)
        if len(self._latest) == RUN:
            self._runs.append(array("Q", sorted(self._latest)))
            self._latest = set()

    def __contains__(self, digest: int) -> bool:
        if digest in self._latest:
            return True
        for run in self._runs:
            place = bisect.bisect_left(run, digest)
            if place < len(run) and run[place] == digest:
                return True
        return False


class _Folder:
    """A directory whose members are being read, and the digests of their names."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.seen: set[int] = set()


class Members:
    """The members so far, and whether the next one may follow them."""

    def __init__(self, path: str, most: int) -> None:
        self.path, self.most = path, most
        self.count = self.directories = self.symlinks = self.fifos = self.links = self.size = 0
        self.folders: list[_Folder] = []
        self.names = _Digests()  # of all members that are not directories
        self.left_out: list[bytes] = []
        self.left_out_entries = 0
        self.key = os.urandom(16)  # so that nobody can prepare two names with one digest

    def add(self, header: bytes, extended: dict[bytes, bytes]) -> int:
        """Validate a member; return how many bytes of content follow."""
        kind = header[156:157]
        name = extended.get(b"GNU.sparse.name") or extended.get(b"path") or self._header_name(header)
        self._check_kind(kind, name)
        parent, last = self._split(name, kind)
        size = octal(header, 124, 136, self.path, self.count, "size")
        if b"size" in extended:
            size = int(extended[b"size"])
        sparse = SPARSE.intersection(extended)
        if kind != FILE and (size or sparse or b"size" in extended):
            raise self._refuse(name, "it has content, which only a plain file has")
        if sparse and sparse != SPARSE:
            raise self._refuse(name, "its description of a sparse file is not complete")
        target = (extended.get(b"linkpath") or text_in(header, 157, 257)) if kind in (LINK, SYMLINK) else b""
        # A user who made such a path must get everything else back all the same.
        too_long = len(name) > LONGEST_NAME or (kind == LINK and len(target) > LONGEST_NAME)
        if kind in (LINK, SYMLINK):
            self._check_target(kind, name, target, too_long)
        elif b"linkpath" in extended or header[157:158] != b"\0":
            raise self._refuse(name, "it has a link's target but is not a link")
        self._place(name, kind, parent, last)
        if self.count == self.most:
            raise DeployError(f"archive {self.path} has more than the {self.most} members that its manifest says")
        self.count += 1
        if too_long:
            self._leave_out(name)
            return size
        self.directories += kind == DIRECTORY
        self.symlinks += kind == SYMLINK
        self.fifos += kind == FIFO
        self.links += kind == LINK
        self.size += int(extended[b"GNU.sparse.realsize"]) if sparse else size
        return size

    def content(self) -> Content:
        """Return what the archive holds, after all of it was read."""
        entries = self.count - self.left_out_entries
        others = entries - self.directories - self.symlinks - self.fifos
        return Content(
            entries,
            self.directories,
            self.symlinks,
            self.fifos,
            others,
            self.links,
            self.size,
            tuple(map(shown, self.left_out)),
            self.left_out_entries,
        )

    def _leave_out(self, name: bytes) -> None:
        self.left_out_entries += 1
        last = self.left_out[-1] if self.left_out else b""
        below = last.endswith(b"/") and name.startswith(last)
        if not below and len(self.left_out) < MOST_NAMES:
            self.left_out.append(name)

    def _refuse(self, name: bytes, why: str) -> DeployError:
        return refused(self.path, self.count, why, name)

    def _digest(self, name: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(name, digest_size=8, key=self.key).digest(), "big")

    @staticmethod
    def _header_name(header: bytes) -> bytes:
        prefix, name = text_in(header, 345, 500), text_in(header, 0, 100)
        return prefix + b"/" + name if prefix else name

    def _check_kind(self, kind: bytes, name: bytes) -> None:
        if kind in DEVICES:
            raise self._refuse(name, f"it is {DEVICES[kind]}")
        if kind not in MEMBERS:
            raise self._refuse(name, f"it is of type `{shown(kind)}`, which backups do not have")

    def _split(self, name: bytes, kind: bytes) -> tuple[bytes, bytes]:
        """Return the directory of a member, and its name in it, after checking both."""
        parent, slash, last = (name[:-1] if kind == DIRECTORY else name).rpartition(b"/")
        parent += slash
        # Most members are in the directory that is being read, and its name was checked when it was added.
        if (
            not self.folders
            or parent != self.folders[-1].name
            or last in (b"", b".", b"..")
            or len(last) > LONGEST_PART
            or (kind == DIRECTORY and not name.endswith(b"/"))
        ):
            self._check_name(name, kind)
        return parent, last

    def _check_name(self, name: bytes, kind: bytes, what: str = "its name") -> None:
        """Check that a name is safe and in the one form that it may have."""
        if name.startswith(b"/"):
            raise self._refuse(name, f"{what} is absolute")
        if b".." in name.split(b"/"):
            raise self._refuse(name, f"{what} has `..`")
        inner = name[2:]
        if kind == DIRECTORY and name != b"./":
            if not inner.endswith(b"/"):
                raise self._refuse(name, f"{what} is a directory's and has no slash at its end")
            inner = inner[:-1]
        parts = inner.split(b"/") if name != b"./" else []
        if not name.startswith(b"./") or any(part in (b"", b".") for part in parts):
            raise self._refuse(name, f"{what} is not written as GNU tar writes it (./directory/name)")
        if any(len(part) > LONGEST_PART for part in parts):
            raise self._refuse(name, f"a part of {what[4:]} is longer than {LONGEST_PART} bytes")
        if not parts and kind != DIRECTORY:
            raise self._refuse(name, "it has the place of the volume's own directory")

    def _check_target(self, kind: bytes, name: bytes, target: bytes, too_long: bool) -> None:
        if not target:
            raise self._refuse(name, "it is a link to nothing")
        if kind == LINK:
            try:
                self._check_name(target, FILE)
            except DeployError:
                raise self._refuse(name, f"it is a hard link to {shown(target)}, outside of the volume") from None
            if not too_long and self._digest(target) not in self.names:
                raise self._refuse(name, f"it is a hard link to {shown(target)}, which is not in the archive before it")

    def _place(self, name: bytes, kind: bytes, parent: bytes, last: bytes) -> None:
        """Find the directory that a member is in, and note that it is there."""
        if not parent:
            if self.folders or self.count:
                raise self._refuse(name, "it is in the archive twice")
            self.folders.append(_Folder(b"./"))
            return
        if not self.count:
            raise self._refuse(name, "the archive does not begin with `./`, the volume's own directory")
        while self.folders and self.folders[-1].name != parent:
            self.folders.pop()
        if not self.folders:
            raise self._refuse(name, f"{shown(parent)} is not the directory that is being restored at this place")
        seen, digest = self.folders[-1].seen, self._digest(parent + last)
        if digest in seen:
            raise self._refuse(name, "it is in the archive twice")
        seen.add(digest)
        if kind == DIRECTORY:
            self.folders.append(_Folder(name))
        else:
            self.names.add(digest)
