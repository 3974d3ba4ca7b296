"""Replace a volume's data in one step by a new tree that was extracted beside it.

Docker keeps a local volume's files in ``<home>/_data``, uses nothing else in ``home`` but ``opts.json``, and removes
``home`` with the volume. Only root can create or rename files in ``home``. So users, who own everything in ``_data``,
cannot replace anything in ``home`` by a link.

=========================  ============================================================================================
``home/.restoring``        the run that is in progress, or was killed; only for root
``…/_data``                the new tree; after the exchange, the old one
``…/new``                  a symlink to no file, whose text says which of the two is the new one
``…/old``                  the old tree, for the moment that two renames need where there is no exchange
``home/.discarded``        what is being removed
``home/before-<time>``     the tree that a restore has replaced, in ``_data`` in it
=========================  ============================================================================================

A run may be killed after any step. From these names, the next one knows which step was the last (:func:`recover`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.store import stem_of, sync_filesystem
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import shown
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import LockedError, read_text, sync_directory
from ansible.module_utils.jupyterhub_deploy.text import unique_name

DATA, STAGING, DISCARDED, NEW, OLD, KEPT = "_data", ".restoring", ".discarded", "new", "old", "before-"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# The errors of a kernel, a file system (NFS, some FUSE) or an old libc that cannot exchange.
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY)


@contextlib.contextmanager
def locked(home: str) -> Iterator[int]:
    """Lock a volume against other restores. The lock ends with the process, and leaves no file.

    :raises LockedError: another restore has the lock.
    :raises DeployError: the volume does not exist.
    """
    try:
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise DeployError(f"{home}, where the volume should be, cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(f"another run is restoring to {home}; wait until it has ended") from error
        yield descriptor
    finally:
        os.close(descriptor)


def recover(home: str) -> str | None:
    """Clean up after a killed run; return where it kept the old data if that run had replaced them already.

    :raises DeployError: the volume was written to while its data was moved aside.
    """
    staging, data = os.path.join(home, STAGING), os.path.join(home, DATA)
    kept = None
    if os.path.lexists(staging):
        new = read_mark(os.path.join(staging, NEW), "inode")
        aside, slot = os.path.join(staging, OLD), os.path.join(staging, DATA)
        if os.path.lexists(aside):
            if inode(data) == new:  # both renames were done
                os.rename(aside, slot)
            else:
                _bring_back(aside, data)
        if new is not None and inode(slot) not in (None, new):
            kept = _keep(home)
        else:
            discard(home, staging)
    discard(home, None)
    return kept


def _bring_back(aside: str, data: str) -> None:
    try:
        os.rename(aside, data)  # replaces only an empty directory, which Docker may have created
    except OSError as error:
        raise DeployError(
            f"a killed restore left the volume's data in {aside}, and {data} is in its place with something in it "
            f"({error.strerror}); look at both, move one of them away, then try again"
        ) from error


@contextlib.contextmanager
def synced(home: str) -> Iterator[None]:
    """Mark the new tree, and write all of it to the disk while the caller compares it with the archive.

    :raises DeployError: the disk reports an error.
    """
    tree = os.path.join(home, STAGING, DATA)
    try:
        mark(os.path.join(home, STAGING, NEW), {"inode": inode(tree)})
        with ThreadPoolExecutor(max_workers=1) as pool:
            written = pool.submit(sync_filesystem, tree)
            yield
            written.result()
    except OSError as error:
        raise DeployError(
            f"{tree} cannot be compared and written to the disk: {error.strerror}; the volume keeps its data"
        ) from error


def swap(home: str) -> None:
    """Replace the old tree by the new one, which is :func:`synced`. The old tree is in the staging directory then.

    :raises DeployError: the file system cannot do it; the old tree is still in place.
    """
    data, staging = os.path.join(home, DATA), os.path.join(home, STAGING)
    tree = os.path.join(staging, DATA)
    try:
        if not exchange(tree, data):
            _two_renames(staging, tree, data)
    except OSError as error:
        raise DeployError(f"{tree} cannot take the place of {data}: {error.strerror}") from error


def swap_back(home: str) -> None:
    """Undo :func:`swap`: the new tree goes back to staging, with everything that was written to it since."""
    data, staging = os.path.join(home, DATA), os.path.join(home, STAGING)
    tree = os.path.join(staging, DATA)
    if not exchange(tree, data):
        aside = os.path.join(staging, OLD)
        os.rename(tree, aside)
        os.rename(data, tree)
        os.rename(aside, data)


def _two_renames(staging: str, tree: str, data: str) -> None:
    aside = os.path.join(staging, OLD)
    os.rename(data, aside)
    try:
        os.rename(tree, data)
    except OSError:
        os.rename(aside, data)
        raise
    os.rename(aside, tree)


def exchange(one: str, other: str) -> bool:
    """Exchange two directories in one step; return ``False`` if the kernel or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # glibc before 2.28
        return False
    paths = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if libc.renameat2(*paths, _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), one)


def mark(path: str, inodes: dict[str, int | None]) -> None:
    """Record which data are the new ones, for the run after a kill.

    A symlink comes into existence with its text, in one step, and needs no sync of its own.
    """
    os.symlink(json.dumps(inodes), path)


def read_mark(path: str, name: str) -> int | None:
    """Return an inode of the new data from the mark of a killed restore, ``None`` when it had not got as far as that.

    :param name: which of the inodes in the mark.
    :raises DeployError: the mark is damaged.
    """
    try:
        # Earlier versions wrote a file.
        text = os.readlink(path) if os.path.islink(path) else read_text(path)
        return None if text is None else int(json.loads(text)[name])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DeployError(
            f"{path}, which an interrupted restore has left, is damaged ({error}); check this disk, make sure that the "
            f"data are in {os.path.dirname(os.path.dirname(path))}, then remove {os.path.dirname(path)}"
        ) from error


def inode(path: str | os.PathLike[str]) -> int | None:
    """Return the inode of a path, ``None`` when it does not exist."""
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def kept_path(home: str) -> str:
    """Return an unused path with the time, for data that a restore replaces now."""
    return os.path.join(home, unique_name(KEPT + stem_of(datetime.now(timezone.utc)), os.listdir(home)))


def _keep(home: str) -> str:
    """Rename the old tree, which is in staging since the swap, to a name with the time; return its path."""
    staging = os.path.join(home, STAGING)
    kept = kept_path(home)
    # The mark `new` is moved too, and has no meaning there.
    os.rename(staging, kept)
    sync_directory(home)
    sync_directory(kept)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(kept, NEW))
    return os.path.join(kept, DATA)


def finish(home: str, keep_old: bool) -> str | None:
    """After :func:`swap`, keep the old tree and return where it is, or remove it."""
    if keep_old:
        return _keep(home)
    staging = os.path.join(home, STAGING)
    sync_directory(home)  # the swap is on the disk before the old tree is removed
    sync_directory(staging)
    discard(home, staging)
    return None


def discard(home: str, path: str | None) -> None:
    """Remove a directory in ``home``, or with ``None`` the one that a killed run was removing.

    It is renamed first, so that after a kill nobody mistakes the rest for data.
    """
    discarded = os.path.join(home, DISCARDED)
    _remove(discarded)
    if path is not None and os.path.lexists(path):
        os.rename(path, discarded)
        _remove(discarded)


def _remove(path: str) -> None:
    """Remove a tree. ``rm`` follows no links and accepts any depth and name; Python's rmtree recurses."""
    if not os.path.lexists(path):
        return
    done = subprocess.run(
        ["rm", "-rf", "--one-file-system", "--", path], env=ENVIRONMENT, capture_output=True, check=False
    )
    if done.returncode:
        message = shown(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else b"rm said nothing")
        raise DeployError(f"{path} cannot be removed: {message}")


def kept_directories(home: str) -> list[str]:
    """Return the directories with the data that restores have replaced, oldest first."""
    try:
        return [os.path.join(home, name) for name in sorted(os.listdir(home)) if name.startswith(KEPT)]
    except FileNotFoundError:
        return []
