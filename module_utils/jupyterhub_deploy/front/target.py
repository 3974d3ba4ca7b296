"""Where the front passes the requests for a hub: the address of the hub's proxy on this host.

Each hub has a file of its own in nginx's configuration, so that a new proxy changes nothing else.
"""

from __future__ import annotations

import os
import re
import socket
import zlib
from collections.abc import Callable
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.proxy import PUBLIC_PORT
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically

DIRECTORY = "targets"
LOOPBACK = "127.0.0.1"
# Ports of proxies behind the front. Below those that Linux takes for outgoing connections, which begin at 32768.
PORTS = range(28000, 29000)
# Before there is a proxy. nginx answers 502 for it, and the front its page "does not answer".
NOWHERE = f"{LOOPBACK}:1 down"


def name(hub: str) -> str:
    """Return the name of the upstream in nginx's configuration."""
    return f"{hub}-proxy"


def path(directory: str, hub: str) -> str:
    """Return the path of a hub's file below the front's directory."""
    return os.path.join(directory, DIRECTORY, f"{hub}.conf")


def read(directory: str, hub: str) -> str:
    """Return the address of a hub's proxy, such as ``127.0.0.1:28000``; empty while there is none."""
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


def ensure(directory: str, hub: str, client: Any) -> None:
    """Write a hub's file if it does not exist or is damaged, with the address of the proxy that runs."""
    if read_text(path(directory, hub)) != _text(hub, read(directory, hub)):
        write(directory, hub, published(inspect_container(client, name(hub))))


def _text(hub: str, address: str) -> str:
    return f"upstream {name(hub)} {{ server {address or NOWHERE}; }}\n"


def published(proxy: dict[str, Any] | None) -> str:
    """Return where this host reaches a proxy, from Docker's description of it; empty without a port. Pure."""
    ports = ((proxy or {}).get("HostConfig") or {}).get("PortBindings") or {}
    for one in ports.get(f"{PUBLIC_PORT}/tcp") or []:
        address = one.get("HostIp") or ""
        return f"{LOOPBACK if address in ('', '0.0.0.0') else address}:{one['HostPort']}"  # noqa: S104
    return ""


def internal_port(proxy: dict[str, Any] | None) -> int | None:
    """Return the port of a proxy behind the front, ``None`` when it has another one, or none. Pure."""
    ports = ((proxy or {}).get("HostConfig") or {}).get("PortBindings") or {}
    found = [int(one["HostPort"]) for one in ports.get(f"{PUBLIC_PORT}/tcp") or [] if one.get("HostIp") == LOOPBACK]
    return found[0] if found and found[0] in PORTS else None


def is_free(port: int) -> bool:
    """Return whether nothing on this host uses a port of 127.0.0.1."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(directory: str, hub: str) -> int:
    """Return a port for a new proxy of a hub, which the front does not use for another hub: one that is stopped, too.

    :raises DeployError: there is none.
    """
    folder = os.path.join(directory, DIRECTORY)
    others = {name.removesuffix(".conf") for name in os.listdir(folder)} - {hub} if os.path.isdir(folder) else set()
    used = {read(directory, other).rpartition(":")[2] for other in others}
    return choose_port(hub, lambda port: str(port) not in used and is_free(port))


def choose_port(hub: str, is_free: Callable[[int], bool]) -> int:
    """Return a free port for a new proxy of a hub.

    The search begins at another port for each hub, so that runs of two hubs at the same time do not meet. Pure.

    :raises DeployError: none is free.
    """
    first = zlib.crc32(hub.encode()) % len(PORTS)
    for number in range(len(PORTS)):
        port = PORTS[(first + number) % len(PORTS)]
        if is_free(port):
            return port
    raise DeployError(f"none of the ports {PORTS[0]} to {PORTS[-1]} of this host is free for the proxy of hub {hub}")
