"""What a notebook reaches on real Docker: other notebooks, the host, private networks and the hub, each kind of
isolation, and while the containers are replaced and restarted."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.jupyterhub_deploy.hub.reachability import own_address
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

import jupyterhub_status
from hosts.run import name as run_name
from support.module_site import ModuleSite
from support.modules import ModuleError, run
from support.poller import Notebook, Poll
from support.reach import ASK_HUB, LISTEN, reached
from support.site_fixtures import StartSite

NAME = run_name("isolation")
#: Of a network behind this machine; the listener there is reached by routing, as another machine would be.
_SUBNET = f"192.168.{20 + secrets.randbelow(200)}"
PRIVATE, METADATA, NEIGHBOUR = f"{_SUBNET}.9", "169.254.169.254", f"{_SUBNET}.1"
NAMESPACE = run_name("isolation-net")
HUB, PEER, CONTROL = "the hub", "another notebook", "the hub in the control network"


@pytest.fixture(scope="module")
def site(start_site: StartSite) -> ModuleSite:
    return start_site(NAME)


@pytest.fixture(scope="module")
def users(site: ModuleSite) -> dict[str, Notebook]:
    """Two users, each with a kernel and its open web socket, from the time before there was a guard."""
    return {name: site.notebook(name) for name in ("alice", "bob")}


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def routed() -> Iterator[int]:
    """Listen at two addresses in a network namespace, to which this machine has routes; return the port."""
    outer, inner = (f"iso{secrets.token_hex(4)}" for _ in range(2))
    with contextlib.ExitStack() as stack:
        ip("netns", "add", NAMESPACE)
        stack.callback(ip, "netns", "delete", NAMESPACE)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", NAMESPACE)
        ip("address", "add", f"{NEIGHBOUR}/24", "dev", outer)
        ip("link", "set", outer, "up")
        for address in (f"{PRIVATE}/24", f"{METADATA}/32"):
            ip("-n", NAMESPACE, "address", "add", address, "dev", inner)
        ip("-n", NAMESPACE, "link", "set", inner, "up")
        ip("route", "add", METADATA, "via", PRIVATE)
        program = "import socket; s = socket.create_server(('0.0.0.0', 80)); print(flush=True); input()"
        command = ["ip", "netns", "exec", NAMESPACE, "python3", "-c", program]
        listener = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(listener.wait)
        stack.callback(listener.kill)
        assert listener.stdout
        listener.stdout.readline()
        yield 80


@pytest.fixture(scope="module")
def of_host() -> Iterator[int]:
    """Listen on all addresses of this machine; return the port."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        yield int(listener.getsockname()[1])


class Reach:
    """What the notebooks of two users reach."""

    def __init__(self, site: ModuleSite, users: dict[str, Notebook], routed: int, of_host: int) -> None:
        self.site, self.users, self.routed, self.of_host = site, users, routed, of_host
        self.ports = {name: int(user.socket.execute(LISTEN)) for name, user in users.items()}

    def address(self, container: str, network: str = "network") -> str:
        """Return the address of a container of the hub."""
        found = self.site.client.containers.get(f"{NAME}{container}").attrs["NetworkSettings"]["Networks"]
        return str(found[f"{NAME}-{network}"]["IPAddress"])

    def gateway(self, network: str) -> str:
        return str(self.site.client.networks.get(network).attrs["IPAM"]["Config"][0]["Gateway"])

    def from_(self, user: str) -> dict[str, bool]:
        """Return what a user's notebook reaches, by name."""
        other = "bob" if user == "alice" else "alice"
        targets: dict[str, tuple[str, int]] = {
            PEER: (self.address(f"-jupyter-{other}"), self.ports[other]),
            "the host in the users' network": (self.gateway(f"{NAME}-network"), self.of_host),
            "the host in the control network": (self.gateway(f"{NAME}-control"), self.of_host),
            "the host in Docker's network": (self.gateway("bridge"), self.of_host),
            "the host": (own_address() or "", self.of_host),
            "the metadata address": (METADATA, self.routed),
            "a private address": (PRIVATE, self.routed),
            HUB: (self.address(""), 8081),
            CONTROL: (self.address("", "control"), 8081),
        }
        found = reached(self.users[user], targets)
        # Docker itself separates its networks, but for a moment each time that it creates one: it removes the rule that
        # all of them share, and adds it again (EnsureJumpRule in libnetwork). Other tests create networks meanwhile.
        if found.pop(CONTROL):
            assert not reached(self.users[user], {CONTROL: targets[CONTROL]})[CONTROL]
        return found

    def opened(self) -> set[str]:
        """Return what the notebook of one of the users reaches. Both still work."""
        for user in self.users.values():
            assert user.socket.execute("6 * 7") == "42"
            assert user.socket.execute(ASK_HUB) == "200"
        with ThreadPoolExecutor() as threads:
            both = threads.map(self.from_, self.users)
        alice, bob = ({name for name, is_open in found.items() if is_open} for found in both)
        assert alice == bob
        return alice


@pytest.fixture(scope="module")
def reach(site: ModuleSite, users: dict[str, Notebook], routed: int, of_host: int) -> Reach:
    return Reach(site, users, routed, of_host)


def tables(site: ModuleSite) -> list[str]:
    """Return the hub's tables in the kernel, as the guard's image shows them."""
    command = ["nft", "list", "tables"]
    output = site.client.containers.run(
        site.front_image, command, network_mode="host", cap_drop=["ALL"], cap_add=["NET_ADMIN"], remove=True
    )
    return [line for line in output.decode().splitlines() if line.endswith(f" jh-{NAME}")]


def isolation_lines(site: ModuleSite) -> list[str]:
    """Return what the status says about the isolation."""
    token = f"{site.config_dir}/secrets/api_token"
    lines = run(jupyterhub_status, name=NAME, token_file=token, front=f"{NAME}-front")["messages"]
    return [line for line in lines if line.startswith(("isolation", "NOT ISOLATED", "NOT GUARDED"))]


def test_an_existing_hub_is_isolated_without_interruption(
    site: ModuleSite, users: dict[str, Notebook], reach: Reach
) -> None:
    everything = reach.opened()
    assert len(everything) == 8
    assert site.run_guard(check=True)["action"] == "create"
    assert f"{NAME}-guard" not in site.containers()
    with Poll(users["alice"]) as poll:
        assert site.run_guard()["action"] == "create"
        time.sleep(2)
    assert poll.report.uninterrupted, poll.report
    assert reach.opened() == set()
    again = site.run_guard()
    assert (again["changed"], again["action"]) == (False, "none")
    (line,) = isolation_lines(site)
    assert line.startswith("isolation: full; blocked for a new server:")
    hosts = [reach.gateway(name) for name in (f"{NAME}-network", f"{NAME}-control", "bridge")] + [own_address()]
    others = ["the hub's own port", "another server", "another Docker network", "the metadata address"]
    assert all(one in line for one in [*others, *(f"the host at {address}" for address in hosts if address)])


def test_only_old_servers_ask_the_hub_itself(site: ModuleSite, reach: Reach) -> None:
    """Those that a hub of an earlier version started know only that address."""
    program = (
        "import contextlib, socket, sys, time\n"
        "end = time.monotonic() + float(sys.argv[1])\n"
        "while time.monotonic() < end:\n"
        "    with contextlib.suppress(OSError):\n"
        f"        socket.create_connection(({reach.address('')!r}, 8081), 2)\n"
        "        sys.exit(0)\n"
        "sys.exit(1)"
    )

    def reaches_hub(url: str, seconds: int) -> bool:
        container = site.client.containers.run(
            site.front_image, ["python3", "-c", program, str(seconds)], name=f"{NAME}-old", network=f"{NAME}-network",
            environment={"JUPYTERHUB_API_URL": url}, detach=True,
        )  # fmt: skip
        try:
            return bool(container.wait(timeout=120)["StatusCode"] == 0)
        finally:
            container.remove(force=True)

    assert reaches_hub(f"http://{NAME}:8081/hub/api", 60)
    assert not reaches_hub(f"http://{NAME}-proxy:8000/hub/api", 5)


def test_an_allowed_network_is_open(site: ModuleSite, reach: Reach) -> None:
    before = site.containers()
    site.run_guard(allowed_networks=[f"{_SUBNET}.8/29"])
    assert reach.opened() == {"a private address"}
    site.run_guard(allowed_urls=[f"http://{METADATA}", f"http://{PRIVATE}:8080/simple"])
    assert wait_until(lambda: reach.opened() == {"the metadata address"}, 60)
    site.run_guard()
    assert site.containers() == before


def test_rules_that_somebody_removes_come_back(site: ModuleSite, reach: Reach) -> None:
    for table in (f"bridge jh-{NAME}", f"inet jh-{NAME}"):
        assert site.client.containers.get(f"{NAME}-guard").exec_run(["nft", f"delete table {table}"])[0] == 0
        assert wait_until(lambda: len(tables(site)) == 2, 60)
    assert reach.opened() == set()


def test_a_restart_of_the_guard_keeps_the_rules(site: ModuleSite, reach: Reach) -> None:
    container = site.client.containers.get(f"{NAME}-guard")
    container.stop()
    assert reach.opened() == set()
    assert "NOT GUARDED" in "".join(isolation_lines(site))
    assert site.run_guard()["action"] == "start"


def test_rules_of_a_hub_that_was_removed_by_hand_are_removed(site: ModuleSite) -> None:
    guard, gone = site.client.containers.get(f"{NAME}-guard"), f"bridge jh-{NAME}-gone"

    def has_gone() -> bool:
        return gone in str(guard.exec_run(["nft", "list tables"])[1])

    before = tables(site)
    assert guard.exec_run(["nft", f"add table {gone}"])[0] == 0  # it would block the next network with that subnet
    assert has_gone()
    guard.restart()
    assert wait_until(lambda: not has_gone(), 60)
    assert tables(site) == before


def test_hub_and_proxy_with_each_others_addresses(site: ModuleSite, users: dict[str, Notebook], reach: Reach) -> None:
    hub, proxy = (site.client.containers.get(f"{NAME}{part}") for part in ("", "-proxy"))
    before = reach.address(""), reach.address("-proxy")
    for container in (hub, proxy):
        container.stop()
    first, second = (hub, proxy) if before[0] > before[1] else (proxy, hub)
    first.start()
    second.start()
    assert (reach.address(""), reach.address("-proxy")) != before
    assert wait_until(lambda: site.observe()[2] == 200, 60)
    site.run_proxy()
    for user in users.values():
        user.connect()
    assert reach.opened() == set()


def test_replacements_lose_no_request(site: ModuleSite, users: dict[str, Notebook], reach: Reach) -> None:
    with Poll(users["alice"]) as poll:
        site.extra_config = "c.JupyterHub.allow_named_servers = True\n"
        assert site.run_hub()["action"] == "replace"
        site.proxy_image = f"{NAME}/proxy:1"
        build = f"FROM {site.original}\nENV NUMBER=1\n"
        subprocess.run(["docker", "build", "--quiet", "--tag", site.proxy_image, "-"], input=build.encode(), check=True)
        assert site.run_proxy()["action"] == "replace"
        time.sleep(1)
    assert poll.report.uninterrupted, poll.report
    assert reach.opened() == set()


def test_a_host_that_does_not_know_the_rules(site: ModuleSite) -> None:
    """A front's image of an earlier version stands for it."""
    before = site.client.containers.get(f"{NAME}-guard").id
    with pytest.raises(ModuleError, match=r"^jupyterhub_isolation: full is not possible on this host, and nothing was"):
        site.run_guard(image=site.original)
    assert site.client.containers.get(f"{NAME}-guard").id == before
    assert len(tables(site)) == 2


def test_peers_and_none(site: ModuleSite, reach: Reach) -> None:
    site.run_guard(isolation="peers")
    found = reach.opened()
    assert len(found) == 6
    assert not {PEER, HUB} & found
    assert tables(site) == [f"table bridge jh-{NAME}"]
    assert site.run_guard(isolation="none", check=True)["changed"]
    assert site.run_guard(isolation="none")["action"] == "remove"
    assert len(reach.opened()) == 8
    assert tables(site) == []
    assert not site.run_guard(isolation="none")["changed"]
    assert f"{NAME}-guard" not in site.containers()
