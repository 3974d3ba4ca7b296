"""The isolation of a hub's notebooks, as lines for an operator: what the guard says, and what a new server reaches."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import guard as guard_container
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import HUB_PORT
from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES
from ansible.module_utils.jupyterhub_deploy.hub import resources
from ansible.module_utils.jupyterhub_deploy.hub.reachability import own_address, router
from ansible.module_utils.jupyterhub_deploy.images.smoke_test import SERVER_PORT
from ansible.module_utils.jupyterhub_deploy.text import Problem

METADATA = "169.254.169.254"  # of most clouds
# No service needs it: an open port of the host would be reached as well as a closed one.
DISCARD_PORT = 9
# Seconds that the host waits for an answer of the router or of the metadata address, which are near.
NEAR_SECONDS = 0.5
# What the rules block as private, as far as a router of IPv4 can be in it (guard_rules.py of the front's image).
PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "192.0.0.0/24")
]
HUB, PEER = "the hub's own port", "another server"


def status(client: Any, hub: str, wanted: str) -> list[str]:
    """Return the lines about a hub's isolation. Runs a container in the users' network for two seconds.

    :param client: a low-level Docker client.
    :param wanted: what the settings ask for: ``full``, ``peers`` or ``none``.
    """
    guard = GuardContainer(client, hub, 0)
    container = guard.observe()
    if container is None and wanted == "none":
        return ["isolation: none; notebooks reach each other, the host and private networks"]
    if container is None:
        return [Problem(f"NOT GUARDED: the container {guard.name} does not exist; run make site")]
    isolation, healthy = guard_container.isolation_of(container), guard.is_healthy()
    try:
        wanted_targets = targets(client, hub, isolation, environment_of(container).get(guard_container.ALLOWED, ""))
        reached = guard.reached(f"{hub}-network", wanted_targets)
    except FAILURES as error:
        return [*messages(guard.name, isolation, healthy, {}), f"whether a server is isolated is unknown: {error}"]
    return messages(guard.name, isolation, healthy, reached)


def answers(address: str, port: int) -> bool:
    """Return whether something at an address answers this host, if only that the port is closed."""
    try:
        socket.create_connection((address, port), NEAR_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def targets(
    client: Any, hub: str, isolation: str, allowed: str = "", answers: Callable[[str, int], bool] = answers
) -> dict[str, tuple[str, int]]:
    """Return what servers must not reach, as far as it exists: addresses and ports, by what they are called.

    :param isolation: ``full`` or ``peers``.
    :param allowed: networks and addresses that they may reach, separated by commas. Networks open neither the host nor
        the users' network.
    :param answers: says whether the host reaches an address and a port; what it does not reach, it cannot block.
    """
    name, control = f"{hub}-network", f"{hub}-control"
    container = inspect_container(client, hub) or {}
    found = {HUB: (_address(container, name), HUB_PORT)}
    servers = client.containers(filters={"label": [f"{LABEL_HUB}={hub}", LABEL_USER]})
    peers = [peer for one in servers if (peer := _address(one, name))]
    found[PEER] = (next(iter(peers), ""), SERVER_PORT)
    networks = [ipaddress.ip_network(one) for one in allowed.split(",") if one]
    if isolation == "full":
        gateways = [one for one in resources.gateways(client, [name, control, "bridge"]) if ":" not in one]
        for address in filter(None, [*gateways, own_address()]):
            found[f"the host at {address}"] = (address, DISCARD_PORT)
        others = {
            "another Docker network": (_address(container, control), HUB_PORT),
            "the router": (router(), DISCARD_PORT),
            "the metadata address": (METADATA, 80),
        }
        for called, (address, port) in others.items():
            if address and not _is_in(address, networks) and answers(address, port):
                found[called] = (address, port)
        if "the router" in found and not _is_in(found["the router"][0], PRIVATE):
            del found["the router"]
    single = [network for network in networks if network.num_addresses == 1]
    return {name: target for name, target in found.items() if target[0] and not _is_in(target[0], single)}


def _is_in(address: str, networks: list[Any]) -> bool:
    return any(ipaddress.ip_address(address) in network for network in networks)


def messages(name: str, isolation: str, healthy: bool, reached: dict[str, bool]) -> list[str]:
    """Return the lines. Pure.

    :param name: of the guard.
    :param healthy: whether it finds its rules in the kernel.
    :param reached: whether a new container reached each of the targets.
    """
    closed, opened = ([one for one, reaches in reached.items() if reaches == wanted] for wanted in (False, True))
    lines = [f"isolation: {isolation}" + (f"; blocked for a new server: {', '.join(closed)}" if closed else "")]
    if opened:
        reached_all = ", ".join(opened)
        lines.append(
            Problem(f"NOT ISOLATED: a new server reaches {reached_all}; run make site, then read `docker logs {name}`")
        )
    if not healthy:
        lines.append(Problem(f"NOT GUARDED: {name} does not keep the rules of the isolation; run make site"))
    return lines


def _address(container: dict[str, Any], network: str) -> str:
    """Return the address of a container in a network, empty if it has none."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return str((networks.get(network) or {}).get("IPAddress") or "")
