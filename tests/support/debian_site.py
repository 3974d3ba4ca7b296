"""A hub that site.yml has made on a Debian server over SSH, and the networks around it."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hosts.hosts import ROOT, Host
from support.hub_http import HubSession
from support.mixins.site import PASSWORD, inspect
from support.molecule import play
from support.poller import Notebook
from support.reach import ASK_HUB, ASK_NAME, LISTEN, reached

#: The user's network and the one between hub and proxy.
USERS, CONTROL = "jupyterhub-network", "jupyterhub-control"
PRIVATE, METADATA, INTERNET, NEIGHBOUR = "192.168.77.9", "169.254.169.254", "203.0.113.9", "192.168.77.1"
#: Another machine, to which the host has routes: a namespace that listens at addresses of its own. After a boot, the
#: host has none.
WORLD = f"""
set -e
ip netns add world
ip link add world type veth peer name host netns world
ip address add {NEIGHBOUR}/24 dev world
ip link set world up
ip -n world link set host up
ip -n world address add {PRIVATE}/24 dev host
for address in {METADATA} {INTERNET}; do
  ip -n world address add $address/32 dev host
  ip route add $address via {PRIVATE}
done
ip -n world route add default via {NEIGHBOUR}
systemd-run --quiet --unit world ip netns exec world python3 -m http.server --directory /srv 80
"""
#: As the rule of a site that lets all networks reach each other: only the isolation separates them, not Docker, which
#: puts its own rules first when it starts.
OPEN_NETWORKS = "iptables -D FORWARD -j ACCEPT 2> /dev/null; iptables -I FORWARD -j ACCEPT"
#: A container in a network of its own.
ANOTHER_CONTAINER = """
docker network create other
docker run --detach --restart unless-stopped --name other --network other %s python3 -m http.server 8888
"""
DNS, HUB_API = "DNS", "the hub's API"
#: What notebooks reach although they are isolated.
ALLOWED = frozenset({DNS, HUB_API, "the internet", "the hub's pages", "the proxy"})


class DebianSite:
    """One hub on a test host, by default with the settings of the tests of Molecule.

    Args:
        host: a new one under systemd.
        environ: from ``support.molecule.environment``.
        directory: an empty one for the inventory.

    Attributes:
        settings: of the inventory, for all runs.
        users: two users by name, each with a kernel and its open web socket; empty before :meth:`start_users`.
    """

    def __init__(self, host: Host, environ: dict[str, str], directory: Path) -> None:
        self.host, self.environ, self.directory = host, environ, directory
        self.settings: dict[str, Any] = {"jupyterhub_backup_schedule": ""}
        self.users: dict[str, Notebook] = {}
        self.ports: dict[str, int] = {}
        (directory / "group_vars").symlink_to(ROOT / "molecule/default/group_vars")

    @property
    def url(self) -> str:
        """The hub's public address, which a reboot may change."""
        return f"http://{self.host.address}:8000"

    def play(self, playbook: str = "site.yml", fails: bool = False, **settings: Any) -> str:
        """Run a playbook with settings on top of those of the inventory; return what it printed."""
        host = {**self.host.inventory(), **self.settings, **settings}
        inventory = {"jupyterhub": {"hosts": {self.host.name: host}}}
        (self.directory / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        return play(self.environ, self.directory, playbook, fails=fails)

    def surround(self) -> None:
        """Make the networks around the hub, unless they exist."""
        if self.host.run("systemctl is-active world", check=False).returncode:
            self.host.run(WORLD)
        if self.host.run("docker inspect other", check=False).returncode:
            self.host.run(ANOTHER_CONTAINER % inspect(self.host, "jupyterhub-front")["Config"]["Image"])

    def start_users(self) -> None:
        """Start the servers of alice and bob, who sign up the first time."""
        for name in ("alice", "bob"):
            session = HubSession(self.url)
            session.sign_up(name, PASSWORD)
            assert session.sign_in(name, PASSWORD)
            self.users[name] = Notebook(session, name)
        self.ports = {name: int(user.socket.execute(LISTEN)) for name, user in self.users.items()}

    def containers(self) -> list[tuple[str, str]]:
        """Return identity and start of the hub, its proxy, the front and the users' servers."""
        names = ["jupyterhub", "jupyterhub-proxy", "jupyterhub-front", *(f"jupyter-{user}" for user in self.users)]
        found = [inspect(self.host, name) for name in names]
        return [(one["Id"], one["State"]["StartedAt"]) for one in found]

    def bridge_filter(self, on: bool) -> None:
        """Let packets within a bridge pass the rules for IP, or not (``br_netfilter``)."""
        self.host.run(["sysctl", "-w", f"net.bridge.bridge-nf-call-iptables={int(on)}"])

    def reached(self) -> set[str]:
        """Return what the notebooks of both users reach, the same with both kinds of filter. Their kernels run on."""
        found: list[set[str]] = []
        for on in (True, False):
            self.bridge_filter(on)
            with ThreadPoolExecutor() as threads:
                found += threads.map(self._reached, self.users)
        assert all(one == found[0] for one in found), found
        return found[0]

    def _reached(self, user: str) -> set[str]:
        notebook = self.users[user]
        assert notebook.problem_with_variable() == ""
        found = reached(notebook, self._targets("bob" if user == "alice" else "alice"))
        found[HUB_API] = notebook.socket.execute(ASK_HUB) == "200"
        found[DNS] = notebook.socket.execute(ASK_NAME) == "True"
        return {name for name, is_open in found.items() if is_open}

    def _targets(self, other: str) -> dict[str, tuple[str, int]]:
        """Return addresses and ports by name. Port 22 is the host's own SSH."""
        address, gateway = functools.partial(_address, self.host), functools.partial(_gateway, self.host)
        return {
            "another notebook": (address(f"jupyter-{other}", USERS), self.ports[other]),
            "the host in the users' network": (gateway(USERS), 22),
            "the host in the control network": (gateway(CONTROL), 22),
            "the host in Docker's own network": (self._own_address(), 22),
            "the host": (self.host.address, 22),
            "the host in a private network": (NEIGHBOUR, 22),
            "another network's container": (address("other", "other"), 8888),
            "a private address": (PRIVATE, 80),
            "the metadata address": (METADATA, 80),
            "the hub's own port": (address("jupyterhub", USERS), 8081),
            "the hub in the control network": (address("jupyterhub", CONTROL), 8081),
            "the API of the proxy": (address("jupyterhub-proxy", CONTROL), 8001),
            "the proxy": (address("jupyterhub-proxy", USERS), 8000),
            "the internet": (INTERNET, 80),
            "the hub's pages": (self.host.address, 8000),
        }

    def _own_address(self) -> str:
        """Return the host's address in Docker's network ``bridge``, which Docker 20.10 does not name."""
        return self.host.run("ip -oneline -4 address show docker0").stdout.split()[3].partition("/")[0]


def _address(host: Host, container: str, network: str) -> str:
    return str(inspect(host, container)["NetworkSettings"]["Networks"][network]["IPAddress"])


def _gateway(host: Host, network: str) -> str:
    command = ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", network]
    return host.run(command).stdout.strip()
