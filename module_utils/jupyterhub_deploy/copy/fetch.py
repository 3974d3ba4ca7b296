"""Fetch backups from a host to this machine: what is missing here, and what counts of that which has arrived.

The bytes come by rsync over Ansible's connection, into ``.incoming`` in the directory of the copies. From there a
backup goes to its place when its archive has the checksum that its manifest says: the archive first, the manifest last.
A run that was cut short leaves in ``.incoming`` what the next one goes on with.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import EVERY_ENDING, VOLUME_NAME
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.copy.push import name_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

INCOMING = ".incoming"
LIST = ".fetch-list"
# What a host may offer. The list comes from a machine that may have been taken over, and becomes paths here.
NAME = re.compile(rf"({VOLUME_NAME.pattern})/({store.STEM.pattern})\.json")


def offered(directory: str) -> list[dict[str, Any]]:
    """Return the backups in a directory: their manifests' names, sizes and hubs."""
    return [
        {"name": name_of(one, manifest=True), "archive": name_of(one), "size": one.manifest.size}
        for found in store.every_backup(directory).values()
        for one in found
    ]


def wanted(directory: str, offers: list[dict[str, Any]], check_mode: bool) -> dict[str, Any]:
    """Return which of the offered backups are not here, and write the list for rsync.

    :param directory: of the copies; made when it is not there.
    :raises DeployError: something is offered that is no backup's name, or this machine lacks rsync.
    """
    for offer in offers:
        found = NAME.fullmatch(offer["name"])
        endings = [f"{found[1]}/{found[2]}{ending}" for ending in EVERY_ENDING] if found else []
        if offer["archive"] not in endings:
            raise DeployError(
                f"the host offers {offer['name']!r} with {offer['archive']!r}, which is no backup's name; "
                "nothing was fetched; look at that host"
            )
    if not shutil.which("rsync"):
        raise DeployError("program rsync is missing on the control machine; install the package rsync")
    here = {offer["name"] for offer in offered(directory)}
    missing = sorted((offer for offer in offers if offer["name"] not in here), key=lambda offer: str(offer["name"]))
    incoming = os.path.join(directory, INCOMING)
    result = {
        "missing": [offer["archive"] for offer in missing],
        "size": sum(offer["size"] for offer in missing),
        "list": os.path.join(directory, LIST),
        "incoming": incoming,
        "changed": bool(missing),
    }
    if not missing and not check_mode:
        shutil.rmtree(incoming, ignore_errors=True)  # of what a run that was cut short wanted, and is offered no more
    if missing and not check_mode:
        store.ensure_folder(directory)
        store.ensure_folder(incoming)
        _room(directory, result["size"])
        with open(result["list"], "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for offer in missing for name in (offer["archive"], offer["name"]))
    return result


def _room(directory: str, size: int) -> None:
    # What has arrived of it already is counted twice; then there is less to do than to move it away.
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize + _size(os.path.join(directory, INCOMING))
    if size > free:
        raise DeployError(
            f"the file system of {directory} has {free / 1e6:.0f} MB free, and {size / 1e6:.0f} MB are to be fetched; "
            "make room, then try again"
        )


def _size(path: str) -> int:
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(path) for name in names)


def accepted(directory: str) -> dict[str, Any]:
    """Put what has arrived into its place, and return it; what is not whole is told and goes.

    :raises DeployError: something that arrived is not what was sent, naming it. All others were accepted.
    """
    incoming = os.path.join(directory, INCOMING)
    copied: list[str] = []
    wrong: list[str] = []
    size = 0
    with store.lock(directory):
        for folder in store.folders(incoming):
            found, faults = store.list_backups(incoming, folder)
            for one in found:
                try:
                    with reader.opened(one) as archive:
                        reader.check_sum(archive, one)
                        os.fsync(archive)
                except DeployError as error:
                    wrong.append(str(error))
                    store.remove([one.manifest_path, one.archive_path])
                    continue
                _accept(directory, one)
                copied.append(name_of(one))
                size += one.manifest.size
            wrong += [fault.message for fault in faults]
    if wrong:
        raise DeployError(f"{len(wrong)} did not arrive as sent, {len(copied)} did; run it again: {'; '.join(wrong)}")
    shutil.rmtree(incoming, ignore_errors=True)
    if os.path.exists(os.path.join(directory, LIST)):
        os.unlink(os.path.join(directory, LIST))
    return {"copied": copied, "size": size, "changed": bool(copied)}


def _accept(directory: str, backup: Backup) -> None:
    folder = os.path.join(directory, backup.manifest.folder)
    store.ensure_folder(folder)
    for path in (backup.archive_path, backup.manifest_path):
        os.chmod(path, 0o600)
        os.rename(path, os.path.join(folder, os.path.basename(path)))
        files.sync_directory(folder)
    files.sync_directory(directory)
