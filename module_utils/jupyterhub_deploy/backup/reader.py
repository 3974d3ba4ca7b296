"""Whether an archive can be restored: judged from its first to its last byte before anything is written.

First its checksum, then each member (``backup.tar_members``): only what GNU tar writes for our backups is let through.
Everything else is refused by name, also what might be harmless.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from ansible.module_utils.jupyterhub_deploy.backup import encryption
from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK, ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content, judge
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

DECOMPRESS = {"zstd": ["zstd", "--decompress", "--stdout"], "gzip": ["gzip", "--decompress", "--stdout"]}


@contextlib.contextmanager
def opened(backup: Backup) -> Iterator[int]:
    """Open the archive of a backup once, for the check and for the extraction: both see the same file.

    :raises DeployError: it is not there, or is no plain file.
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


def check_sum(descriptor: int, backup: Backup) -> None:
    """Compare size and checksum of the archive's file with the manifest.

    :raises DeployError: they differ.
    """
    total, size = hashlib.sha256(), 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        while chunk := os.read(descriptor, CHUNK):
            total.update(chunk)
            size += len(chunk)
    except OSError as error:
        raise DeployError(f"archive {backup.archive_path} cannot be read: {error.strerror}") from error
    instead = "; it is damaged or was replaced, so choose another backup"
    if size != backup.manifest.size:
        raise DeployError(
            f"archive {backup.archive_path} has {size} bytes, not {backup.manifest.size} as its manifest says{instead}"
        )
    if total.hexdigest() != backup.manifest.sha256:
        raise DeployError(f"archive {backup.archive_path} does not have the checksum that its manifest says{instead}")


@contextlib.contextmanager
def stream(descriptor: int, backup: Backup) -> Iterator[IO[bytes]]:
    """Give the tar stream of an archive from its begin.

    When the stream was read to its end, the programs that decrypt and decompress have to have ended well.

    :raises DeployError: one has not, or is not installed; or the archive is encrypted and there is no key to it.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    path, manifest = backup.archive_path, backup.manifest
    command = DECOMPRESS.get(manifest.compression)
    with contextlib.ExitStack() as stack:
        decrypt, unpack = None, None
        if manifest.encryption != "none":
            errors = stack.enter_context(tempfile.TemporaryFile())
            decrypt = stack.enter_context(encryption.decrypting(path, manifest.recipients, descriptor, errors))
        if command:
            unpack = stack.enter_context(_decompressing(command, path, decrypt.stdout if decrypt else descriptor))
            if decrypt and decrypt.stdout:
                decrypt.stdout.close()  # the other program's alone, so that it ends when that does
        last = unpack or decrypt
        if not last:
            yield stack.enter_context(os.fdopen(os.dup(descriptor), "rb", buffering=CHUNK))
            return
        assert last.stdout  # noqa: S101  (for mypy)
        try:
            yield last.stdout
            ended = not last.stdout.read(1)
        except DeployError as error:
            # What could not be decrypted is seen first as a stream that ends early.
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


def check(descriptor: int, backup: Backup) -> Content:
    """Judge a whole archive: its checksum, then each member, then what the manifest says of them.

    :raises DeployError: it cannot be restored; the text says which member, and why.
    """
    check_sum(descriptor, backup)
    with stream(descriptor, backup) as tar:
        return judge(tar, backup.archive_path, backup.manifest.members, backup.manifest.content_size)


def verify(descriptor: int, backup: Backup) -> str | None:
    """Judge an archive as far as it can be read here; return what could not be judged, ``None`` when all was.

    :raises DeployError: it cannot be restored.
    """
    if backup.manifest.encryption != "none" and not encryption.have_identity():
        check_sum(descriptor, backup)
        return "sum checked; content not readable without the key"
    check(descriptor, backup)
    return None
