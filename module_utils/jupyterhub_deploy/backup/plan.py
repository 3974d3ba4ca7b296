"""Which volumes a hub has, and whether one can and has to be backed up. Pure: no I/O."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB_FOLDER, VOLUME_NAME
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume


def refusal(volume: Volume) -> str | None:
    """Return why a volume cannot be backed up, ``None`` when it can be."""
    if volume.name == HUB_FOLDER or not VOLUME_NAME.fullmatch(volume.name):
        return f"volume {volume.name} has a name that backups use for the hub's own state; copy it to another volume"
    return None


def unchanged(scan: str | None, backups: list[Backup]) -> Backup | None:
    """Return the newest backup when it holds what a scan has found, ``None`` when a new one is needed.

    :param scan: ``None`` when the scan is not to be trusted.
    :param backups: those that exist, oldest first.
    """
    newest = backups[-1] if backups else None
    return newest if newest and scan and newest.manifest.scan == scan else None


def totals(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums of the results of single backups."""
    return {
        "backed_up": sum(result["action"] == "back up" for result in results),
        "unchanged": sum(result["action"] == "unchanged" for result in results),
        "failed": sum(result["action"] == "failed" for result in results),
        "size": sum(result.get("size", 0) for result in results),
        "content_size": sum(result.get("content_size", 0) for result in results),
    }


def failure(results: list[dict[str, Any]]) -> str | None:
    """Return the message of a run in which backups failed, ``None`` when none did."""
    failed = [result for result in results if result["action"] == "failed"]
    if not failed:
        return None
    others = len(results) - len(failed)
    texts = "; ".join(f"{result['name']}: {result['error']}" for result in failed)
    return f"{len(failed)} of {len(results)} backups failed, {others} are up to date: {texts}"


def human(size: int) -> str:
    """Return a number of bytes for people."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
