"""Options of ``daemon.json`` that hide what Docker has on a host, and those that this deployment cannot work with.

Pure functions, no I/O.

Docker starts with such an option as on a new host. What it had stays on the disk; containers that live-restore keeps
running are out of its reach, and a second hub would be created beside the first.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

Options = Mapping[str, Any]

DATA_ROOT = "/var/lib/docker"  # the default of data-root
PID_FILES = ("/var/run/docker.pid", "/run/docker.pid")
SOCKETS = ("unix:///var/run/docker.sock", "unix:///run/docker.sock", "fd://")

# Options that say where Docker keeps what it has, with their defaults. "features." is a part of the option `features`.
HIDING: dict[str, Any] = {
    "storage-driver": None,
    "features.containerd-snapshotter": None,
    "userns-remap": "",
    "graph": "",  # the name of data-root before Docker 17.05, which Docker before 23.0 still accepts
    "exec-root": "/var/run/docker",
    "containerd": "",
    "containerd-namespace": "moby",
    "containerd-plugins-namespace": "plugins.moby",
}


def hidden(before: Options, after: Options, seen: Mapping[str, Any]) -> list[str]:
    """Return the changes of options that would hide what Docker has, as ``storage-driver (overlay2 → vfs)``.

    :param before: the options in the file now.
    :param after: the options in it afterwards.
    :param seen: the result of ``daemon_info.observe``; what is in effect counts more than what is in the file.
    """
    found = []
    for name, default in HIDING.items():
        old, new = _value(before, name, default), _value(after, name, default)
        if name == "storage-driver":
            old = seen["storage_driver"] or old
            # Without the option, Docker takes the driver whose data it finds.
            new = new or old
        elif name == "features.containerd-snapshotter" and seen["running"]:
            old = seen["containerd_images"]
            new = old if new == _value(before, name, default) else bool(new)
        if old != new:
            found.append(f"{name} ({_shown(old)} → {_shown(new)})")
    return found


def problems(before: Options, after: Options) -> list[str]:
    """Return a message for each changed option that this deployment cannot work with."""
    found = []
    hosts = after.get("hosts")
    if hosts is not None and hosts != before.get("hosts") and not any(socket in hosts for socket in SOCKETS):
        found.append(f"hosts has no {SOCKETS[0]}, which the hub and this deployment connect to; add it")
    found += [
        f"hosts has {address} without tlsverify, so everybody who can reach it has root access to this host; use "
        "127.0.0.1, or set tlsverify: true with its certificates"
        for address in open_addresses(after)
        if address not in open_addresses(before)
    ]
    if after.get("bridge") == "none" != before.get("bridge"):
        found.append("bridge is none, and images are built in the default bridge network; leave it out")
    pid_file = after.get("pidfile")
    if pid_file is not None and pid_file != before.get("pidfile") and pid_file not in PID_FILES:
        found.append(
            f"pidfile is {pid_file}, and this deployment finds Docker's process by {PID_FILES[0]}; leave it out"
        )
    return found


def open_addresses(options: Options) -> list[str]:
    """Return the addresses in ``hosts`` at which Docker serves other machines without asking for a certificate."""
    if options.get("tlsverify") is True:
        return []
    return [address for address in options.get("hosts") or [] if _serves_others(str(address))]


def _serves_others(address: str) -> bool:
    scheme, separator, rest = address.rpartition("://")
    if separator and scheme != "tcp":
        return False
    try:
        name = urlsplit(f"//{rest}").hostname or "localhost"  # Docker's default
        return name != "localhost" and not ipaddress.ip_address(name).is_loopback
    except ValueError:  # a name
        return True


def require_host_network(options: Options) -> None:
    """Check that a container can have the network of the host, as the front and the isolation of servers need it.

    :raises DeployError: Docker refuses that with user namespaces; nothing was changed.
    """
    if options.get("userns-remap"):
        raise DeployError(
            f"Docker's option userns-remap is {options['userns-remap']}, with which no container can have the network "
            "of the host; nothing was changed. Remove it from docker_daemon_options and from daemon.json: "
            "docs/how-to/docker.md#options-that-hide-dockers-data"
        )


def refuse(before: Options, after: Options, seen: Mapping[str, Any]) -> None:
    """Refuse options that would hide what Docker has on this host, and those that break the deployment.

    :raises DeployError: there are such options; nothing was changed.
    """
    objects = [f"{count} {kind}" for kind, count in seen["objects"].items() if count]
    changes = hidden(before, after, seen) if objects else []
    if changes:
        raise DeployError(
            f"{', '.join(changes)} in docker_daemon_options would hide {' and '.join(objects)} of this host from "
            "Docker, and containers that run would be out of its reach; nothing was changed. Remove the option, or "
            "set it on a host without them: docs/how-to/docker.md#options-that-hide-dockers-data"
        )
    broken = problems(before, after)
    if broken:
        raise DeployError(f"docker_daemon_options: {'; '.join(broken)}. Nothing was changed")


def _value(options: Options, name: str, default: Any) -> Any:
    first, _, second = name.partition(".")
    value = options.get(first)
    if second:
        value = value.get(second) if isinstance(value, Mapping) else None
    return default if value is None else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else "unset" if value in (None, "") else json.dumps(value)
