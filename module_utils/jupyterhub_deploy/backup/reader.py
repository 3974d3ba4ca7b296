"""Read an archive from its first to its last byte, and validate it.

The checksum, and each member (``backup.tar_members``): only what GNU tar writes for our backups is accepted. Everything
else is refused by name, even if it might be harmless.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any, Callable

from ansible.module_utils.jupyterhub_deploy.backup import encryption
from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK, ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content, validate_members
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

DECOMPRESS = {"zstd": ["zstd", "--decompress", "--stdout"], "gzip": ["gzip", "--decompress", "--stdout"]}


@contextlib.contextmanager
def opened(backup: Backup) -> Iterator[int]:
    """Open the archive of a backup.

    :raises DeployError: it does not exist, or is not a plain file.
    """
    try:
        descriptor = os.open(backup.archive_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeployError(f"archive {backup.archive_path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DeployError(f"archive {backup.archive_path} is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


class _Archive:
    """The bytes of an archive from its beginning, with their checksum."""

    def __init__(self, descriptor: int, backup: Backup) -> None:
        self._descriptor, self._backup = descriptor, backup
        self._sum, self._size = hashlib.sha256(), 0
        os.lseek(descriptor, 0, os.SEEK_SET)

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, none at the end."""
        try:
            chunk = os.read(self._descriptor, size)
        except OSError as error:
            raise DeployError(f"archive {self._backup.archive_path} cannot be read: {error.strerror}") from error
        self._sum.update(chunk)
        self._size += len(chunk)
        return chunk

    def check(self) -> None:
        """Read the rest, and compare size and checksum with the manifest.

        :raises DeployError: they differ.
        """
        while self.read():
            pass
        path, manifest = self._backup.archive_path, self._backup.manifest
        next_step = "; it is damaged or was replaced, so choose another backup"
        if self._size != manifest.size:
            raise DeployError(
                f"archive {path} has {self._size} bytes, not {manifest.size} as its manifest says{next_step}"
            )
        if self._sum.hexdigest() != manifest.sha256:
            raise DeployError(f"archive {path} does not have the checksum that its manifest says{next_step}")


class _RawArchive(io.RawIOBase):
    """An archive that is neither compressed nor encrypted, as a file."""

    def __init__(self, archive: _Archive) -> None:
        self._archive = archive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._archive.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Feeder(threading.Thread):
    """Writes an archive to the program that decrypts or decompresses it."""

    def __init__(self, archive: _Archive, into: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._archive, self._into, self._stopped = archive, into, False
        self.error: DeployError | None = None
        self.start()

    def run(self) -> None:
        try:
            with contextlib.suppress(BrokenPipeError), self._into:
                while not self._stopped and (chunk := self._archive.read()):
                    self._into.write(chunk)
        except DeployError as error:
            self.error = error

    def stop(self) -> None:
        """End the thread. The program has ended."""
        self._stopped = True
        self.join()


def check_sum(descriptor: int, backup: Backup) -> None:
    """Compare size and checksum of the archive's file with the manifest.

    :raises DeployError: they differ.
    """
    _Archive(descriptor, backup).check()


@contextlib.contextmanager
def _stream(archive: _Archive, descriptor: int, backup: Backup) -> Iterator[IO[bytes]]:
    """Yield the tar stream of an archive.

    At the end of the stream, the programs that decrypt and decompress have to exit successfully.

    :raises DeployError: one did not, or is not installed; or the archive is encrypted and there is no key for it.
    """
    path, manifest = backup.archive_path, backup.manifest
    command = DECOMPRESS.get(manifest.compression)
    if not command and manifest.encryption == "none":
        yield io.BufferedReader(_RawArchive(archive), CHUNK)
        return
    with contextlib.ExitStack() as stack:
        decrypt, unpack, errors = None, None, stack.enter_context(tempfile.TemporaryFile())
        if manifest.encryption != "none":
            decrypt = stack.enter_context(encryption.decrypting(path, manifest.recipients, subprocess.PIPE, errors))
        if command:
            source = decrypt.stdout if decrypt else subprocess.PIPE
            unpack = stack.enter_context(_decompressing(command, path, source))
            if decrypt and decrypt.stdout:
                decrypt.stdout.close()  # only the other program has it, so that it ends when that does
        first, last = decrypt or unpack, unpack or decrypt
        assert first and last and first.stdin and last.stdout  # noqa: S101, PT018  (for mypy)
        feeder = _Feeder(archive, first.stdin)
        stack.callback(feeder.stop)
        stack.callback(first.kill)  # before the feeder is stopped
        try:
            yield last.stdout
            ended = not last.stdout.read(1)
        except DeployError as error:
            # What cannot be decrypted appears first as a stream that ends early.
            last.stdout.close()
            if decrypt and decrypt.wait() > 0:
                raise DeployError(encryption.failure(path, manifest.recipients, errors)) from error
            raise
        last.stdout.close()
        if decrypt and decrypt.wait() > 0:
            raise DeployError(encryption.failure(path, manifest.recipients, errors))
        if not ended or any(process.wait() for process in (unpack, decrypt) if process):
            program = command[0] if command else "age"
            raise DeployError(f"archive {path} cannot be decompressed by {program}: it is damaged")
        feeder.join()
        if feeder.error:
            raise feeder.error


@contextlib.contextmanager
def _decompressing(command: list[str], path: str, source: int | IO[bytes] | None) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, bufsize=CHUNK
        )
    except FileNotFoundError as error:
        raise DeployError(
            f"program {command[0]}, which reads {path}, is missing on this host; install the package {command[0]}"
        ) from error
    assert process.stdout  # noqa: S101  (for mypy)
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def validate(descriptor: int, backup: Backup, write: Callable[[bytes], object] | None = None) -> Content:
    """Validate a whole archive while it is read once: each member, the number and size of all, and the checksum.

    :param write: gets the tar stream. A member's header is written only after it was validated. What the rest of the
        archive is like is known only when this returns: discard what was written when it raises an error.
    :raises DeployError: the archive cannot be restored; the text says why, and names the member.
    """
    archive, manifest = _Archive(descriptor, backup), backup.manifest
    try:
        with _stream(archive, descriptor, backup) as tar:
            content = validate_members(tar, backup.archive_path, manifest.members, manifest.content_size, write)
    except DeployError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            archive.check()  # a damaged archive is reported as such, whatever the damage looks like first
        raise
    archive.check()
    return content


def verify(descriptor: int, backup: Backup) -> str | None:
    """Validate an archive as far as it can be read here; return what could not be validated, ``None`` if nothing.

    :raises DeployError: it cannot be restored.
    """
    if backup.manifest.encryption != "none" and not encryption.have_identity():
        check_sum(descriptor, backup)
        return "sum checked; content not readable without the key"
    validate(descriptor, backup)
    return None
