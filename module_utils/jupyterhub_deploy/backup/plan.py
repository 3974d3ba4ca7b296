"""Which volumes a hub has, and whether one can and has to be backed up. Pure: no I/O."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.backup.store import HUB_FOLDER, VOLUME_NAME, Backup
from ansible.module_utils.jupyterhub_deploy.containers.spec import LABEL_HUB, LABEL_USER


class Volume(NamedTuple):
    """A volume as the engine describes it."""

    name: str
    user: str | None
    driver: str
    labels: dict[str, str]
    options: dict[str, str]
    mountpoint: str

    @staticmethod
    def of(found: dict[str, Any]) -> Volume:
        """Return the volume of an engine's description."""
        labels = found.get("Labels") or {}
        options = {key: str(value) for key, value in (found.get("Options") or {}).items()}
        return Volume(
            found["Name"], labels.get(LABEL_USER), found["Driver"], labels, options, found.get("Mountpoint") or ""
        )


def users_volumes(hub: str, found: list[Volume]) -> list[Volume]:
    """Return the volumes of a hub's users: by their labels, or by their name when no label says whose they are.

    Volumes without labels come from a hub that was not deployed by us. Once restored, they have the hub's label alone.
    """
    return sorted(
        volume
        for volume in found
        if volume.labels.get(LABEL_HUB, hub) == hub
        and (volume.name.startswith(f"{hub}-user-") or (LABEL_HUB in volume.labels and volume.user is not None))
    )


def refusal(volume: Volume) -> str | None:
    """Return why a volume cannot be backed up, ``None`` when it can be."""
    if volume.name == HUB_FOLDER or not VOLUME_NAME.fullmatch(volume.name):
        return f"volume {volume.name} has a name that backups use for the hub's own state; copy it to another volume"
    return None


def needs_container(volume: Volume) -> str | None:
    """Return why only a container can read a volume, ``None`` when the host can.

    Where a driver or an option mounts something, the mountpoint is empty while no container uses the volume. A backup
    of that emptiness would look like a good one.
    """
    if volume.driver != "local":
        return f"volume {volume.name} belongs to the driver {volume.driver}"
    if volume.options:
        given = ", ".join(f"{key}={value}" for key, value in sorted(volume.options.items()))
        return f"volume {volume.name} has options of its driver ({given})"
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
