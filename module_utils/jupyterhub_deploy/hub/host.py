"""A host before a hub is deployed: the port, names, the disk space, and the backup schedule."""

from __future__ import annotations

import glob
import os
import secrets
import shlex
import socket
from collections.abc import Container
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.files import read_text

LISTEN = "0A"  # state of a listening socket in /proc/net/tcp (include/net/tcp_states.h)

OS_RELEASE = "/etc/os-release"
NAMES = {"debian": "Debian", "ubuntu": "Ubuntu"}  # Ansible's names of distributions, by their ids

# Bytes: SQLite writes pages of 4 KiB, and each change twice.
LEAST_FREE = 2**20

SETTINGS_DIR = "/etc/jupyterhub-deploy"


def backup_settings(hub: str) -> str:
    """Return the path of the settings of a hub's scheduled backups; without a schedule the file does not exist."""
    return os.path.join(SETTINGS_DIR, f"backup-{hub}.json")


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the socket inodes that listen on a port, from the text of ``/proc/net/tcp`` or ``tcp6``."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
            found.add(fields[9])
    return found


class Listener(NamedTuple):
    """A process that listens on a port: its name, and its id or 0 where that is unknown."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else self.name


def listener(port: int, besides: Container[str] = ()) -> Listener | None:
    """Return the process that listens on a TCP port of this host, or ``None``. Needs root.

    :param besides: names of programs that do not count.
    """
    inodes: set[str] = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                inodes |= listening_inodes(file.read(), port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            found = os.readlink(link)
            if found in wanted:
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                    name = file.read().strip()
                if name not in besides:
                    return Listener(name, int(pid))
                wanted.remove(found)
        except OSError:  # the process ended meanwhile
            continue
    return Listener("another process", 0) if wanted else None


def publisher(containers: list[dict[str, Any]], port: int) -> str | None:
    """Return the name of the running container that publishes a TCP port, from Docker's list of containers."""
    for container in containers:
        for published in container.get("Ports") or []:
            if published.get("PublicPort") == port and published.get("Type") == "tcp":
                return name_of(container)
    return None


def wildcard_problems(url: str, hub_exists: bool) -> tuple[list[str], list[str]]:
    """Return the faults and the warnings about names below the host of a URL; an empty URL is not checked.

    They need not resolve to an address of this host: a web server on another one may be in front of the hub.

    :param hub_exists: a resolver that does not answer must not stop a change of a hub that runs, such as a repair.
    """
    if not url:
        return [], []
    domain = urlsplit(url).hostname
    # A name that nobody has asked for yet: a resolver remembers for some time that a name does not exist.
    name = f"jupyterhub-{secrets.token_hex(4)}.{domain}"
    try:
        socket.getaddrinfo(f"{name}.", None)  # the dot: without the search domains of this host
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return [
                f"jupyterhub_subdomains needs a DNS record for *.{domain}, and {name} does not resolve on this host "
                f"({error.strerror}); add the record with the address of {domain}, or set jupyterhub_check_subdomains: "
                "false if browsers use another DNS server that has it"
            ], []
        unknown = (
            f"whether the names below {domain} resolve is unknown, because the resolver of this host does not answer "
            f"({error.strerror})"
        )
        remedy = "correct /etc/resolv.conf or the DNS server in it, or set jupyterhub_check_subdomains: false"
        return ([], [unknown]) if hub_exists else ([f"{unknown}; {remedy}"], [])
    return [], []


def nearest_existing(path: str) -> str:
    """Return the path itself, or its nearest parent that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def free_bytes(path: str) -> int:
    """Return the bytes that are free on the file system of a path that exists."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def disk_fault(path: str) -> str | None:
    """Return why root can write nothing more to the file system of a path that exists, ``None`` when root can."""
    found = os.statvfs(path)
    if found.f_flag & os.ST_RDONLY:
        return "is mounted read-only"
    # Not f_bavail: the hub is root, and some file systems reserve space for root.
    if found.f_bfree * found.f_frsize < LEAST_FREE:
        return "is full"
    # Some file systems, such as btrfs, report no number of inodes.
    return "has no free inode" if found.f_files and not found.f_ffree else None


def data_problem(hub: str, path: str) -> str | None:
    """Return a message if a hub cannot write its database, ``None`` if it can. Such a hub answers, but fails at all
    that it has to record, and refuses every token.

    :param path: its data volume on this host; what does not exist has no fault.
    """
    fault = disk_fault(path) if os.path.exists(path) else None
    if not fault:
        return None
    remedy = "find the reason with `dmesg`, and mount it again" if "read-only" in fault else "free space on it"
    return (
        f"the disk of {path}, which has the database of hub {hub}, {fault}, so that the hub can record nothing and "
        f"refuses sign-ups and tokens; {remedy} (see `df {path}` and `df -i {path}`), then run the same again"
    )


def distribution(path: str = OS_RELEASE) -> dict[str, str]:
    """Return the distribution as Ansible's own facts name it, from ``/etc/os-release``; empty where unknown.

    Ansible's collector would make the call of the module last as long as one of ``ansible.builtin.setup``.
    """
    values = {}
    for line in (read_text(path) or "").splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            values[name] = " ".join(shlex.split(value))
    version = values.get("VERSION_ID", "")
    return {
        "ansible_distribution": NAMES.get(values.get("ID", ""), values.get("NAME", "")),
        "ansible_distribution_version": version,
        "ansible_distribution_major_version": version.partition(".")[0],
        "ansible_distribution_release": values.get("VERSION_CODENAME", ""),
    }
