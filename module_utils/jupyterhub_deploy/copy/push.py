"""Push backups that are missing on another machine: send the archives, compare them, then send the manifests.

The directory on the other machine has the same layout, so it can be used as a backup directory. An interrupted run may
leave an archive there without its manifest, which does not count as a backup; the next run continues with it. Backups
that are removed here are not removed there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.settings import Spec
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.copy import rsync
from ansible.module_utils.jupyterhub_deploy.copy.rsync import Remote, Target
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import human_size

LOCK = ".push-lock"
# Number of archives that are sent before their manifests. Small, so that sent archives soon become backups; larger than
# one, because each batch needs four connections.
BATCH = 50

# The argument spec of the settings.
ARGUMENTS: Spec = {
    "to": {"type": "str"},
    "host_key": {"type": "str", "no_log": False},
    "key_file": {"type": "path", "default": "/etc/jupyterhub-deploy/push_key", "no_log": False},
    "port": {"type": "int", "default": 22},
}


@dataclass(frozen=True)
class PushSettings:
    """The other machine. The module ``jupyterhub_backup_copy`` documents the settings."""

    to: str
    host_key: str
    key_file: str
    port: int

    def target(self) -> Target:
        """Return the target.

        :raises DeployError: it or its host key is missing or not valid.
        """
        target = Target.of(self.to or "")
        rsync.known_hosts_line(self.host_key or "")
        return target


def name_of(backup: Backup, manifest: bool = False) -> str:
    """Return the path of a backup's archive or manifest, relative to the backup directory."""
    name = f"{backup.stem}.json" if manifest else backup.manifest.archive
    return f"{backup.manifest.folder}/{name}"


def find_backups(directory: str, done: str, check_mode: bool) -> tuple[list[Backup], list[str]]:
    """Return the backups in a directory, oldest first in each folder, and a message for each that is damaged.

    :param done: what happens to the backups, for the messages: ``sent``.
    :param check_mode: whether the directory may be missing: a backup would create it.
    :raises DeployError: the directory is missing, or its disk is not mounted.
    """
    disk = store.missing_disk(directory)
    if disk:
        raise DeployError(
            f"nothing was {done}: the disk that {store.FSTAB} mounts at {disk} is not mounted, and the backups in "
            f"{directory} may be on it; run `mount {disk}`, then try again"
        )
    if not check_mode and not os.path.isdir(directory):
        raise DeployError(f"nothing was {done}: directory {directory} does not exist; run `make backup` first")
    backups, damaged = [], []
    for folder in store.folders(directory):
        found, faults = store.list_backups(directory, folder)
        backups += found
        for fault in faults:
            if os.path.exists(os.path.join(directory, folder, f"{fault.stem}.json")):  # else retention removed it
                damaged.append(fault.message)
    return backups, damaged


def push(directory: str, settings: PushSettings, check_mode: bool, progress: Reporter) -> dict[str, Any]:
    """Send the backups that are missing on the other machine; return what ``jupyterhub_backup_copy`` documents.

    :param check_mode: only list the missing backups.
    :raises DeployError: there is no directory of backups, or it has damaged ones, which are not sent; the other machine
        cannot be reached, refuses this host's key, or has received other content. Backups whose manifest was sent by
        then are complete there.
    """
    backups, damaged = find_backups(directory, "sent", check_mode)
    result = _send_missing(directory, backups, settings, check_mode, progress)
    if damaged:
        raise DeployError(
            f"{'; '.join(result['messages'])}; {len(damaged)} damaged backups were not sent: {'; '.join(damaged)}; "
            "remove the files of each, then back up again"
        )
    return result


def _send_missing(
    directory: str, backups: list[Backup], settings: PushSettings, check_mode: bool, progress: Reporter
) -> dict[str, Any]:
    target = settings.target()
    public = rsync.public_key(settings.key_file, write=not check_mode)
    copied: list[Backup] = []
    newest_first = sorted(backups, key=lambda one: one.stem, reverse=True)
    if public is None:  # in check mode; nothing can be there without a key
        return _result(target, public, newest_first, copied, check_mode)
    with rsync.connect(directory, target, settings.host_key, settings.key_file, settings.port, public) as remote:
        names = set(remote.missing([name_of(one, kind) for one in newest_first for kind in (True, False)]))
        missing = [one for one in newest_first if names & {name_of(one, manifest=True), name_of(one)}]
        if missing and not check_mode:
            with store.lock(directory, name=LOCK):
                for start in range(0, len(missing), BATCH):
                    copied += _send(remote, missing[start : start + BATCH])
                    done = f"{min(start + BATCH, len(missing))} of {len(missing)} backups are at {target.host}"
                    progress.say(f"{done}, {human_size(_size(copied))}")
    return _result(target, public, missing, copied, check_mode)


def _size(backups: list[Backup]) -> int:
    return sum(one.manifest.size for one in backups)


def _result(
    target: Target, public: str | None, missing: list[Backup], copied: list[Backup], check_mode: bool
) -> dict[str, Any]:
    done = f"would be sent: {len(missing)}" if check_mode else f"sent: {len(copied)}"
    return {
        "changed": public is None or bool(missing),
        "to": str(target),
        "public_key": public,
        "missing": [name_of(one) for one in missing],
        "copied": [name_of(one) for one in copied],
        "size": _size(copied),
        "messages": [f"{done}, to {target}"],
    }


def _send(remote: Remote, batch: list[Backup]) -> list[Backup]:
    """Send some backups: the archives, compared, then the manifests. Return those that are complete there."""
    # Retention may remove some meanwhile: no lock prevents it, because sending may take hours.
    batch = [one for one in batch if os.path.exists(one.manifest_path)]
    for one in batch:
        _check_archive(one)
    archives = [name_of(one) for one in batch]
    remote.send(archives)
    if remote.send(archives, compare=True):
        wrong = remote.differing(archives)
        if wrong:
            raise DeployError(
                f"{remote.target}/{wrong[0]} still differs from the archive on this host after "
                "sending it again; check the disk and memory of that machine"
            )
    # Only those that still exist here: an archive that was removed in between was not sent.
    arrived = [one for one in batch if os.path.exists(one.manifest_path)]
    remote.send([name_of(one, manifest=True) for one in arrived])
    return arrived


def _check_archive(backup: Backup) -> None:
    """Raise an error when an archive does not match its manifest, so that damaged backups are not copied."""
    try:
        with reader.opened(backup) as archive:
            reader.check_sum(archive, backup)
    except DeployError as error:
        if os.path.exists(backup.manifest_path):  # otherwise retention removed it just now
            raise DeployError(
                f"{error}; it was not sent; remove it with its manifest {backup.manifest_path} and back up again"
            ) from error
