"""Whether the containers, networks and volumes that have a hub's names belong to that hub: by their label.

An object without the label was made by somebody else, and is neither used nor replaced. What to do with it is the
administrator's decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

CONTAINER, NETWORK, VOLUME = "container", "network", "volume"

# What an administrator can do with an object that does not belong to the hub.
_ADVICE = {
    CONTAINER: "rename it (docker rename) or remove it, or choose another jupyterhub_name",
    NETWORK: (
        "remove it, or create it again with `docker network create {options} {name}`, or choose another jupyterhub_name"
    ),
    VOLUME: "give it the labels (docs/how-to/volume-owner.md), or choose another jupyterhub_name",
}


def containers_of(hub: str) -> list[str]:
    """Return the names of a hub's own containers, also of those that exist only while one is replaced."""
    names, suffixes = (hub, f"{hub}-proxy", f"{hub}-guard"), ("", "-next", "-previous", "-check")
    return [f"{name}{suffix}" for name in names for suffix in suffixes]


def networks_of(hub: str) -> list[str]:
    """Return the names of a hub's networks."""
    return [f"{hub}-network", f"{hub}-control", f"{hub}-front"]


def data_volume_of(hub: str) -> str:
    """Return the name of the volume with a hub's database."""
    return f"{hub}-data"


def problem(kind: str, name: str, labels: dict[str, str] | None, hub: str) -> str | None:
    """Return why an object that exists does not belong to a hub, with what to do; ``None`` when it does. Pure.

    :param kind: ``container``, ``network`` or ``volume``.
    """
    owner = (labels or {}).get(LABEL_HUB)
    if owner == hub:
        return None
    label = f"{LABEL_HUB}={hub}"
    whose = f"belongs to hub {owner}, not to {hub}" if owner else f"was not created for hub {hub} (no label {label})"
    # Without a subnet of its own, a network has no fixed addresses.
    options = f"--label {label}" + (" --subnet SUBNET" if name == f"{hub}-front" else "")
    return f"{kind} {name} {whose}; {_ADVICE[kind].format(options=options, name=name)}"


def in_use(containers: Iterable[dict[str, Any]], hub: str) -> set[str]:
    """Return the names of the networks and volumes that a hub's own containers use. Pure.

    A hub of an earlier version may use a network or volume that was there before it, and so has no label.

    :param containers: as Docker lists them.
    """
    names: set[str] = set()
    for one in containers:
        labels = one.get("Labels") or {}
        if labels.get(LABEL_HUB) == hub and LABEL_USER not in labels:
            names.update((one.get("NetworkSettings") or {}).get("Networks") or {})
            names.update(mount["Name"] for mount in one.get("Mounts") or [] if mount.get("Name"))
    return names


def foreign(client: Any, kind: str, name: str, labels: dict[str, str] | None, hub: str) -> str | None:
    """Return the message of :func:`problem`, ``None`` also for an object without label that the hub already uses."""
    found = problem(kind, name, labels, hub)
    if found and kind != CONTAINER and LABEL_HUB not in (labels or {}):
        return None if name in in_use(client.containers(all=True), hub) else found
    return found


def problems(
    containers: list[dict[str, Any]], networks: list[dict[str, Any]], volumes: list[dict[str, Any]], hub: str
) -> list[str]:
    """Return a message for each object that has one of a hub's names and does not belong to the hub. Pure.

    :param containers: as Docker lists them, as the other two.
    """
    used = in_use(containers, hub)
    named = [(CONTAINER, name_of(one), one) for one in containers if name_of(one) in containers_of(hub)]
    named += [(NETWORK, one["Name"], one) for one in networks if one["Name"] in networks_of(hub)]
    named += [(VOLUME, one["Name"], one) for one in volumes if one["Name"] == data_volume_of(hub)]
    found = []
    for kind, name, one in named:
        labels = one.get("Labels") or {}
        if kind == CONTAINER or LABEL_HUB in labels or name not in used:
            found.append(problem(kind, name, labels, hub))
    return [message for message in found if message]


def without_owner(volumes: list[dict[str, Any]], hub: str) -> list[str]:
    """Return the names of the volumes that have the name of a user's volume at a hub, and no label of a user. Pure."""
    found = [one for one in volumes if one["Name"].startswith(f"{hub}-user-")]
    return sorted(
        one["Name"]
        for one in found
        if (labels := one.get("Labels") or {}).get(LABEL_HUB, hub) == hub and not {LABEL_HUB, LABEL_USER} <= set(labels)
    )


def require_containers(client: Any, hub: str, names: Iterable[str]) -> None:
    """Check that the containers with these names belong to a hub, as far as they exist.

    :raises DeployError: one does not; it is not touched.
    """
    for name in names:
        container = inspect_container(client, name)
        message = container and problem(CONTAINER, name, container["Config"].get("Labels"), hub)
        if message:
            raise DeployError(f"{message}; nothing was changed")
