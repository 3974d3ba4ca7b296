"""How backups lie on the disk: names, manifests, what counts as a backup, the lock, and the way a file gets there.

``<directory>/<folder>/<stem>.tar.zst`` (with ``.age`` behind it when it is encrypted) and, written last,
``<stem>.json`` beside it. A folder is named like the volume that it is for; the hub's own state is in the folder
``hub``. A backup exists if its manifest can be read and the archive that it names is there with the size that it says.
Nothing else counts, so a killed run leaves nothing half.

Files of a run that is still going on, or was killed, are ``.<stem>.<something>.partial``. ``<stem>.verified`` says that
the backup was read again (see ``backup/verify.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
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
        """Where its archive is."""
        return os.path.join(self.directory, self.manifest.folder, self.manifest.archive)

    @property
    def manifest_path(self) -> str:
        """Where its manifest is."""
        return os.path.join(self.directory, self.manifest.folder, f"{self.stem}.json")

    @property
    def time(self) -> datetime:
        """When it was begun (UTC)."""
        return time_of(self.stem)


def stem_of(moment: datetime) -> str:
    """Return the stem of a backup that begins at a moment."""
    return moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def time_of(stem: str) -> datetime:
    """Return the moment that a stem names (UTC)."""
    return datetime.strptime(stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def load(directory: str, folder: str, stem: str) -> Backup:
    """Return one backup.

    :raises DeployError: when it does not exist, saying which part is missing or wrong.
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
    """Hold the lock of a directory of backups.

    :param shared: for those who only read; they keep each other company and those who write out. Where nobody can
        write, on a disk that is mounted read-only, they need no lock.
    :param name: another lock than that of those who write; of those who copy, say.
    :raises DeployError: when another run holds it. It is not waited for: it may take hours.
    """
    path = os.path.join(directory, name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if shared and error.errno == errno.EROFS:
            yield
            return
        raise DeployError(f"the backups in {directory} cannot be locked: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            process = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f"another run (process {process})" if process else "another run"
            raise DeployError(
                f"{who} is using the backups in {directory}; wait until it has ended, then try again"
            ) from error
        with contextlib.suppress(OSError):  # only what others are told; a full disk may refuse it
            os.ftruncate(descriptor, 0)
            if not shared:
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def ensure_folder(path: str) -> None:
    """Make a directory that root alone can enter, or mend its mode.

    :raises DeployError: when the file system does not take it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if stat.S_IMODE(os.stat(path).st_mode) != 0o700:
            os.chmod(path, 0o700)
    except OSError as error:
        raise DeployError(f"directory {path} for backups cannot be made: {error}") from error


def sync_filesystem(path: str) -> None:
    """Have everything on the disk that was written to the file system of a directory so far.

    :raises OSError: the directory is not there, or the disk did not take all of it.
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
    """Return the descriptor of a new file that root alone can read."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


class Draft:
    """A backup that is being made: a stem of its own, partial files, and the step that makes it exist."""

    def __init__(self, directory: str, folder: str, compression: str, encryption: str = "none") -> None:
        """Choose a stem that no file there has yet; waits for the next second when this one is taken."""
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
        """Return the name of a file of this backup that is removed when the run is killed."""
        return os.path.join(self.path, f".{self.stem}.{what}.partial")

    def commit(self, manifest: Manifest) -> None:
        """Make the backup exist. The archive's partial file has to be whole and on the disk."""
        descriptor = create(self.manifest_partial)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        files.sync_directory(os.path.dirname(self.path))  # where the folder itself may be new
        # The partial manifest has to be there before the archive gets its name: it tells clean() whose archive it is.
        files.sync_directory(self.path)
        os.rename(self.archive_partial, os.path.join(self.path, self.archive))
        files.sync_directory(self.path)
        os.rename(self.manifest_partial, os.path.join(self.path, f"{self.stem}.json"))
        files.sync_directory(self.path)

    def discard(self) -> None:
        """Remove what there is of a backup that was not finished."""
        remove(leftovers(self.path, self.stem))


def leftovers(path: str, stem: str | None = None) -> list[str]:
    """Return what runs that did not finish left in a folder, in the order in which it has to be removed.

    An archive without a manifest is one of them only when a partial manifest of the same stem lies beside it; any other
    was put there by somebody else.

    :param path: the folder.
    :param stem: look for this backup's alone.
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
    """Remove files, and directories with what is in them."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def clean(directory: str) -> list[str]:
    """Remove what killed runs left, and return its paths. The caller holds the lock."""
    found = [path for folder in folders(directory) for path in leftovers(os.path.join(directory, folder))]
    remove(found)
    return found


def forget(backup: Backup) -> None:
    """Remove a backup. It stops to exist at once; a kill in between leaves what :func:`clean` finds."""
    path = os.path.dirname(backup.manifest_path)
    partial = os.path.join(path, f".{backup.stem}.manifest.partial")
    os.rename(backup.manifest_path, partial)
    files.sync_directory(path)
    verified = os.path.join(path, backup.stem + VERIFIED)
    remove([backup.archive_path, *([verified] if os.path.lexists(verified) else []), partial])
