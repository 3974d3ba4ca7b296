"""Whether users reach a hub: through the front or the port that its proxy publishes, not from inside its container."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import socket
import subprocess
import sys
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers.container import problem_at
from ansible.module_utils.jupyterhub_deploy.containers.proxy import PUBLIC_PORT
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info
from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.hub import resources
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

HEALTH_PATH = "/hub/health"  # the proxy passes it to the hub, so it needs both, and the network between them
PATIENCE = 4.0  # seconds: a hub that has just started gets a second chance
# Where this host reaches a port that is published on all its addresses.
ALL_ADDRESSES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
PROGRAM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
# Rules of iptables that open every port, for example to a network, but for those of which NARROW finds a part.
GENERAL = re.compile(r"-A (?:INPUT|ufw-(?:user|before|after)-input) .*-j ACCEPT")
NARROW = re.compile(r"--[ds]ports? |--ctstate |--state |-i lo |-p (?!tcp )|-d 224\.|-d 239\.")
KNOWN_CHAINS = re.compile(r"(ACCEPT|DROP|REJECT|LOG|NFLOG|RETURN|ufw-.*|f2b-.*|LIBVIRT_.*|DOCKER.*)$")

RESTART_DOCKER = "restart Docker, which adds them again: `systemctl restart docker`"


class Port(NamedTuple):
    """A port of the host at which users reach the hub, or the front its proxy."""

    address: str
    number: int


def published(proxy: dict[str, Any]) -> list[Port]:
    """Return where Docker publishes the proxy, from its description of the running container. Pure."""
    bindings = (proxy["NetworkSettings"].get("Ports") or {}).get(f"{PUBLIC_PORT}/tcp") or []
    return [Port(one.get("HostIp") or "", int(one["HostPort"])) for one in bindings]


def urls(ports: list[Port], own_address: str | None) -> list[str]:
    """Return the URLs at which the hub should answer. Pure.

    :param own_address: the host's address in its network; packets to it take another way than those to 127.0.0.1.
    """
    found = []
    for port in ports:
        hosts = [ALL_ADDRESSES.get(port.address, port.address)]
        if port.address in ("", "0.0.0.0") and own_address:  # noqa: S104  (compared, not bound)
            hosts.append(own_address)
        found += [f"http://{host}:{port.number}{HEALTH_PATH}" for host in hosts]
    return list(dict.fromkeys(found))


def own_address(family: socket.AddressFamily = socket.AF_INET) -> str | None:
    """Return this host's address in its network, ``None`` when it has no route. Sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Reserved for documentation (RFC 5737 and 3849).
            probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def router(table: str = "/proc/net/route") -> str:
    """Return the address of this host's router, empty if it has none.

    :param table: the routes, as the Linux kernel shows them: addresses are hexadecimal, in the order of the processor.
    """
    for line in (read_text(table) or "").splitlines()[1:]:
        _, destination, gateway = line.split()[:3]
        address = ipaddress.IPv4Address(int(gateway, 16).to_bytes(4, sys.byteorder))
        if int(destination, 16) == 0 and not address.is_unspecified:
            return str(address)
    return ""


def own_addresses() -> list[str]:
    """Return all addresses of this host's networks; without the program ``ip``, only those of :func:`own_address`."""
    command = [shutil.which("ip", path=PROGRAM_PATH) or "ip", "-json", "address"]
    try:
        shown = subprocess.run(command, check=True, capture_output=True, text=True)
        return [
            str(address["local"])
            for interface in json.loads(shown.stdout)
            for address in interface.get("addr_info", [])
            if address.get("scope") == "global"
        ]
    except (OSError, subprocess.CalledProcessError, ValueError):
        found = own_address(), own_address(socket.AF_INET6)
        return [address for address in found if address]


def firewall_problem(rules: str, addresses: list[str]) -> str | None:
    """Return why the firewall drops what other machines send to a container, ``None`` when it does not seem to. Pure.

    Packets from this host do not pass the chain FORWARD, so no probe from here finds that.

    :param rules: the output of ``iptables -S``.
    :param addresses: of the container.
    """
    lines = rules.splitlines()
    if "-P FORWARD DROP" not in lines:
        return None
    forward = [line for line in lines if line.startswith("-A FORWARD ")]
    dockers = any("-j DOCKER" in line for line in forward)
    allowed = any(f"-d {address}/32 " in line for address in addresses for line in lines)
    if forward and (not dockers or allowed):
        return None  # the operator's own rules, or Docker's
    return f"the firewall drops forwarded packets, and Docker's rules are gone; {RESTART_DOCKER}"


def outgoing_problem(rules: str, nat: str, subnets: list[str]) -> str | None:
    """Return why containers cannot connect to other machines, ``None`` if the rules of Docker allow it. Pure.

    Rules of the operator's for all networks, and chains that this does not know, count as allowing it.

    :param rules: the output of ``iptables -S``.
    :param nat: the output of ``iptables -t nat -S``.
    :param subnets: of the containers' network, such as ``198.18.4.0/22``, as far as Docker changes their addresses.
    """
    if "-P FORWARD DROP" in rules.splitlines() and "-A FORWARD " not in rules:
        return "the firewall drops forwarded packets, and Docker's rules are gone"
    sources = re.findall(r"^-A POSTROUTING (?:-s (\S+) )?.*-j", nat, re.MULTILINE)
    for subnet in subnets if nat else ():
        if not any(not source or _is_within(subnet, source) for source in sources):
            return f"Docker's rule for the addresses {subnet} is gone"
    return None


def _is_within(subnet: str, source: str) -> bool:
    """Return whether a rule for some sources applies to a subnet; also if the rule is of a kind that is not known."""
    try:
        outer = ipaddress.IPv4Network(source, strict=False)
        return ipaddress.IPv4Network(subnet, strict=False).subnet_of(outer)
    except ValueError:
        return True


def blocked_ports(rules: str, ports: list[int]) -> list[int]:
    """Return the ports of programs on this host that the firewall blocks for other machines, as far as is known. Pure.

    Ports that Docker publishes are not subject to these rules. A port that is open for some machines only is not
    blocked.

    :param rules: the output of ``iptables -S``. Rules that nftables or firewalld made without it are not there.
    """
    lines = rules.splitlines()
    blocks = "-P INPUT DROP" in lines or any(re.fullmatch(r"-A INPUT -j (DROP|REJECT.*)", line) for line in lines)
    if not blocks or "-A INPUT -j ACCEPT" in lines:
        return []
    if any(GENERAL.match(line) and not NARROW.search(line) for line in lines):
        return []
    accepted: set[int] = set()
    opens = re.compile(r"-A (?:INPUT|ufw-\S+) .*(?<!! )--dports? (\S+) .*-j (?:ACCEPT|ufw-user-limit)")
    for found in filter(None, map(opens.match, lines)):
        for part in found[1].split(","):
            first, _, last = part.partition(":")
            accepted.update(range(int(first), int(last or first) + 1))
    return [port for port in ports if port not in accepted]


def own_chains(rules: str) -> bool:
    """Return whether the firewall has chains of the operator's, which may open what :func:`blocked_ports` says. Pure.

    :param rules: the output of ``iptables -S``.
    """
    jumps = re.findall(r"^-A INPUT .*-j (\S+)", rules, re.MULTILINE)
    return any(not KNOWN_CHAINS.match(chain) for chain in jumps)


def read_rules(table: str = "filter") -> str:
    """Return the rules of the firewall, nothing where they cannot be read."""
    program = shutil.which("iptables", path=PROGRAM_PATH)
    if not program:
        return ""
    try:
        return subprocess.run(
            [program, "-t", table, "-S"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def problems(proxy: dict[str, Any] | None, front: list[Port] | None = None) -> list[str]:
    """Return a message for each reason why users do not reach the hub.

    :param proxy: Docker's description of the proxy, ``None`` when it does not exist.
    :param front: where the front serves only this hub, and so without a name, or where it reaches the proxy.
    """
    if not proxy or not proxy["State"]["Running"]:
        return []  # the status says so
    if front:
        return _unanswered(front)
    ports = published(proxy)
    if not ports:
        return [f"NOT REACHABLE: Docker publishes no port for {name_of(proxy)}; run make site"]
    addresses = [one["IPAddress"] for one in proxy["NetworkSettings"]["Networks"].values() if one.get("IPAddress")]
    blocked = firewall_problem(read_rules(), addresses) if any(port.address != "127.0.0.1" for port in ports) else None
    return [*_unanswered(ports), *([f"NOT REACHABLE from other machines: {blocked}"] if blocked else [])]


def outgoing_problems(client: Any, network: str) -> list[str]:
    """Return a message if the hub and its servers cannot connect to other machines, for example to a package index.

    :param network: the Docker network of the hub and its servers.
    """
    if str(daemon_info.option("iptables")).lower() == "false" or daemon_info.option("firewall-backend") == "nftables":
        return []  # the rules are the operator's, or not those of iptables
    problem = outgoing_problem(read_rules(), read_rules("nat"), resources.masqueraded(client, network))
    return [f"NO OUTGOING CONNECTIONS from hub and servers: {problem}; {RESTART_DOCKER}"] if problem else []


def _unanswered(ports: list[Port]) -> list[str]:
    """Return a message for each URL at which the hub does not answer."""
    found: dict[str, str | None] = {}

    def all_answer() -> bool:
        found.update({url: problem_at(url) for url in urls(ports, own_address())})
        return not any(found.values())

    wait_until(all_answer, PATIENCE)
    return [f"NOT REACHABLE at {url}: {reason}" for url, reason in found.items() if reason]
