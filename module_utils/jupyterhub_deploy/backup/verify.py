"""Read backups again, and remember beside each what was found.

``<stem>.verified`` says when a backup was read and whether it is good. It counts as long as the manifest names the same
checksum and the archive's file has the size and the time of change that it had then.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import human_size

ALL, NEWEST = "all", "newest"

# As an AnsibleModule takes it.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "users": {"type": "list", "elements": "str", "default": []},
    "backup": {"type": "str", "default": ALL},
    "again_after_days": {"type": "int", "default": 0},
}


@dataclass(frozen=True)
class Verified:
    """What was found when a backup was read. The names are those in the JSON file."""

    time: str  # ISO 8601, UTC
    good: bool
    fault: str | None
    members_read: bool  # not of an encrypted backup: its checksum alone was compared
    sha256: str  # of the manifest
    size: int  # bytes of the archive's file
    mtime_ns: int  # of the archive's file

    @property
    def moment(self) -> datetime:
        """When the backup was read."""
        return datetime.fromisoformat(self.time)


def path_of(backup: Backup) -> str:
    """Return where it is remembered."""
    return os.path.join(os.path.dirname(backup.manifest_path), backup.stem + store.VERIFIED)


def known(backup: Backup) -> Verified | None:
    """Return what was found when a backup was last read, ``None`` when that says nothing of it as it is now."""
    try:
        with open(path_of(backup), encoding="utf-8") as file:
            found = Verified(**json.load(file))
        now = os.lstat(backup.archive_path)
        found.moment  # noqa: B018  (whether it can be read)
    except (OSError, ValueError, TypeError):
        return None
    then = (found.sha256, found.size, found.mtime_ns)
    return found if then == (backup.manifest.sha256, now.st_size, now.st_mtime_ns) else None


def words(good: bool | None, fault: str | None) -> str:
    """Return for people what is known of a backup; of one that was not read again, ``good`` is ``None``."""
    if good is None:
        return "not read again yet"
    return "good" if good else f"NOT GOOD: {fault}"


def read(backup: Backup) -> Verified:
    """Read a backup from its first to its last byte, and judge it as a restore would.

    :raises DeployError: it is not there, or a program that reads archives is missing.
    """
    encrypted = backup.manifest.encryption != "none"
    fault = None
    with reader.opened(backup) as archive:
        before = os.fstat(archive)
        try:
            if encrypted:
                reader.check_sum(archive, backup)
            else:
                reader.validate(archive, backup)
        except DeployError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # says nothing of the backup
                raise
            fault = str(error)
    return Verified(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        good=fault is None,
        fault=fault,
        members_read=not encrypted,
        sha256=backup.manifest.sha256,
        size=before.st_size,
        mtime_ns=before.st_mtime_ns,
    )


def remember(backup: Backup, found: Verified) -> None:
    """Write down what was found, whole or not at all."""
    # Several may read at once, so the file's name has the process in it; in letters, as clean() knows them.
    who = "".join(chr(ord("a") + int(digit)) for digit in str(os.getpid()))
    partial = os.path.join(os.path.dirname(backup.manifest_path), f".{backup.stem}.verified{who}.partial")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    with os.fdopen(store.create(partial), "w", encoding="utf-8") as file:
        json.dump(asdict(found), file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, path_of(backup))


def is_good(backup: Backup) -> bool:
    """Return whether a backup is good; it is read when that is not known yet. The caller holds the lock."""
    found = known(backup)
    if not found:
        found = read(backup)
        with contextlib.suppress(OSError):  # on a full disk it is read again the next time
            remember(backup, found)
    return found.good


def chosen(directory: str, users: list[str], which: str) -> tuple[list[Backup], list[str]]:
    """Return the backups that are asked for, and in sentences what cannot be had or is no backup although it looks so.

    :param users: whose; all, and the hub's own state, when empty.
    :param which: :data:`ALL`, :data:`NEWEST` of each folder, or the name of one in each folder.
    """
    backups: list[Backup] = []
    problems: list[str] = []
    there: set[str] = set()
    for folder in store.folders(directory):
        found, faults = store.list_backups(directory, folder)
        owners = {user for user in users if found and found[-1].manifest.is_of(user)}
        if users and not owners:
            continue
        there |= owners
        problems += [fault.message for fault in faults]
        if which == NEWEST:
            found = found[-1:]
        elif which != ALL:
            found = [one for one in found if one.stem == which]
        backups += found
    problems += [f"there is no backup of user {user} in {directory}" for user in users if user not in there]
    if not backups and not problems:
        named = "" if which in (ALL, NEWEST) else f" {which}"
        problems.append(f"there is no backup{named} in {directory}; restore.yml lists those that exist")
    return backups, problems


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Read backups again, and return what the module ``jupyterhub_backup_verify`` documents (``RETURN``).

    :param params: see :data:`ARGUMENTS`, and ``progress_file``, see :class:`progress.Reporter`.
    :raises DeployError: there are none at all, or another run writes to them.
    """
    directory = params["directory"]
    if not os.path.isdir(directory):
        raise DeployError(f"there are no backups: directory {directory} does not exist; run backup.yml first")
    # Shared: backups may be restored meanwhile, and not be removed.
    with contextlib.nullcontext() if check_mode else store.lock(directory, shared=True):
        backups, problems = chosen(directory, params["users"], params["backup"])
        progress = Reporter(params["progress_file"])
        recent = datetime.now(timezone.utc) - timedelta(days=params["again_after_days"])
        results = [_one(backup, recent, check_mode, progress) for backup in backups]
    return {
        "changed": any(result.pop("news") for result in results),
        "results": results,
        "problems": problems,
        "totals": {
            "good": sum(result["good"] for result in results),
            "bad": sum(not result["good"] for result in results),
            "read": sum(result["read"] for result in results),
            "size": sum(result["size"] for result in results if result["read"]),
        },
    }


def _one(backup: Backup, recent: datetime, check_mode: bool, progress: Reporter) -> dict[str, Any]:
    began, before = time.monotonic(), known(backup)
    found = before
    # One that is bad is always read again: that is quicker than to wonder whether it was the disk's mood.
    if not before or not before.good or before.moment < recent:
        try:
            found = read(backup)
            if not check_mode:
                remember(backup, found)
        except OSError as error:
            raise DeployError(f"what was found of {backup.archive_path} cannot be written down: {error}") from error
        size = human_size(backup.manifest.size)
        verdict = f"good, {size} read" if found.good else f"NOT GOOD: {found.fault}"
        progress.say(f"{backup.manifest.folder}: {backup.stem} is {verdict}")
    assert found  # noqa: S101  (for mypy)
    return {
        "name": backup.manifest.folder,
        "user": backup.manifest.user,
        "backup": backup.archive_path,
        "good": found.good,
        "fault": found.fault,
        "members_read": found.members_read,
        "read": found is not before,
        "time": found.time,
        "size": backup.manifest.size,
        "seconds": round(time.monotonic() - began, 3),
        "news": not before or (before.good, before.fault) != (found.good, found.fault),
    }


def failure(result: dict[str, Any]) -> str | None:
    """Return the message of a run that found something wrong, ``None`` when all is well."""
    faults = [one["fault"] for one in result["results"] if not one["good"]] + result["problems"]
    if not faults:
        return None
    found = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
    return f"{found}, {result['totals']['good']} backups are good: {'; '.join(faults)}"
