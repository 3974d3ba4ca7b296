"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import Callable

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.processes import wait_until


class NotTextError(DeployError, ValueError):
    """A file that should be text is not; also a ``ValueError``, as other damage to a file is for those who parse it."""


class LockedError(DeployError):
    """Another process holds the lock."""


def read_text(path: str) -> str | None:
    """Return the text of a file, ``None`` when it does not exist.

    :raises NotTextError: it is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise NotTextError(
            f"{path} is not text in UTF-8 (byte {error.start}), so it is damaged or has another encoding; correct it"
        ) from error


def write_atomically(
    path: str, content: str | bytes, mode: int = 0o600, keep: bool = False, parents: bool = False
) -> None:
    """Write a file so that a reader, a kill or a power cut finds the old content or the new, never a part.

    The file belongs to the user who writes it.

    :param mode: the permissions of the file; nobody has more, not even for a moment.
    :param keep: a file that exists keeps its permissions and its owner.
    :param parents: create its directory if it is missing; others may enter it.
    :raises OSError: the file system does not take it; then the old file is as it was.
    """
    if parents:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.partial")
    with contextlib.suppress(FileNotFoundError):  # of a run that was killed
        os.unlink(partial)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if keep and os.path.exists(path):
                old = os.stat(path)
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
                mode = stat.S_IMODE(old.st_mode)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError) and error.filename is None:  # a full disk
            raise OSError(error.errno, error.strerror, path) from error
        raise
    sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """Flush the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(
    path: str,
    shared: bool = False,
    wait: bool = False,
    on_wait: Callable[[], None] | None = None,
    timeout: float | None = None,
) -> Iterator[int]:
    """Hold a lock, which ends with the process at the latest; yield its descriptor, which a child may inherit.

    :param path: a directory that exists, or a file, which is created when missing.
    :param shared: others may hold it shared at the same time.
    :param wait: wait for the process that holds the lock, instead of raising an error.
    :param on_wait: called once when there is something to wait for.
    :param timeout: the seconds to wait at most; without it, there is no limit.
    :raises LockedError: another process holds it, and ``wait`` is false or the time is over. The caller knows what is
        locked: catch this and say so.
    :raises OSError: the path cannot be opened.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        if not _lock(descriptor, kind | fcntl.LOCK_NB):
            if wait and on_wait:
                on_wait()
            if wait and timeout is None:
                fcntl.flock(descriptor, kind)
            # A lock that is waited for cannot time out.
            elif not wait or not wait_until(lambda: _lock(descriptor, kind | fcntl.LOCK_NB), timeout or 0):
                raise LockedError(f"another process has locked {path}; wait until it has ended")
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    """Lock an open file without waiting; return whether that was possible."""
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        return False
    return True


def is_locked(path: str) -> bool:
    """Return whether a process holds an exclusive lock on a file or directory; false when it does not exist.

    :raises OSError: the file cannot be examined.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
