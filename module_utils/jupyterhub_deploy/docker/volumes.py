"""Volumes: their descriptions, their users, and the containers that use them.

The hub names and creates the volumes of its users. The same rule is here for code that handles volumes without a hub;
the original is ``jupyterhub_deploy_hub/names.py`` in the hub image, and a test compares the two.
"""

from __future__ import annotations

import hashlib
import string
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import (
    LABEL_HUB,
    LABEL_MEASURES,
    LABEL_REHEARSAL,
    LABEL_USER,
)

LONGEST_ESCAPED = 128
_SAFE = frozenset(string.ascii_lowercase + string.digits)

# The states of a container that has files of its volumes open, or may open them soon.
_USING = ("running", "paused", "restarting")


class Volume(NamedTuple):
    """A volume as Docker describes it."""

    name: str
    user: str | None
    driver: str
    labels: dict[str, str]
    options: dict[str, str]
    mountpoint: str

    @staticmethod
    def of(found: dict[str, Any]) -> Volume:
        """Return the volume in Docker's description of it, from ``inspect`` or from a list."""
        labels = found.get("Labels") or {}
        options = {key: str(value) for key, value in (found.get("Options") or {}).items()}
        return Volume(
            found["Name"], labels.get(LABEL_USER), found["Driver"], labels, options, found.get("Mountpoint") or ""
        )

    def is_of(self, user: str, hub: str) -> bool:
        """Return whether this is the volume of a user of a hub."""
        return self.labels.get(LABEL_HUB, hub) == hub and is_of(user, hub, self.name, self.user)


def docker_name(user: str) -> str:
    """Return the part of container and volume names that identifies a user."""
    escaped = "".join(c if c in _SAFE else "".join(f"-{byte:02x}" for byte in c.encode()) for c in user)
    if len(escaped) <= LONGEST_ESCAPED:
        return escaped
    digest = hashlib.sha256(user.encode()).hexdigest()[:32]
    return f"{escaped[: LONGEST_ESCAPED - 3 - len(digest)].rstrip('-')}---{digest}"


def volume_name(hub: str, user: str) -> str:
    """Return the name of a user's volume at a hub."""
    return f"{hub}-user-{docker_name(user)}"


def is_of(user: str, hub: str, volume: str | None, label: str | None) -> bool:
    """Return whether a volume of a hub belongs to a user: by its label, or by its name when it has none."""
    return label == user or (label is None and volume == volume_name(hub, user))


def users_volumes(hub: str, volumes: list[Volume]) -> list[Volume]:
    """Return the volumes of a hub's users: by their labels, or by their names when they have no label.

    Volumes without labels come from a hub that was not deployed by us. Once restored, they have only the hub's label.
    Those of a rehearsal's temporary users are left out.
    """
    return sorted(
        volume
        for volume in volumes
        if volume.labels.get(LABEL_HUB, hub) == hub
        and LABEL_REHEARSAL not in volume.labels
        and (volume.name.startswith(f"{hub}-user-") or (LABEL_HUB in volume.labels and volume.user is not None))
    )


def is_plain(driver: str, options: dict[str, Any] | None) -> bool:
    """Return whether the files of a volume are in Docker's directory for it; a quota (``size``) changes nothing."""
    return driver == "local" and set(options or {}) <= {"size"}


def needs_container(volume: Volume) -> str | None:
    """Return why only a container can read a volume, ``None`` when the host can.

    Where a driver or an option mounts something, the mountpoint is empty while no container uses the volume. A backup
    of that empty directory would seem to be a good one.
    """
    if volume.driver != "local":
        return f"volume {volume.name} belongs to the driver {volume.driver}"
    if not is_plain(volume.driver, volume.options):
        given = ", ".join(f"{key}={value}" for key, value in sorted(volume.options.items()))
        return f"volume {volume.name} has options of its driver ({given})"
    return None


def containers_using(client: Any, volume: str, data: str) -> list[dict[str, Any]]:
    """Return the containers that use a volume's files, as Docker lists containers, sorted by name.

    One that measures the volume for the hub only reads, and ends by itself.

    :param data: the volume's directory on the host: a container may have a part of it mounted by its path.
    """

    def has_files(mount: dict[str, Any]) -> bool:
        source = mount.get("Source") or ""
        return mount.get("Name") == volume or source == data or source.startswith(f"{data}/")

    others = [one for one in client.containers(all=True) if LABEL_MEASURES not in (one.get("Labels") or {})]
    found = [one for one in others if any(map(has_files, one.get("Mounts") or []))]
    return sorted((one for one in found if one["State"] in _USING), key=name_of)
