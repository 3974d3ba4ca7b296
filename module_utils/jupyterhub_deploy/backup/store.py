"""The backup directory: file names, what counts as a backup, the lock, and how a backup is written and removed.

A backup is ``<directory>/<folder>/<stem>.tar.zst`` (``.tar.zst.age`` if encrypted) and, written last, ``<stem>.json``
beside it. A folder has the name of its volume; the hub's own state is in the folder ``hub``. A backup exists if its
manifest can be read and the archive that it names has the size in the manifest. So a killed run leaves no incomplete
backup.

The files of a run in progress, or of a killed one, are ``.<stem>.<something>.partial``. ``<stem>.verified`` is the
record of the last verification (see ``backup/verify.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup.manifest import EVERY_ENDING, VOLUME_NAME, Manifest, ending
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

STEM = re.compile(r"\d{8}T\d{6}Z")
PARTIAL = re.compile(r"\.(\d{8}T\d{6}Z)\.[a-z]+\.partial")
VERIFIED = ".verified"
LOCK = ".lock"


@dataclass(frozen=True)
class Backup:
    """One backup that exists."""

    directory: str
    stem: str
    manifest: Manifest

    @property
    def archive_path(self) -> str:
        """Path of its archive."""
        return os.path.join(self.directory, self.manifest.folder, self.manifest.archive)

    @property
    def manifest_path(self) -> str:
        """Path of its manifest."""
        return os.path.join(self.directory, self.manifest.folder, f"{self.stem}.json")

    @property
    def time(self) -> datetime:
        """When it was started (UTC)."""
        return time_of(self.stem)


def stem_of(moment: datetime) -> str:
    """Return the stem of a backup that starts at a moment."""
    return moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def time_of(stem: str) -> datetime:
    """Return the moment that a stem names (UTC)."""
    return datetime.strptime(stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def load(directory: str, folder: str, stem: str) -> Backup:
    """Return one backup.

    :raises DeployError: it does not exist; the message says which part is missing or wrong.
    """
    path = os.path.join(directory, folder, f"{stem}.json")
    try:
        time_of(stem)
        with open(path, "rb") as file:
            manifest = Manifest.from_json(file.read(), path)
    except (OSError, ValueError) as error:
        raise DeployError(f"manifest {path} cannot be read: {error}") from error
    if manifest.folder != folder:
        raise DeployError(f"manifest {path} is of {manifest.folder}, not of {folder}; it was moved to a wrong folder")
    backup = Backup(directory, stem, manifest)
    try:
        found = os.lstat(backup.archive_path)
    except OSError as error:
        raise DeployError(f"the archive of {path} cannot be read: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DeployError(f"the archive of {path}, {manifest.archive}, is not a plain file")
    if found.st_size != manifest.size:
        raise DeployError(f"the archive of {path} has {found.st_size} bytes instead of {manifest.size}")
    return backup


def folders(directory: str) -> list[str]:
    """Return the names of the folders that may hold backups."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return []
    return sorted(
        entry.name for entry in entries if VOLUME_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    )


class Fault(NamedTuple):
    """A manifest that does not make a backup."""

    stem: str
    message: str


def list_backups(directory: str, folder: str) -> tuple[list[Backup], list[Fault]]:
    """Return the backups in a folder, oldest first, and the manifests there that do not make one."""
    backups, faults = [], []
    try:
        names = sorted(os.listdir(os.path.join(directory, folder)))
    except FileNotFoundError:
        names = []
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending == ".json" and STEM.fullmatch(stem):
            try:
                backups.append(load(directory, folder, stem))
            except DeployError as error:
                faults.append(Fault(stem, str(error)))
    return backups, faults


def backups_in(directory: str, folder: str) -> list[Backup]:
    """Return the backups in a folder, oldest first."""
    return list_backups(directory, folder)[0]


def every_backup(directory: str) -> dict[str, list[Backup]]:
    """Return all backups by folder, oldest first."""
    return {folder: backups_in(directory, folder) for folder in folders(directory)}


@contextlib.contextmanager
def lock(directory: str, shared: bool = False, name: str = LOCK) -> Iterator[None]:
    """Hold the lock of a backup directory.

    :param shared: for runs that only read: several of them may hold the lock, and runs that write may not. Not needed,
        and skipped, on a disk that is mounted read-only.
    :param name: name of another lock, such as that of runs that copy.
    :raises DeployError: another run holds it. This does not wait: that run may take hours.
    """
    path = os.path.join(directory, name)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(path, shared))
        except files.LockedError as error:
            process = (files.read_text(path) or "").strip()
            who = f"another run (process {process})" if process else "another run"
            raise DeployError(
                f"{who} is using the backups in {directory}; wait until it has ended, then try again"
            ) from error
        except OSError as error:
            if not shared or error.errno != errno.EROFS:
                raise DeployError(f"the backups in {directory} cannot be locked: {error}") from error
        else:
            # Only for the message of other runs; fails on a full disk.
            with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
                file.write("" if shared else f"{os.getpid()}\n")
        yield


def ensure_folder(path: str) -> None:
    """Create a directory that only root can enter, or correct its mode.

    :raises DeployError: the file system reports an error.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if stat.S_IMODE(os.stat(path).st_mode) != 0o700:
            os.chmod(path, 0o700)
    except OSError as error:
        raise DeployError(f"directory {path} for backups cannot be created: {error}") from error


def sync_filesystem(path: str) -> None:
    """Sync the file system of a directory to its disk.

    :raises OSError: the directory does not exist, or the disk reports an error.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def create(path: str) -> int:
    """Return the descriptor of a new file that only root can read."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


class Draft:
    """A backup that is being written: its unique stem, its partial files, and the commit."""

    def __init__(self, directory: str, folder: str, compression: str, encryption: str = "none") -> None:
        """Choose an unused stem; wait for the next second when that of this second is taken."""
        self.path = os.path.join(directory, folder)
        ensure_folder(self.path)
        while True:
            self.stem = stem_of(datetime.now(timezone.utc))
            if not any(self.stem in name for name in os.listdir(self.path)):
                break
            time.sleep(0.05)
        self.archive = self.stem + ending(compression, encryption)
        self.archive_partial = self.partial("archive")
        self.manifest_partial = self.partial("manifest")

    def partial(self, what: str) -> str:
        """Return the path of a partial file of this backup, which the next run removes after a kill."""
        return os.path.join(self.path, f".{self.stem}.{what}.partial")

    def commit(self, manifest: Manifest) -> None:
        """Make the backup exist. The partial archive must be complete and synced to the disk."""
        descriptor = create(self.manifest_partial)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        files.sync_directory(os.path.dirname(self.path))  # the folder itself may be new
        # The partial manifest must exist before the archive gets its name: it tells clean() that the archive is ours.
        files.sync_directory(self.path)
        os.rename(self.archive_partial, os.path.join(self.path, self.archive))
        files.sync_directory(self.path)
        os.rename(self.manifest_partial, os.path.join(self.path, f"{self.stem}.json"))
        files.sync_directory(self.path)

    def discard(self) -> None:
        """Remove the files of an unfinished backup."""
        remove(leftovers(self.path, self.stem))


def leftovers(path: str, stem: str | None = None) -> list[str]:
    """Return the files that unfinished runs left in a folder, in the order in which to remove them.

    An archive without a manifest is included only if a partial manifest with the same stem is beside it. Others are not
    ours.

    :param path: the folder.
    :param stem: return only the files of this backup.
    """
    names = set(os.listdir(path))
    partials = sorted(name for name in names if (match := PARTIAL.fullmatch(name)) and stem in (None, match.group(1)))
    archives = []
    for name in partials:
        if name.endswith(".manifest.partial"):
            mine = name.split(".")[1]
            if f"{mine}.json" not in names:
                archives += [mine + end for end in (*EVERY_ENDING, VERIFIED) if mine + end in names]
    return [os.path.join(path, name) for name in archives + partials]


def remove(paths: list[str]) -> None:
    """Remove files, and directories with their content."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def clean(directory: str) -> list[str]:
    """Remove the files that killed runs left; return their paths. The caller holds the lock."""
    found = [path for folder in folders(directory) for path in leftovers(os.path.join(directory, folder))]
    remove(found)
    return found


def delete(backup: Backup) -> None:
    """Remove a backup. It stops existing at once; after a kill, :func:`clean` removes the rest."""
    path = os.path.dirname(backup.manifest_path)
    partial = os.path.join(path, f".{backup.stem}.manifest.partial")
    os.rename(backup.manifest_path, partial)
    files.sync_directory(path)
    verified = os.path.join(path, backup.stem + VERIFIED)
    remove([backup.archive_path, *([verified] if os.path.lexists(verified) else []), partial])
