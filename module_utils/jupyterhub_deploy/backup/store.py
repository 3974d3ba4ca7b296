"""The backup directory: file names, what counts as a backup, the lock, and how a backup is removed.

A backup is ``<directory>/<folder>/<stem>.tar.zst`` (``.tar.zst.age`` if encrypted) and, written last, ``<stem>.json``
beside it. A folder has the name of its volume; the hub's own state is in the folder ``hub``. A backup exists if its
manifest can be read and the archive that it names has the size in the manifest. So a killed run leaves no incomplete
backup. ``<stem>.verified`` is the record of the last verification (see ``backup/verify.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup.manifest import VOLUME_NAME, Manifest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

STEM = re.compile(r"\d{8}T\d{6}Z")
VERIFIED = ".verified"
LOCK = ".lock"
FSTAB = "/etc/fstab"
# How far the clocks of machines that share backups may differ.
CLOCK_TOLERANCE = timedelta(hours=24)


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
    if time_of(stem) > datetime.now(timezone.utc) + CLOCK_TOLERANCE:
        # It would count as the newest one until then, and hide later ones.
        raise DeployError(
            f"backup {path} is dated in the future, so the clock was wrong when it was made, or is wrong now; correct "
            "the clock, or give the backup an earlier time: rename its two files, and the archive in this one"
        )
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


def missing_disk(directory: str, fstab: str = FSTAB) -> str | None:
    """Return the directory above ``directory`` where ``fstab`` mounts a disk, if none is mounted there.

    Backups would fill the disk of the system, and stay hidden below the mounted disk afterwards.
    """
    text = ""
    with contextlib.suppress(FileNotFoundError), open(fstab, encoding="utf-8", errors="replace") as file:
        text = file.read()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    points = [line[1].replace("\\040", " ") for line in lines if len(line) > 3 and "noauto" not in line[3].split(",")]
    path = os.path.realpath(directory)
    above = [
        point
        for point in points
        if point.startswith("/") and os.path.commonpath([point, path]) == os.path.normpath(point)
    ]
    deepest = max(above, key=len, default="/")
    return None if os.path.ismount(deepest) else deepest


def why_none(directory: str) -> str:
    """Return the reason for a message that a directory has no backups, or nothing when it is just empty."""
    disk = missing_disk(directory)
    if disk:
        return f"the disk that {FSTAB} mounts at {disk} is not mounted"
    return "" if os.path.isdir(directory) else "the directory does not exist"


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


def remove(paths: list[str]) -> None:
    """Remove files, and directories with their content."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def delete(backup: Backup) -> None:
    """Remove a backup. It stops existing at once; after a kill, ``draft.clean`` removes the rest."""
    path = os.path.dirname(backup.manifest_path)
    partial = os.path.join(path, f".{backup.stem}.manifest.partial")
    os.rename(backup.manifest_path, partial)
    files.sync_directory(path)
    verified = os.path.join(path, backup.stem + VERIFIED)
    remove([backup.archive_path, *([verified] if os.path.lexists(verified) else []), partial])
