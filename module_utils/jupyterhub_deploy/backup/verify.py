"""Verify backups, and write a record of the result beside each.

``<stem>.verified`` records when a backup was read and whether it is good. It is valid while the manifest has the same
checksum, and the archive the same size and modification time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import human_size

ALL, NEWEST = "all", "newest"
# Errors of a disk that can be read and not written: verifying goes on without a record.
_NOT_WRITABLE = {errno.EROFS: "mounted read-only", errno.ENOSPC: "full", errno.EDQUOT: "full"}

Result = dict[str, Any]


@dataclass(frozen=True)
class VerifySettings:
    """The options of the module ``jupyterhub_backup_verify``, where they are documented."""

    name: str
    directory: str
    users: list[str]
    backup: str
    again_after_days: int


@dataclass(frozen=True)
class Verified:
    """The result of a verification. The field names are those in the JSON file."""

    time: str  # ISO 8601, UTC
    good: bool
    fault: str | None
    members_read: bool  # False for an encrypted backup: only its checksum was compared
    sha256: str  # of the manifest
    size: int  # bytes of the archive's file
    mtime_ns: int  # of the archive's file

    @property
    def moment(self) -> datetime:
        """When the backup was read."""
        return datetime.fromisoformat(self.time)


def record_path(backup: Backup) -> str:
    """Return the path of the verification record."""
    return os.path.join(os.path.dirname(backup.manifest_path), backup.stem + store.VERIFIED)


def read_record(backup: Backup) -> Verified | None:
    """Return the last verification of a backup, ``None`` when there is none or the backup has changed since."""
    try:
        with open(record_path(backup), encoding="utf-8") as file:
            found = Verified(**json.load(file))
        now = os.lstat(backup.archive_path)
        found.moment  # noqa: B018  (checks that it can be parsed)
    except (OSError, ValueError, TypeError):
        return None
    then = (found.sha256, found.size, found.mtime_ns)
    return found if then == (backup.manifest.sha256, now.st_size, now.st_mtime_ns) else None


def describe(good: bool | None, fault: str | None) -> str:
    """Return the state of a backup as text; ``good`` is ``None`` for one that was not verified."""
    if good is None:
        return "not verified yet"
    return "good" if good else f"NOT GOOD: {fault}"


def verify(backup: Backup) -> Verified:
    """Read a whole backup, and validate it like a restore.

    :raises DeployError: it does not exist, or a program that reads archives is missing.
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
            if isinstance(error.__cause__, FileNotFoundError):  # not a fault of the backup
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


def write_record(backup: Backup, found: Verified) -> None:
    """Write the verification record, completely or not at all."""
    path = record_path(backup)
    with files.locked(os.path.dirname(path), wait=True):  # several processes may verify at once
        files.write_atomically(path, json.dumps(asdict(found), indent=2, sort_keys=True) + "\n")


def is_good(backup: Backup) -> bool:
    """Return whether a backup is good; verify it if it has no valid record. The caller holds the lock."""
    found = read_record(backup)
    if not found:
        found = verify(backup)
        with contextlib.suppress(OSError):  # on a full disk: the next run verifies it again
            write_record(backup, found)
    return found.good


def select_backups(directory: str, hub: str, users: list[str], which: str) -> tuple[list[Backup], list[str]]:
    """Return the selected backups, and a message for each that is missing or damaged.

    :param hub: of the users; another hub with backups in this directory may have users with the same names.
    :param users: whose backups; when empty, those of all users and of the hub's own state.
    :param which: :data:`ALL`, :data:`NEWEST` of each folder, or the name of one in each folder.
    """
    backups: list[Backup] = []
    problems: list[str] = []
    there: set[str] = set()
    for folder in store.folders(directory):
        found, faults = store.list_backups(directory, folder)
        is_own = bool(found) and found[-1].manifest.hub == hub
        owners = {user for user in users if is_own and found[-1].manifest.is_of(user)}
        if users and not owners:
            continue
        there |= owners
        problems += [fault.message for fault in faults]
        if which == NEWEST:
            found = found[-1:]
        elif which != ALL:
            found = [one for one in found if one.stem == which]
        backups += found
    problems += [f"user {user} has no backup in {directory}" for user in users if user not in there]
    if not backups and not problems:
        named = "" if which in (ALL, NEWEST) else f" {which}"
        problems.append(f"there is no backup{named} in {directory}; make restore lists those that exist")
    return backups, problems


def run(settings: VerifySettings, check_mode: bool, progress: Reporter) -> Result:
    """Verify backups, and return what the module ``jupyterhub_backup_verify`` documents (``RETURN``).

    :raises DeployError: the directory does not exist, or another run writes to it.
    """
    directory = settings.directory
    if not os.path.isdir(directory):
        raise DeployError(f"there are no backups: directory {directory} does not exist; run `make backup` first")
    # Shared: other runs may restore backups meanwhile, but not remove them.
    with contextlib.nullcontext() if check_mode else store.lock(directory, shared=True):
        backups, problems = select_backups(directory, settings.name, settings.users, settings.backup)
        if not backups and not problems:
            raise DeployError(f"there is no backup to verify in {directory}; run `make backup` first")
        recent = datetime.now(timezone.utc) - timedelta(days=settings.again_after_days)
        results = [_verify_one(backup, recent, check_mode, progress) for backup in backups]
    totals = {
        "good": sum(result["good"] for result in results),
        "bad": sum(not result["good"] for result in results),
        "read": sum(result["read"] for result in results),
        "size": sum(result["size"] for result in results if result["read"]),
    }
    encrypted = sum(not result["members_read"] for result in results)
    return {
        "changed": any(result.pop("outcome_changed") for result in results),
        "results": results,
        "problems": problems,
        "totals": totals,
        "messages": [
            f"read: {totals['read']}, good: {totals['good']}, in {directory}",
            *([f"encrypted, so only the checksum was compared: {encrypted}"] if encrypted else []),
        ],
    }


def _verify_one(backup: Backup, recent: datetime, check_mode: bool, progress: Reporter) -> Result:
    began, before = time.monotonic(), read_record(backup)
    found, note = before, ""
    # A bad backup is always verified again: the fault may have been a temporary read error.
    if not before or not before.good or before.moment < recent:
        found = verify(backup)
        try:
            if not check_mode:
                write_record(backup, found)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise DeployError(
                    f"the verification record of {backup.archive_path} cannot be written: {error}"
                ) from error
            note = f"; not recorded, because the disk is {_NOT_WRITABLE[error.errno]}"
        size = human_size(backup.manifest.size)
        verdict = f"good, {size} read" if found.good else f"NOT GOOD: {found.fault}"
        progress.say(f"{backup.manifest.folder}: {backup.stem} is {verdict}{note}")
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
        "outcome_changed": not before or (before.good, before.fault) != (found.good, found.fault),
    }


def failure(result: Result) -> str | None:
    """Return the message of a run that found problems, ``None`` when all backups are good."""
    faults = [one["fault"] for one in result["results"] if not one["good"]] + result["problems"]
    if not faults:
        return None
    found = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
    return f"{found}, {result['totals']['good']} backups are good: {'; '.join(faults)}"
