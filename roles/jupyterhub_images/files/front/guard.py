"""Keep the rules that isolate one hub's notebooks in the host's kernel (``guard_rules`` explains them).

    guard.py                   load them, and again when addresses change or somebody has removed them
    guard.py --check           load an example, in a network of its own: whether this kernel has all that the rules need
    guard.py --remove          remove them
    guard.py --remove-unused   remove those of hubs that no longer exist, as the first one does when it starts

The rules stay when this program ends, so that it can be replaced. Environment:

    GUARD_HUB        name of the hub
    GUARD_NETWORK    name of the users' network
    GUARD_ISOLATION  full or peers
    GUARD_PORTS      ports of the front, as 80,443
    GUARD_ALLOWED    private networks that notebooks may reach, as 10.1.0.0/16,192.168.5.9
    GUARD_HOSTS      names and ports that they may reach, as mirror.example.com:443

/run is the host's, with Docker's socket, and /host/etc its /etc, with the DNS servers. Capability: NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import guard_rules
from guard_docker import DockerError, get, watch
from guard_rules import Inputs

#: Its time is that of the last check that found the rules in the kernel. The health check of the container reads it.
LOADED = Path("/tmp/loaded")  # noqa: S108  (in the container)
#: Seconds between two checks. Events of Docker's networks cause one at once.
INTERVAL = 2.0
#: Seconds between two attempts to resolve the names of GUARD_HOSTS.
RESOLVE_INTERVAL = 60.0
LABEL_HUB, LABEL_USER = "org.jupyterhub.deploy.hub", "org.jupyterhub.deploy.user"
#: Each kind of rule.
EXAMPLE = Inputs(
    "check", "full", "br-check", ("198.18.0.0/24", "fd00:18::/64"), ("198.18.0.2", "fd00:18::2"),
    ("198.18.0.3", "fd00:18::3"), ("198.18.0.4",), ("198.18.1.0/24",), (80, 443), ("192.0.2.0/24",),
    (("192.0.2.1", 443),), ("192.0.2.53",),
)  # fmt: skip


def resolve(names: list[str], found: dict[str, tuple[tuple[str, int], ...]]) -> None:
    """Keep the addresses of ``name:port`` up to date, for ever. What does not resolve keeps what it had."""
    while names:
        for name in names:
            host, _, port = name.rpartition(":")
            with contextlib.suppress(OSError, UnicodeError):
                addresses = {str(one[4][0]) for one in socket.getaddrinfo(host.strip("[]"), None)}
                found[name] = tuple((address, int(port)) for address in sorted(filter(_is_remote, addresses)))
        time.sleep(RESOLVE_INTERVAL)


def resolvers(root: Path = Path("/host"), own: Path = Path("/")) -> tuple[str, ...]:
    """Return the addresses of the host's DNS servers.

    Docker writes its own list of them into this container, and gives the same to new servers.

    Args:
        root: below which the host's ``/etc`` is.
        own: below which the container's directories are, ``/run`` of the host among them.
    """
    hosts = root / "etc/resolv.conf"
    if hosts.is_symlink():  # to /run
        hosts = own / os.path.normpath(os.path.join("/etc", os.readlink(hosts))).lstrip("/")
    found: set[str] = set()
    for path in (own / "etc/resolv.conf", hosts, own / "run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found.update(words[1] for line in lines if (words := line.split())[:1] == ["nameserver"] and words[1:])
    return tuple(sorted(address for address in found if _is_remote(address)))


def _is_remote(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_loopback and "%" not in address
    except ValueError:
        return False


class Guard:
    """The rules of one hub."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.hub, self.network = environment["GUARD_HUB"], environment["GUARD_NETWORK"]
        self.isolation = environment["GUARD_ISOLATION"]
        self.ports = tuple(map(int, _items(environment.get("GUARD_PORTS", ""))))
        self.allowed = tuple(_items(environment.get("GUARD_ALLOWED", "")))
        self.names = _items(environment.get("GUARD_HOSTS", ""))
        self.hosts: dict[str, tuple[tuple[str, int], ...]] = {}
        self._direct: dict[str, bool] = {}

    def inputs(self) -> Inputs:
        """Return what the rules depend on, as it is now."""
        network = get(f"/networks/{self.network}")
        if network["Driver"] != "bridge":
            raise ValueError(
                f"the network {self.network} has the driver {network['Driver']}; only bridges are isolated"
            )
        networks = get("/networks")
        # After the network: what is in it has a label already.
        own = get("/containers/json?all=1", label=[f"{LABEL_HUB}={self.hub}"])
        names = {one["Id"]: (one["Names"] or [""])[0].lstrip("/") for one in own if LABEL_USER not in one["Labels"]}
        servers = {one["Id"] for one in own if LABEL_USER in one["Labels"]}
        endpoints = network["Containers"] or {}
        self._direct = {identity: asks for identity, asks in self._direct.items() if identity in endpoints}
        hubs, proxies, direct, taken = [], [], [], set[str]()
        for identity, endpoint in endpoints.items():
            both = (endpoint["IPv4Address"], endpoint["IPv6Address"])
            addresses = [address.partition("/")[0] for address in both if address]
            name = names.get(identity, "")
            taken.update(addresses if identity in servers else ())
            if name.startswith(f"{self.hub}-proxy"):  # also one that is replaced
                proxies.extend(addresses)
            elif name in [f"{self.hub}{suffix}" for suffix in ("", "-next", "-previous")]:
                hubs.extend(addresses)
            elif self._asks_hub(identity):
                direct.extend(addresses)
        return Inputs(
            self.hub,
            self.isolation,
            (network["Options"] or {}).get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}",
            _subnets(network),
            tuple(sorted(hubs)),
            tuple(sorted(proxies)),
            tuple(sorted(direct)),
            tuple(sorted({subnet for one in networks if one["Id"] != network["Id"] for subnet in _subnets(one)})),
            self.ports,
            # The container that an address was allowed for may have ended, and a server may have the address now.
            tuple(one for one in self.allowed if one.partition("/")[0] not in taken),
            tuple(host for name in self.names for host in self.hosts.get(name, ())),
            resolvers(),
        )

    def _asks_hub(self, identity: str) -> bool:
        """Return whether a server asks the hub directly, as those do that a hub of an earlier version started."""
        if identity not in self._direct:
            try:
                environment = get(f"/containers/{identity}/json")["Config"]["Env"] or []
            except DockerError:  # it has ended meanwhile
                return False
            start = f"JUPYTERHUB_API_URL=http://{self.hub}:{guard_rules.HUB_PORT}/"
            self._direct[identity] = any(one.startswith(start) for one in environment)
        return self._direct[identity]

    def run(self) -> NoReturn:
        """Keep the rules in the kernel, for ever."""
        try:
            remove_unused()
        except (DockerError, OSError, subprocess.SubprocessError) as error:
            print(f"rules of other hubs were not checked: {error}", file=sys.stderr, flush=True)
        changed = threading.Event()
        threading.Thread(target=watch, args=(changed,), daemon=True).start()
        threading.Thread(target=resolve, args=(self.names, self.hosts), daemon=True).start()
        rules, left, problem = "", "", ""
        while True:
            try:
                wanted = guard_rules.render(self.inputs())
                if wanted != rules or self.listing() != left:
                    left = self.loaded(wanted)
                    print("loaded the rules" + ("" if wanted != rules else ", which somebody had changed"), flush=True)
                    rules = wanted
                LOADED.touch()
                problem = ""
            except (DockerError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
                if str(error) != problem:
                    print(f"the rules are not up to date: {error}", file=sys.stderr, flush=True)
                problem = str(error)
            changed.wait(INTERVAL)
            changed.clear()

    def listing(self) -> str:
        """Return the tables as the kernel has them; one that does not exist is empty."""
        # One by one: nft 1.0.6 does not find tables of two families at once.
        return "".join(nft(f"list table {table}").stdout for table in guard_rules.tables(self.hub))

    def loaded(self, rules: str) -> str:
        """Load rules; return the tables as the kernel has them then.

        Raises OSError if they are not there, also when somebody has removed them at once.
        """
        load(rules)
        found = self.listing()
        starts = [f"table {table} {{\n" for table in guard_rules.tables(self.hub)]
        if any(start in rules and start not in found for start in starts):
            raise OSError("the rules were removed while they were loaded")
        return found


def remove_unused() -> None:
    """Remove the rules of hubs whose containers and networks were removed by hand.

    The rules cannot name the bridge, so they would apply to the next network that gets the subnet.

    Raises:
        DockerError: Docker does not answer.
        OSError: the rules cannot be removed.
    """
    found = guard_rules.hubs(nft("list tables").stdout)
    existing = [*get("/networks"), *get("/containers/json?all=1")]
    used = {(one["Labels"] or {}).get(LABEL_HUB) for one in existing}
    for hub in sorted(found - used):
        load(guard_rules.remove(hub))
        print(f"removed the rules of hub {hub}, which no longer exists", flush=True)


def nft(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run nft."""
    return subprocess.run(["nft", *arguments], input=text, check=False, text=True, capture_output=True, timeout=30)


def load(text: str) -> None:
    """Load rules.

    Raises:
        OSError: the kernel or nft refuses them; then nothing has changed.
    """
    done = nft("-f", "-", text=text)
    if done.returncode:
        raise OSError(f"nft: {done.stderr.strip()}")


def _items(text: str) -> list[str]:
    return [item for item in text.split(",") if item]


def _subnets(network: dict[str, Any]) -> tuple[str, ...]:
    return tuple(one["Subnet"] for one in (network.get("IPAM") or {}).get("Config") or [] if one.get("Subnet"))


def main() -> None:
    """Entry point."""
    if "--check" in sys.argv:
        text = guard_rules.render(EXAMPLE._replace(isolation=os.environ["GUARD_ISOLATION"]))
    elif "--remove" in sys.argv:
        text = guard_rules.remove(os.environ["GUARD_HUB"])
    elif "--remove-unused" in sys.argv:
        text = ""
    else:
        Guard(dict(os.environ)).run()
    try:
        load(text) if text else remove_unused()
    except (DockerError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
