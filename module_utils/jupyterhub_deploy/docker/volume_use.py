"""Which containers have a volume's files."""

from __future__ import annotations

from typing import Any

HOLDING = ("running", "paused", "restarting")  # states of a container that has a volume's files open, or soon will


def containers(client: Any, volume: str, data: str) -> list[dict[str, Any]]:
    """Return the engine's short descriptions of containers that have a volume's files, by their names.

    :param data: the volume's directory on the host: a container may have a part of it by its path.
    """
    found = []
    for one in client.containers(all=True):
        for mount in one.get("Mounts") or []:
            source = mount.get("Source") or ""
            if mount.get("Name") == volume or source == data or source.startswith(f"{data}/"):
                if one["State"] in HOLDING:
                    found.append(one)
                break
    return sorted(found, key=name)


def name(container: dict[str, Any]) -> str:
    """Return the name of a container of the engine's list."""
    return str(container["Names"][0]).lstrip("/")
