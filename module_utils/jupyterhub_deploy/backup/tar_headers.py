"""Read the headers of an archive, and accept only the form that GNU tar writes for our backups.

GNU tar extracts the archive, so its interpretation decides. A name, a number or a header in any other form, which
readers could interpret differently, is refused.
"""

from __future__ import annotations

import re
import zlib
from typing import IO, Callable

from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

BLOCK = 512
ZEROS = bytes(BLOCK)
NEWLINE = 10
MAGIC = b"ustar\x0000"
# Bytes. The kernel takes no path of more than 4,095. GNU tar reads deeper files step by step, but cannot extract them;
# and to set an access list or an attribute, it puts up to 25 bytes (`/proc/self/fd/…/`) before a path.
LONGEST_NAME = 4064
# Names that a result and a manifest list at most: a user with a million files must not fill the memory.
MOST_NAMES = 1000
LARGEST_PAX = 16 << 20  # bytes of one extended header; names and extended attributes take far less

FILE, LINK, SYMLINK, DIRECTORY, FIFO, PAX = b"0", b"1", b"2", b"5", b"6", b"x"
_NUMBER = re.compile(rb"\d{1,20}")
_TIME = re.compile(rb"-?\d{1,20}(\.\d{1,20})?")
_ANY = re.compile(rb"[^\0]+")
_DATA = re.compile(rb".*", re.DOTALL)
_OCTAL = re.compile(rb"([0-7]+)[\0 ]?")
_TEXT = re.compile(rb"[^\0]*\0*")
_CHECKSUM = re.compile(rb"([0-7]{1,7})[\0 ]{1,2}")
_LENGTH = re.compile(rb"([1-9]\d{0,8}) ")
# Mode, owner, group, size and time as GNU tar writes them mostly: all at once, because there are many headers.
_NUMBERS = re.compile(rb"(?:[0-7]{7}\0){3}(?:[0-7]{11}\0){2}")
# The end of most headers, from the name that a link has there: of an extended header, and of a member.
_USUAL_ENDS = tuple(bytes(100) + MAGIC + bytes(64) + device + bytes(167) for device in (bytes(16), b"0000000\0" * 2))
# The extended header of most members: three times, each with the length of its record.
_USUAL_TIMES = re.compile(
    b"".join(
        b"(?:%s)" % b"|".join(rb"%d %s=\d{10}\.\d{%d}\n" % (21 + digits, key, digits) for digits in range(9, 0, -1))
        for key in (b"mtime", b"atime", b"ctime")
    )
)
# What an extended header may hold, and in which form. GNU tar knows more keys, and some change what it does.
PAX_KEYS = {
    b"path": _ANY,
    b"linkpath": _ANY,
    b"size": _NUMBER,
    b"uid": _NUMBER,
    b"gid": _NUMBER,
    b"uname": _DATA,
    b"gname": _DATA,
    b"mtime": _TIME,
    b"atime": _TIME,
    b"ctime": _TIME,
    b"SCHILY.acl.access": _DATA,
    b"SCHILY.acl.default": _DATA,
    b"RHT.security.selinux": _DATA,
    b"GNU.sparse.major": re.compile(rb"1"),
    b"GNU.sparse.minor": re.compile(rb"0"),
    b"GNU.sparse.name": _ANY,
    b"GNU.sparse.realsize": _NUMBER,
}
SPARSE = {key for key in PAX_KEYS if key.startswith(b"GNU.sparse.")}
XATTR = b"SCHILY.xattr."


def shown(name: bytes) -> str:
    """Return a member's name for a message: one line, not too long, no control characters."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= 200 else f"{text[:200]}…"


class Reader:
    """Reads blocks of a stream that has to have a certain length."""

    def __init__(self, tar: IO[bytes], path: str, size: int) -> None:
        self.tar, self.path, self.size, self.done = tar, path, size, 0

    def _read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        if self.done + size > self.size:
            raise DeployError(
                f"archive {self.path} ends early, or holds more than the {self.size} bytes that its manifest says"
            )
        data = self.tar.read(size)
        if len(data) != size:
            raise DeployError(
                f"archive {self.path} ends after {self.done + len(data)} of {self.size} bytes: it is not whole"
            )
        self.done += size
        return data

    def block(self) -> bytes:
        return self._read(BLOCK)

    def data(self, size: int) -> bytes:
        """Return the content of a member, with what fills its last block."""
        return self._read(_whole_blocks(size))

    def copy(self, size: int, write: Callable[[bytes], object] | None) -> None:
        """Read the content of a member, and write it, blocks included."""
        left = _whole_blocks(size)
        while left:
            data = self._read(min(left, CHUNK))
            left -= len(data)
            if write:
                write(data)

    def finish(self) -> None:
        """Read what follows the first zero block: another one, then nothing but zeros to the end."""
        if self.size - self.done < BLOCK:
            raise DeployError(f"archive {self.path} ends without the two zero blocks that end an archive")
        while self.done < self.size:
            if any(self._read(min(self.size - self.done, CHUNK))):
                raise DeployError(f"archive {self.path} has something behind its end; GNU tar would not restore it")
        if self.tar.read(1):
            raise DeployError(f"archive {self.path} holds more than the {self.size} bytes that its manifest says")


def _whole_blocks(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def refused(path: str, count: int, why: str, name: bytes | None = None) -> DeployError:
    which = f"member {count + 1}" if name is None else f"member {shown(name)}"
    return DeployError(f"{which} of archive {path} is refused: {why}; choose another backup")


def check_header(header: bytes, path: str, count: int) -> None:
    """Refuse a block that is not a header exactly as GNU tar writes it."""
    found = _CHECKSUM.fullmatch(header, 148, 156)
    if not found or int(found[1], 8) != _sum(header[:256]) + _sum(header[256:]) - sum(header[148:156]) + 8 * 32:
        raise refused(path, count, "its header is damaged (the checksum does not fit)")
    if not _NUMBERS.fullmatch(header, 100, 148):
        for start, end, what in ((100, 108, "mode"), (108, 116, "owner"), (116, 124, "group"), (136, 148, "time")):
            octal(header, start, end, path, count, what)
    _check_text(header, 0, 100, path, count)
    if header[157:] in _USUAL_ENDS:
        return
    if header[257:265] != MAGIC:
        raise refused(path, count, "its header has another format than GNU tar's --format=posix")
    _check_text(header, 157, 257, path, count)
    _check_text(header, 345, 500, path, count)
    if any(header[500:]):
        raise refused(path, count, "its header has something where nothing belongs")


def _check_text(header: bytes, start: int, end: int, path: str, count: int) -> None:
    """Refuse a field with something behind a zero byte: readers would see different names."""
    if not _TEXT.fullmatch(header, start, end):
        name = text_in(header, start, end)
        raise refused(path, count, "a name in its header goes on behind a zero byte", name)


def _sum(data: bytes) -> int:
    """Return the sum of up to 256 bytes. Adler-32 has it in its lower half, modulo 65,521, and is ten times faster."""
    return (zlib.adler32(data) & 0xFFFF) - 1


def octal(header: bytes, start: int, end: int, path: str, count: int, what: str) -> int:
    found = _OCTAL.fullmatch(header, start, end)
    if not found:
        raise refused(path, count, f"its {what} is not an octal number")
    return int(found[1], 8)


def text_in(header: bytes, start: int, end: int) -> bytes:
    return header[start:end].partition(b"\0")[0]


def pax(reader: Reader, header: bytes, path: str, count: int) -> tuple[dict[bytes, bytes], bytes]:
    """Return the records of an extended header, each key once, and its blocks. Its times may be left out."""
    size = octal(header, 124, 136, path, count, "size")
    if size > LARGEST_PAX:
        raise refused(path, count, f"its extended header is larger than {LARGEST_PAX} bytes")
    blocks = reader.data(size)
    if _USUAL_TIMES.fullmatch(blocks, 0, size):
        return {}, blocks
    data, found, position = blocks[:size], {}, 0
    while position < size:
        length = _LENGTH.match(data, position)
        start, end = (length.end(), position + int(length[1])) if length else (size, 0)
        if not start < end <= size or data[end - 1] != NEWLINE:
            raise refused(path, count, "its extended header is damaged")
        key, equals, value = data[start : end - 1].partition(b"=")
        form = PAX_KEYS.get(key) or (_DATA if key.startswith(XATTR) else None)
        if not equals or form is None:
            raise refused(path, count, f"its extended header has {shown(key)}, which backups do not have")
        if key in found:
            raise refused(path, count, f"its extended header has {shown(key)} twice")
        if not form.fullmatch(value):
            raise refused(path, count, f"in its extended header {shown(key)} is {shown(value)}")
        found[key] = value
        position = end
    return found, blocks
