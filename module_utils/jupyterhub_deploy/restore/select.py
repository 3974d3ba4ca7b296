"""Select the backups to restore, and the volumes that they go to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB_FOLDER
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup, Fault
from ansible.module_utils.jupyterhub_deploy.docker.volumes import is_of, volume_name
from ansible.module_utils.jupyterhub_deploy.errors import DeployError


@dataclass(frozen=True)
class Job:
    """One backup, and the volume that it goes to.

    :ivar hands_over: the operator gives the files to the present user, also those of an earlier user of the same name.
    """

    backup: Backup
    volume: str
    user: str | None
    hands_over: bool = False


def jobs_for(
    backups: list[Backup], hub: str, users: Sequence[str], to_user: str | None, hands_over: bool = False
) -> list[Job]:
    """Return which backup goes to which volume.

    :param users: the users whose backups were chosen; the volume of one gets that user's label.
    :param to_user: the user who gets the data of another user, which hands them over.
    :param hands_over: for the other jobs.
    :raises DeployError: a backup is of another hub, or ``to_user`` is given with more or less than one backup.
    """
    others = [one for one in backups if one.manifest.hub != hub]
    if others:
        raise DeployError(
            f"backup {others[0].manifest_path} is of hub {others[0].manifest.hub}, not of {hub}; set name to that hub's"
        )
    if to_user is None:
        return [Job(one, str(one.manifest.volume), _owner(one, users), hands_over) for one in backups]
    if len(backups) != 1:
        names = ", ".join(str(one.manifest.volume) for one in backups) or "none"
        raise DeployError(f"to_user takes the backup of one volume, and these were chosen: {names}")
    return [Job(backups[0], volume_name(hub, to_user), to_user, hands_over=True)]


def _owner(backup: Backup, users: Sequence[str]) -> str | None:
    """Return the user of a backup; of one whose volume had no label, the user that the operator named."""
    manifest = backup.manifest
    return manifest.user if manifest.user is not None else next(filter(manifest.is_of, users), None)


def select(backups: Sequence[Backup], faults: Sequence[Fault], stem: str | None) -> tuple[Backup | None, list[Fault]]:
    """Return one backup of a folder, or the faults that prevent its use. Pure.

    A damaged backup that is newer than the newest good one is a fault: to restore an older one without a word would
    bring back last week's work as if it were today's.

    :param backups: those in the folder, oldest first.
    :param stem: the name of a backup; ``None`` for the newest.
    :returns: neither, when no such backup exists.
    """
    found = next((one for one in reversed(backups) if stem in (None, one.stem)), None)
    if stem is None:
        newest = found.stem if found else ""
        damaged = [fault for fault in faults if fault.stem > newest]
    else:
        damaged = [] if found else [fault for fault in faults if fault.stem == stem]
    return (None, damaged) if damaged else (found, [])


def select_volumes(
    directory: str, hub: str, users: list[str], volumes: list[str], stem: str | None
) -> tuple[list[Backup], list[str]]:
    """Return one backup of each volume, and messages about those that cannot be restored.

    :param hub: of the users; another hub with backups in this directory may have users with the same names.
    :param users: whose volumes; with neither users nor volumes, all.
    :param stem: the name of a backup; ``None`` for the newest of each volume.
    """
    listed = {folder: store.list_backups(directory, folder) for folder in store.folders(directory)}
    listed.pop(HUB_FOLDER, None)
    newest = {folder: backups[-1].manifest for folder, (backups, _) in listed.items() if backups}
    own = {folder: manifest for folder, manifest in newest.items() if manifest.hub == hub}
    folders_of = {user: {folder for folder, manifest in own.items() if manifest.is_of(user)} for user in users}
    for user, found in folders_of.items():  # no manifest of these can be read
        found |= {folder for folder in listed.keys() - newest.keys() if is_of(user, hub, folder, None)}
    wanted = set(volumes).union(*folders_of.values())
    if not users and not volumes:
        wanted = {folder for folder, (backups, faults) in listed.items() if backups or faults}
    selected = []
    problems = [
        f"user {user} has no backup in {directory}; `make restore` lists all"
        for user, found in folders_of.items()
        if not found
    ]
    for folder in sorted(wanted):
        backup, damaged = select(*listed.get(folder, ([], [])), stem)
        problems += [f"{fault.message}; name another backup of {folder} to restore that one" for fault in damaged]
        if backup:
            selected.append(backup)
        elif not damaged:
            problems.append(f"there is no backup{f' {stem}' if stem else ''} of volume {folder} in {directory}")
    return selected, problems


def select_hub_state(directory: str, hub: str, stem: str | None) -> Backup:
    """Return one backup of the hub's state.

    :param stem: its name; ``None`` for the newest.
    :raises DeployError: it does not exist, is damaged, or is of another hub.
    """
    backup, damaged = select(*store.list_backups(directory, HUB_FOLDER), stem)
    if damaged:
        raise DeployError(f"{damaged[0].message}; name another backup of the hub to restore that one")
    if not backup:
        which = f" {stem}" if stem else ""
        raise DeployError(f"there is no backup{which} of the hub's state in {os.path.join(directory, HUB_FOLDER)}")
    if backup.manifest.hub != hub:
        raise DeployError(f"backup {backup.manifest_path} is of hub {backup.manifest.hub}, not of {hub}")
    return backup
