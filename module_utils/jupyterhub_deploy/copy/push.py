"""Push backups to another machine: what is missing there, whole and compared, and the manifests last.

The other machine's directory can be used as a directory of backups: the same folders and files. An archive may be there
without its manifest, when a run was cut short; that is not a backup, and the next run goes on with it. What is removed
here is not removed there.
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
# Backups that go over before their manifests do. Few, so that what was sent soon counts; not one, as each time costs
# four connections.
BATCH = 50

# As an AnsibleModule takes it. The schedule on a host keeps values for all of it.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "to": {"type": "str"},
    "host_key": {"type": "str", "no_log": False},
    "key_file": {"type": "path", "default": "/etc/jupyterhub-deploy/push_key", "no_log": False},
    "port": {"type": "int", "default": 22},
}


def name_of(backup: Backup, manifest: bool = False) -> str:
    """Return the name of a backup's archive or manifest, from the directory of backups."""
    name = f"{backup.stem}.json" if manifest else backup.manifest.archive
    return f"{backup.manifest.folder}/{name}"


def checked(settings: dict[str, Any]) -> Target:
    """Return where backups are to go.

    :raises DeployError: the settings do not say it, or not whose host key it has.
    """
    target = Target.of(settings["to"] or "")
    rsync.known_host(settings["host_key"] or "")
    return target


def push(
    directory: str, settings: dict[str, Any], check_mode: bool = False, progress: Reporter | None = None
) -> dict[str, Any]:
    """Send the backups that the other machine does not have; return what ``jupyterhub_backup_copy`` documents.

    :param settings: see :data:`ARGUMENTS`.
    :param check_mode: only ask what is missing.
    :raises DeployError: it cannot be reached, does not know this host, or what arrived is not what was sent. Whatever
        was sent with its manifest by then is a backup there.
    """
    target = checked(settings)
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
    reached = rsync.reached(directory, target, settings["host_key"], settings["key_file"], settings["port"], public)
    with reached as remote:
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
    """Send some backups: archives, then, when they were compared, manifests. Return those that are there now."""
    # Retention may remove some meanwhile: nothing holds them here, as the way may take hours.
    batch = [one for one in batch if os.path.exists(one.manifest_path)]
    for one in batch:
        _still_good(one)
    archives = [name_of(one) for one in batch]
    remote.send(archives)
    if remote.send(archives, compare=True):
        wrong = remote.differing(archives)
        if wrong:
            raise DeployError(
                f"{remote.target}/{wrong[0]} is not what was sent, and was not when it was sent again; "
                "look at the disk and the memory of that machine"
            )
    # Only what is still a backup here: an archive that was removed in between did not go over.
    arrived = [one for one in batch if os.path.exists(one.manifest_path)]
    remote.send([name_of(one, manifest=True) for one in arrived])
    return arrived


def _still_good(backup: Backup) -> None:
    """Raise an error when an archive is not what its manifest says: what is damaged here is not spread."""
    try:
        with reader.opened(backup) as archive:
            reader.check_sum(archive, backup)
    except DeployError as error:
        if os.path.exists(backup.manifest_path):  # otherwise it was removed in this moment
            raise DeployError(
                f"{error}; it was not sent; remove it with its manifest {backup.manifest_path} and back up again"
            ) from error
