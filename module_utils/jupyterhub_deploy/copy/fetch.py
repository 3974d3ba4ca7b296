"""Fetch backups from a host to this machine: list the missing ones, and accept those that arrived intact.

rsync transfers the files over Ansible's connection into ``.incoming`` in the directory of the copies. A backup whose
archive has the checksum in its manifest is moved from there into its folder: first the archive, then the manifest.
After an interruption, the next run continues with the files in ``.incoming``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import EVERY_ENDING, VOLUME_NAME
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.copy.push import find_backups, name_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.text import human_size

INCOMING = ".incoming"
LIST = ".fetch-list"
# The only names that a host may offer. They become paths here, and the host may have been compromised.
NAME = re.compile(rf"({VOLUME_NAME.pattern})/({store.STEM.pattern})\.json")


class Offer(NamedTuple):
    """A backup that can be fetched."""

    name: str  # of its manifest
    archive: str
    size: int


def offer(directory: str, check_mode: bool) -> dict[str, Any]:
    """Return what a host offers, as ``jupyterhub_backup_copy`` documents.

    :param directory: of the backups.
    :raises DeployError: there is no directory, or its disk is not mounted.
    """
    backups, damaged = find_backups(directory, "fetched", check_mode)
    return {"offered": [offer_of(one)._asdict() for one in backups], "damaged": damaged}


def offer_of(backup: Backup) -> Offer:
    """Return the offer of a backup."""
    return Offer(name_of(backup, manifest=True), name_of(backup), backup.manifest.size)


def plan_fetch(directory: str, offers: list[Offer], check_mode: bool) -> dict[str, Any]:
    """Return which of the offered backups are missing here, and write the file list for rsync.

    :param directory: of the copies; created if missing.
    :raises DeployError: the host offers a name that is not valid, or rsync is not installed on this machine.
    """
    for offer in offers:
        found = NAME.fullmatch(offer.name)
        endings = [f"{found[1]}/{found[2]}{ending}" for ending in EVERY_ENDING] if found else []
        if offer.archive not in endings:
            raise DeployError(
                f"the host offers {offer.name!r} with {offer.archive!r}, which is not a backup's name; "
                "nothing was fetched; inspect that host"
            )
    if not shutil.which("rsync"):
        raise DeployError("program rsync is missing on the control machine; install the package rsync")
    here = {name_of(one, manifest=True) for found in store.every_backup(directory).values() for one in found}
    missing = sorted(offer for offer in offers if offer.name not in here)
    archives, size = [offer.archive for offer in missing], sum(offer.size for offer in missing)
    incoming, listed = os.path.join(directory, INCOMING), os.path.join(directory, LIST)
    if not missing and not check_mode:
        shutil.rmtree(incoming, ignore_errors=True)  # files of an interrupted run that are no longer offered
    if missing and not check_mode:
        store.ensure_folder(directory)
        store.ensure_folder(incoming)
        _check_space(directory, size)
        with open(listed, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for offer in missing for name in (offer.archive, offer.name))
    count = f"{'would be fetched' if check_mode else 'to fetch'}: {len(missing)}"
    return {
        "changed": bool(missing),
        "missing": archives,
        "size": size,
        "list": listed,
        "incoming": incoming,
        "messages": [
            f"{count} ({human_size(size)}), here already: {len(offers) - len(missing)}, in {directory}",
            *(archives if check_mode else []),
        ],
    }


def _check_space(directory: str, size: int) -> None:
    # Files that have already arrived count as free: they are part of the size.
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize + _directory_size(os.path.join(directory, INCOMING))
    if size > free:
        raise DeployError(
            f"the file system of {directory} has {free / 1e6:.0f} MB free, and {size / 1e6:.0f} MB are to be fetched; "
            "make room, then try again"
        )


def _directory_size(path: str) -> int:
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(path) for name in names)


def accept_arrived(directory: str) -> dict[str, Any]:
    """Move the backups that arrived intact into their folders and return them; remove damaged ones.

    :raises DeployError: backups arrived damaged; the message names them. All others were accepted.
    """
    incoming = os.path.join(directory, INCOMING)
    copied: list[str] = []
    wrong: list[str] = []
    size = 0
    with store.lock(directory):
        for folder in store.folders(incoming):
            found, faults = store.list_backups(incoming, folder)
            for backup in found:
                try:
                    with reader.opened(backup) as archive:
                        reader.check_sum(archive, backup)
                        os.fsync(archive)
                except DeployError as error:
                    wrong.append(str(error))
                    store.remove([backup.manifest_path, backup.archive_path])
                    continue
                _move_into_place(directory, backup)
                copied.append(name_of(backup))
                size += backup.manifest.size
            wrong += [fault.message for fault in faults]
            for fault in faults:  # the host may not offer it any more
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(incoming, folder, f"{fault.stem}.json"))
    if wrong:
        raise DeployError(f"{len(wrong)} did not arrive as sent, {len(copied)} did; run it again: {'; '.join(wrong)}")
    shutil.rmtree(incoming, ignore_errors=True)
    if os.path.exists(os.path.join(directory, LIST)):
        os.unlink(os.path.join(directory, LIST))
    return {"changed": bool(copied), "copied": copied, "size": size, "messages": [f"fetched: {len(copied)}"]}


def _move_into_place(directory: str, backup: Backup) -> None:
    folder = os.path.join(directory, backup.manifest.folder)
    store.ensure_folder(folder)
    for path in (backup.archive_path, backup.manifest_path):
        os.chmod(path, 0o600)
        os.rename(path, os.path.join(folder, os.path.basename(path)))
        files.sync_directory(folder)
    files.sync_directory(directory)
