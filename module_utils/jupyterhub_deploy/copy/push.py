"""Push backups that are missing on another machine: send the archives, compare them, then send the manifests.

The directory on the other machine has the same layout, so it can be used as a backup directory. An interrupted run may
leave an archive there without its manifest, which does not count as a backup; the next run continues with it. Backups
that are removed here are not removed there.
"""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import reader, store
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

# The argument spec of the module. The settings file of a schedule has a value for each argument.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "to": {"type": "str"},
    "host_key": {"type": "str", "no_log": False},
    "key_file": {"type": "path", "default": "/etc/jupyterhub-deploy/push_key", "no_log": False},
    "port": {"type": "int", "default": 22},
}


def name_of(backup: Backup, manifest: bool = False) -> str:
    """Return the path of a backup's archive or manifest, relative to the backup directory."""
    name = f"{backup.stem}.json" if manifest else backup.manifest.archive
    return f"{backup.manifest.folder}/{name}"


def check_settings(settings: dict[str, Any]) -> Target:
    """Return the target of the settings.

    :raises DeployError: the target or its host key is missing or not valid.
    """
    target = Target.of(settings["to"] or "")
    rsync.known_hosts_line(settings["host_key"] or "")
    return target


def push(
    directory: str, settings: dict[str, Any], check_mode: bool = False, progress: Reporter | None = None
) -> dict[str, Any]:
    """Send the backups that are missing on the other machine; return what ``jupyterhub_backup_copy`` documents.

    :param settings: see :data:`ARGUMENTS`.
    :param check_mode: only list the missing backups.
    :raises DeployError: the other machine cannot be reached, refuses this host's key, or has received other content.
        Backups whose manifest was sent by then are complete there.
    """
    target = check_settings(settings)
    progress = progress or Reporter(None)
    if not os.path.isdir(directory) and not check_mode:
        raise DeployError(f"there are no backups: directory {directory} does not exist; run backup.yml first")
    public = rsync.public_key(settings["key_file"], write=not check_mode)
    result: dict[str, Any] = {"to": str(target), "public_key": public, "copied": [], "size": 0, "changed": False}
    newest_first = sorted(
        (one for found in store.every_backup(directory).values() for one in found),
        key=lambda one: one.stem,
        reverse=True,
    )
    if public is None:
        return {**result, "missing": [name_of(one) for one in newest_first], "changed": True}
    connection = rsync.connect(directory, target, settings["host_key"], settings["key_file"], settings["port"], public)
    with connection as remote:
        names = set(remote.missing([name_of(one, kind) for one in newest_first for kind in (True, False)]))
        missing = [one for one in newest_first if names & {name_of(one, manifest=True), name_of(one)}]
        result["missing"] = [name_of(one) for one in missing]
        result["changed"] = bool(missing)
        if check_mode or not missing:
            return result
        with store.lock(directory, name=LOCK):
            for start in range(0, len(missing), BATCH):
                for one in _send(remote, missing[start : start + BATCH]):
                    result["copied"].append(name_of(one))
                    result["size"] += one.manifest.size
                done = min(start + BATCH, len(missing))
                progress.say(f"{done} of {len(missing)} backups are at {target.host}, {human_size(result['size'])}")
    return result


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
