"""Where the front passes the requests for a hub: the address of the hub's proxy on this host.

Each hub has a file of its own in nginx's configuration, so that a new proxy changes nothing else.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
from collections.abc import Container
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.proxy import PUBLIC_PORT, fixed_addresses
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically

DIRECTORY = "targets"
LOOPBACK = "127.0.0.1"
MOST = 200  # addresses that are looked at: a proxy that is replaced keeps its own for a day at most
# Before there is a proxy. nginx answers 502 for it, and the front its page "does not answer".
NOWHERE = f"{LOOPBACK}:1 down"


def name(hub: str) -> str:
    """Return the name of the upstream in nginx's configuration."""
    return f"{hub}-proxy"


def path(directory: str, hub: str) -> str:
    """Return the path of a hub's file below the front's directory."""
    return os.path.join(directory, DIRECTORY, f"{hub}.conf")


def read(directory: str, hub: str) -> str:
    """Return the address of a hub's proxy, such as ``172.19.0.2:8000``, or an empty string."""
    found = re.search(r"server ([0-9.]+:\d+);", read_text(path(directory, hub)) or "")
    return found[1] if found else ""


def write(directory: str, hub: str, address: str) -> None:
    """Write the address of a hub's proxy, empty when there is none."""
    write_atomically(path(directory, hub), _text(hub, address), parents=True)


def remove(directory: str, hub: str) -> None:
    """Remove a hub's files."""
    for file in (path(directory, hub), pending(directory, hub)):
        if os.path.exists(file):
            os.unlink(file)


def pending(directory: str, hub: str) -> str:
    """Return the path of the file that exists while it is unknown whether nginx uses a hub's file."""
    return path(directory, hub).removesuffix(".conf") + ".pending"


def ensure(directory: str, hub: str, client: Any, listens: Container[str] = ()) -> None:
    """Write a hub's file with the address of the proxy that runs, if it does not exist, is damaged or is a loop.

    :param listens: where the front itself serves the hub, as a proxy of an earlier version did.
    """
    address, text = read(directory, hub), read_text(path(directory, hub))
    if address in listens or text != _text(hub, address):
        if text is not None:  # nginx may use the damaged one
            write_atomically(pending(directory, hub), "", parents=True)
        proxy = inspect_container(client, name(hub))
        found = published(proxy) if proxy and proxy["State"]["Running"] else ""
        write(directory, hub, "" if found in listens else found)


def _text(hub: str, address: str) -> str:
    return f"upstream {name(hub)} {{ server {address or NOWHERE}; }}\n"


def published(proxy: dict[str, Any] | None) -> str:
    """Return where this host reaches a proxy, from Docker's description of it; empty if it does not. Pure.

    At its fixed address: a port that Docker publishes on 127.0.0.1 is served by a program that ends with Docker, and so
    do its connections.
    """
    for address in fixed_addresses(proxy).values():
        return f"{address}:{PUBLIC_PORT}"
    ports = ((proxy or {}).get("HostConfig") or {}).get("PortBindings") or {}
    for one in ports.get(f"{PUBLIC_PORT}/tcp") or []:
        address = one.get("HostIp") or ""
        return f"{LOOPBACK if address in ('', '0.0.0.0') else address}:{one['HostPort']}"  # noqa: S104
    return ""


def free_address(client: Any, network: str, own: str = "") -> str:
    """Return an address for a proxy that no running container has in a network.

    :param own: which it had before, and gets again if possible.
    :raises DeployError: there is none.
    """
    found = client.inspect_network(network)
    parts = [one for one in found["IPAM"]["Config"] or [] if "." in (one.get("Subnet") or "")]
    if not parts:
        raise DeployError(f"network {network} has no IPv4 subnet; remove it and run make site, which creates it")
    part = parts[0]
    used = {one.get("IPv4Address", "").partition("/")[0] for one in (found.get("Containers") or {}).values()}
    hosts = itertools.islice(ipaddress.ip_network(part["Subnet"]).hosts(), 1, MOST)  # the first is the gateway
    for address in [own, *map(str, hosts)]:
        if address and address not in used | {part.get("Gateway", "").partition("/")[0]}:
            return address
    raise DeployError(f"network {network} has no address left for a new proxy; end old ones with `docker stop`")
