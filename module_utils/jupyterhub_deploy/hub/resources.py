"""The Docker networks and volumes of a hub, which outlive its containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker import daemon_info, ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

NETWORK, VOLUME = ownership.NETWORK, ownership.VOLUME

# Held from the inspection to the creation. For two runs at once, Docker creates two networks of one name, and then
# refuses the name as ambiguous. In /run, because a reboot ends all runs.
LOCK = "/run/jupyterhub-deploy-resources.lock"

# The option of a bridge network, and Docker's default of it.
MTU, DEFAULT_MTU = "com.docker.network.driver.mtu", "1500"
# Options of a bridge network that decide whether Docker changes the addresses of outgoing connections (NAT).
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"


class Resource(NamedTuple):
    """A network or a volume.

    Attributes:
        fixed: of a network, whether containers can have fixed addresses in it.
    """

    kind: str
    name: str
    fixed: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def resources(networks: list[str], volumes: list[str], fixed: Sequence[str] = ()) -> list[Resource]:
    """Return networks and volumes by their names.

    :param fixed: names of networks in which containers can have fixed addresses.
    """
    return [
        *(Resource(NETWORK, name) for name in networks),
        *(Resource(NETWORK, name, fixed=True) for name in fixed),
        *(Resource(VOLUME, name) for name in volumes),
    ]


def missing(client: Any, hub: str, wanted: list[Resource]) -> list[Resource]:
    """Return those that do not exist.

    :raises DeployError: one of them does not belong to this hub.
    """
    return [resource for resource in wanted if not _exists(client, hub, resource)]


def create(client: Any, hub: str, resource: Resource) -> None:
    """Create a network or a volume with the hub's label."""
    labels = {LABEL_HUB: hub}
    if resource.kind == NETWORK:
        # Docker gives its own `mtu` only to the network `bridge`.
        kind = {"driver": "bridge", "options": {MTU: docker_mtu()}, "labels": labels, "check_duplicate": True}
        subnet = {"ipam": free_subnet(client, resource.name, kind)} if resource.fixed else {}
        client.create_network(resource.name, **kind, **subnet)
    else:
        client.create_volume(resource.name, labels=labels)


def free_subnet(client: Any, name: str, kind: dict[str, Any]) -> dict[str, Any]:
    """Return a subnet that Docker chooses for a network, as its option ``ipam``.

    Docker gives containers fixed addresses only where it was told the subnet, and only Docker knows which are free. So
    it creates a network for a moment.

    :param kind: the other options of the network.
    """
    trial = f"{name}-subnet"
    for left in client.networks(names=[trial]):  # by a run that was killed; the filter also finds longer names
        if left["Name"] == trial:
            client.remove_network(left["Id"])
    client.create_network(trial, **kind)
    config = client.inspect_network(trial)["IPAM"]["Config"]
    client.remove_network(trial)
    return {"Driver": "default", "Config": config}  # with the gateway, which Docker does not name otherwise


def gateways(client: Any, names: list[str]) -> list[str]:
    """Return the host's addresses in those of the networks that exist, sorted."""
    parts = [part for name in names for part in _ranges(_network(client, name))]
    return sorted(part["Gateway"].partition("/")[0] for part in parts if part.get("Gateway"))


def masqueraded(client: Any, name: str) -> list[str]:
    """Return the IPv4 addresses of a network for which Docker has a rule of NAT, such as ``198.18.4.0/22``."""
    network = _network(client, name)
    options = network.get("Options") or {}
    without = options.get(MASQUERADE) == "false" or options.get(GATEWAY_MODE, "nat") != "nat"
    if without or network.get("Internal") or network.get("Driver") != "bridge":
        return []
    return [part["Subnet"] for part in _ranges(network) if ":" not in part["Subnet"]]


def _network(client: Any, name: str) -> dict[str, Any]:
    """Return Docker's description of a network, empty if it does not exist, as in check mode."""
    try:
        found: dict[str, Any] = client.inspect_network(name)
    except docker_errors.NotFound:
        return {}
    return found


def _ranges(network: dict[str, Any]) -> list[dict[str, Any]]:
    return (network.get("IPAM") or {}).get("Config") or []


def docker_mtu() -> str:
    """Return the option ``mtu`` of Docker, in bytes. Its network ``bridge`` gets a new one only without containers."""
    return str(daemon_info.option("mtu") or DEFAULT_MTU)


def other_mtus(client: Any, wanted: list[Resource]) -> list[str]:
    """Return a message for each existing network that has an MTU by default only, when Docker's option is another."""
    mtu = docker_mtu()
    networks = [client.inspect_network(one.name) for one in wanted if one.kind == NETWORK]
    return [
        f"network {one['Name']} has an MTU of {_mtu(one) or DEFAULT_MTU}, and Docker's option mtu is {mtu}; "
        "docs/how-to/docker.md#networks-with-a-smaller-mtu says how to change it"
        for one in networks
        if (_mtu(one) or DEFAULT_MTU) == DEFAULT_MTU != mtu
    ]


def _mtu(network: dict[str, Any]) -> str:
    return str((network.get("Options") or {}).get(MTU, ""))


def _exists(client: Any, hub: str, resource: Resource) -> bool:
    inspect = client.inspect_network if resource.kind == NETWORK else client.inspect_volume
    try:
        found = inspect(resource.name)
    except docker_errors.NotFound:
        return False
    except docker_errors.APIError as error:
        duplicates = _duplicates(client, resource) if "ambiguous" in str(error) else []
        if not duplicates:
            raise
        raise DeployError(_ambiguous(resource.name, duplicates)) from error
    foreign = ownership.foreign(client, resource.kind, resource.name, found.get("Labels"), hub)
    if foreign:
        raise DeployError(foreign)
    return True


def _duplicates(client: Any, resource: Resource) -> list[dict[str, Any]]:
    """Return all networks of a name, the oldest first. Docker's filter also finds names that contain it."""
    ids = [one["Id"] for one in client.networks(names=[resource.name]) if one["Name"] == resource.name]
    return sorted(map(client.inspect_network, ids), key=lambda one: str(one["Created"]))


def _ambiguous(name: str, networks: list[dict[str, Any]]) -> str:
    """Return the message about networks of one name: the one that containers use is kept."""
    keep = max(networks, key=lambda one: len(one.get("Containers") or {}))
    shown, others = [], [one for one in networks if one is not keep]
    for one in networks:
        containers = sorted(str(container["Name"]) for container in (one.get("Containers") or {}).values())
        shown.append(f"{one['Id'][:12]} (used by {', '.join(containers) or 'no container'})")
    commands = f"docker network rm {' '.join(one['Id'][:12] for one in others)}"
    in_use = any(one.get("Containers") for one in others)
    first = "disconnect their containers with `docker network disconnect`, then " if in_use else ""
    return (
        f"network {name} exists {len(networks)} times: {'; '.join(shown)}; {first}run `{commands}` and make site again"
    )
