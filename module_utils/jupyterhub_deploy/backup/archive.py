"""Write a directory to an archive: GNU tar, a compressor, maybe encryption, and a file with its checksum."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.backup import encryption
from ansible.module_utils.jupyterhub_deploy.backup.draft import create
from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK, ended, last_message, start
from ansible.module_utils.jupyterhub_deploy.backup.tar_output import MemberList, parse_messages, tar_failure
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

COMPRESS = {
    # One thread: several volumes are packed at once anyway, and each thread more takes 20 MiB.
    "zstd": ["zstd", "-3", "--single-thread", "--quiet", "--stdout"],
    "gzip": ["gzip", "--stdout"],
}
# A record of 1 MiB: fewer and larger writes than with tar's 10 KiB.
TAR = [
    "tar",
    "--create",
    "--format=posix",
    "--sparse",
    "--xattrs",
    "--acls",
    "--numeric-owner",
    "--blocking-factor=2048",
    "--quoting-style=escape",
    "--verbose",
    "--totals",
]


class Packed(NamedTuple):
    """What was written."""

    sha256: str  # of the file
    size: int  # bytes of the file
    content_size: int  # bytes of the tar stream
    members: int
    changed: list[str]
    sockets: list[str]  # left out: an archive cannot hold them, and they mean nothing without the program behind them
    unrestorable: list[str]  # in the archive, but no tar can extract them: their paths are too long


def pack(
    source: str,
    target: str,
    compression: str,
    recipients: Sequence[str] = (),
    rest: contextlib.AbstractContextManager[object] | None = None,
) -> Packed:
    """Write everything in a directory to a new file, and sync it to the disk.

    Nothing is held in memory: tar writes to the compressor, and the result is hashed and written piece by piece. With
    encryption, only encrypted data reaches the disk.

    :param source: the directory. No link in it is followed; its own path has to be safe.
    :param target: the file; must not exist. It is removed when anything goes wrong.
    :param recipients: the public keys to encrypt for; plain when there is none.
    :param rest: is entered for just as long as tar reads.
    :raises DeployError: when a program fails, a file cannot be read, the disk is full or the directory vanished.
    """
    with contextlib.ExitStack() as stack:
        try:
            before = os.stat(source)
            descriptor = create(target)
        except OSError as error:
            raise DeployError(f"{source} cannot be written to {target}: {error.strerror}") from error
        try:
            file = stack.enter_context(os.fdopen(descriptor, "wb", buffering=0))
            filters = [COMPRESS[compression]] if compression in COMPRESS else []
            if recipients:
                filters.append(encryption.encrypting(recipients))
            packed = _pack(source, file, filters, stack, rest or contextlib.nullcontext())
            _still_there(source, before)
        except OSError as error:
            _unlink(target)
            where = f"; make room in {os.path.dirname(target)}" if error.errno == errno.ENOSPC else ""
            raise DeployError(f"{source} cannot be written to {target}: {error.strerror}{where}") from error
        except BaseException:
            _unlink(target)
            raise
    return packed


def _pack(
    source: str,
    file: Any,
    filters: list[list[str]],
    stack: contextlib.ExitStack,
    rest: contextlib.AbstractContextManager[object],
) -> Packed:
    """As :func:`pack`, into an open file.

    :param filters: the programs that the tar stream goes through, one after the other.
    """
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as closing, contextlib.ExitStack() as resting:
        resting.enter_context(rest)
        # The list of members comes through a pipe: one line each, as no name in it has a newline.
        read_names, write_names = os.pipe()
        listed = MemberList(read_names)
        try:
            command = [*TAR, f"--index-file=/dev/fd/{write_names}", "-C", source, "."]
            tar = stack.enter_context(
                ended(start(command, stdout=subprocess.PIPE, stderr=errors, pass_fds=[write_names]))
            )
        finally:
            os.close(write_names)
        last, through = tar, []
        for program in filters:
            stderr = closing.enter_context(tempfile.TemporaryFile())
            following = start(program, stdin=last.stdout, stdout=subprocess.PIPE, stderr=stderr)
            through.append((stack.enter_context(ended(following)), stderr))
            if last.stdout:
                last.stdout.close()  # only the next program has it, so that each ends when the next one does
            last = following
        sha256, size = _copy(last.stdout, file)
        code = tar.wait()
        resting.close()  # before the disk is waited for
        members, unrestorable = listed.wait()
        errors.seek(0)
        messages = parse_messages(line.decode("utf-8", "backslashreplace") for line in errors)
        # When a program fails, the programs before it fail too: report the last one.
        for process, stderr in reversed(through):
            if process.wait():
                raise DeployError(f"{source} cannot be packed: {_failed(process, stderr)}")
        problem = tar_failure(code, messages)
        if problem:
            raise DeployError(f"{source} cannot be packed: {problem}")
        os.fsync(file.fileno())
        return Packed(sha256, size, messages.total or 0, members, messages.changed, messages.sockets, unrestorable)


def _failed(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    assert isinstance(process.args, list)  # noqa: S101  (for mypy)
    if process.returncode < 0:
        return f"{process.args[0]} was ended by signal {-process.returncode}"
    return f"{process.args[0]} failed: {last_message(errors)}"


def _copy(stream: Any, file: Any) -> tuple[str, int]:
    """Write a stream to a file; return its checksum and size."""
    total, size = hashlib.sha256(), 0
    while chunk := stream.read1(CHUNK):
        total.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk)
        while rest:  # a disk that is nearly full takes a part first
            rest = rest[file.write(rest) :]
    return total.hexdigest(), size


def _still_there(source: str, before: os.stat_result) -> None:
    """Check that the directory was not removed while it was read: tar reports each file as removed then.

    :raises DeployError: it was removed or replaced.
    """
    try:
        after = os.stat(source)
        gone = (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino)
    except OSError:
        gone = True
    if gone:
        raise DeployError(f"{source} vanished while it was read; unless somebody removed the volume, check its disk")


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
