"""Whether users reach a hub through the port that its proxy publishes."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.hub import reachability
from ansible.module_utils.jupyterhub_deploy.hub.reachability import Port

DOCKERS = """-P INPUT ACCEPT
-P FORWARD DROP
-N DOCKER
-A FORWARD -j DOCKER-USER
-A FORWARD -o br-1 -j DOCKER
-A DOCKER -d 198.18.4.2/32 ! -i br-1 -o br-1 -p tcp -m tcp --dport 8000 -j ACCEPT
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with a status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/hub/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(reachability, "PATIENCE", 0)
    monkeypatch.setattr(reachability, "own_address", lambda: "127.0.0.2")
    monkeypatch.setattr(reachability, "read_rules", str)
    with http.server.ThreadingHTTPServer(("", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def proxy(port: int | None, address: str = "0.0.0.0", running: bool = True) -> dict[str, Any]:
    ports = {"8000/tcp": [{"HostIp": address, "HostPort": str(port)}] if port else None}
    networks = {"lab": {"IPAddress": "198.18.4.2"}}
    return {
        "Name": "/lab-proxy", "State": {"Running": running}, "NetworkSettings": {"Ports": ports, "Networks": networks}
    }  # fmt: skip


def test_a_hub_that_answers_has_no_problem(hub: int) -> None:
    assert reachability.problems(proxy(hub)) == []
    assert reachability.problems(proxy(hub, "127.0.0.1")) == []


def test_a_proxy_that_does_not_run_is_not_probed() -> None:
    assert reachability.problems(None) == []
    assert reachability.problems(proxy(1, running=False)) == []


def test_a_hub_behind_a_working_proxy_is_probed_too(hub: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "status", 503)
    assert reachability.problems(proxy(hub)) == [
        f"NOT REACHABLE at http://127.0.0.1:{hub}/hub/health: status 503",
        f"NOT REACHABLE at http://127.0.0.2:{hub}/hub/health: status 503",
    ]


@pytest.mark.usefixtures("hub")
def test_a_closed_port_and_a_missing_one() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        (problem,) = reachability.problems(proxy(port, "127.0.0.1"))
    assert problem == f"NOT REACHABLE at http://127.0.0.1:{port}/hub/health: [Errno 111] Connection refused"
    published = reachability.problems(proxy(None))
    assert published == ["NOT REACHABLE: Docker publishes no port for lab-proxy; run make site"]


def test_flushed_firewall_rules_are_reported_although_this_host_gets_an_answer(
    hub: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachability, "read_rules", lambda: "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER\n")
    (problem,) = reachability.problems(proxy(hub))
    assert problem.startswith("NOT REACHABLE from other machines: the firewall drops forwarded packets")
    assert reachability.problems(proxy(hub, "127.0.0.1")) == [], "other machines are not meant to reach it"


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        (DOCKERS, False),
        (DOCKERS.replace("FORWARD DROP", "FORWARD ACCEPT").partition("-N")[0], False),
        ("", False),  # no iptables
        (DOCKERS.partition("-N")[0], True),  # iptables -F
        (DOCKERS.replace("198.18.4.2", "198.18.4.20"), True),  # the rule of another container
        (DOCKERS.rpartition("-A DOCKER ")[0], True),  # iptables -F DOCKER
        ("-P FORWARD DROP\n-A FORWARD -p tcp --dport 8000 -j ACCEPT\n", False),  # the operator's own, without Docker's
    ],
)
def test_which_rules_block_other_machines(rules: str, blocked: bool) -> None:
    assert bool(reachability.firewall_problem(rules, ["198.18.8.2", "198.18.4.2"])) is blocked


MASQUERADE = "-P POSTROUTING ACCEPT\n-A POSTROUTING -s 198.18.4.0/22 ! -o br-1 -j MASQUERADE\n"


@pytest.mark.parametrize(
    ("rules", "nat", "problem"),
    [
        (DOCKERS, MASQUERADE, None),
        ("", "", None),  # no iptables
        ("-P FORWARD ACCEPT\n", MASQUERADE, None),
        ("-P FORWARD DROP\n-N DOCKER\n", MASQUERADE, "drops forwarded packets"),  # iptables -F
        (DOCKERS, "-P POSTROUTING ACCEPT\n-N DOCKER\n", "rule for the addresses 198.18.4.0/22 is gone"),
        (DOCKERS, MASQUERADE.replace("198.18.4.0", "198.18.8.0"), "is gone"),  # of another network
        (DOCKERS, "-A POSTROUTING -s 198.18.4.2/32 -p tcp -j MASQUERADE\n", "is gone"),  # of a published port
        (DOCKERS, "-A POSTROUTING -s 198.18.0.0/16 -o eth0 -j MASQUERADE\n", None),  # the operator's
        (DOCKERS, "-A POSTROUTING -s 198.18.0.0/255.0.255.0 -j MASQUERADE\n", None),  # of a kind that is not known
        (DOCKERS, "-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.1\n", None),
        (DOCKERS, "-A POSTROUTING -j POSTROUTING_direct\n", None),  # firewalld
    ],
)
def test_which_rules_end_outgoing_connections(rules: str, nat: str, problem: str | None) -> None:
    found = reachability.outgoing_problem(rules, nat, ["198.18.4.0/22"])
    assert (problem in (found or "")) if problem else found is None


def test_the_addresses_that_are_probed() -> None:
    ports = [Port("0.0.0.0", 80), Port("::", 80), Port("192.0.2.7", 81)]
    assert reachability.urls(ports, "192.0.2.1") == [
        "http://127.0.0.1:80/hub/health",
        "http://192.0.2.1:80/hub/health",
        "http://[::1]:80/hub/health",
        "http://192.0.2.7:81/hub/health",
    ]
    assert reachability.urls([Port("", 80)], None) == ["http://127.0.0.1:80/hub/health"]


UFW = """-P INPUT DROP
-P FORWARD DROP
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
{rule}
"""


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        ("", []),
        ("-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n", []),
        (UFW.format(rule=""), [80, 443]),
        (UFW.format(rule="-A ufw-user-input -p tcp -m tcp --dport 443 -j ACCEPT"), [80]),
        (UFW.format(rule="-A ufw-user-input -p tcp -m multiport --dports 80,443 -j ACCEPT"), []),
        (UFW.format(rule="-A ufw-user-input -s 192.0.2.0/24 -p tcp -m multiport --dports 79:443 -j ACCEPT"), []),
        (UFW.format(rule="-A ufw-user-input -p tcp -m tcp --dport 443 -j DROP"), [80, 443]),
        ("-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-host-prohibited\n", [80, 443]),
        ("-P INPUT DROP\n-A INPUT -j ACCEPT\n", []),
        (UFW.format(rule="-A ufw-user-input -s 10.0.0.0/8 -j ACCEPT"), []),
        (UFW.format(rule="-A ufw-user-input -i eth1 -j ACCEPT"), []),
        (UFW.format(rule="-A ufw-before-input -i lo -j ACCEPT"), [80, 443]),
        (UFW.format(rule="-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"), [80, 443]),
        (UFW.format(rule="-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT"), [80, 443]),
        (UFW.format(rule="-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT"), [80, 443]),
    ],
)
def test_ports_of_programs_on_the_host_are_subject_to_the_firewall(rules: str, blocked: list[int]) -> None:
    assert reachability.blocked_ports(rules, [80, 443]) == blocked


def test_chains_of_the_operator_are_known() -> None:
    assert not reachability.own_chains(UFW.format(rule="-A INPUT -p tcp -j f2b-sshd"))
    assert reachability.own_chains(UFW.format(rule="-A INPUT -p tcp -j campus"))


HEADER = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
ETH = "eth0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0\n"


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (f"{HEADER}{ETH}eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0\n", "172.17.0.1"),
        (f"{HEADER}ppp0 00000000 00000000 0001 0 0 0 00000000 0 0 0\n", ""),  # a line without a router
        (HEADER, ""),
        ("", ""),
    ],
)
def test_the_router(table: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "route").write_text(table)
    assert reachability.router(str(tmp_path / "route")) == found


def test_without_routes_of_ipv4(tmp_path: Path) -> None:
    assert reachability.router(str(tmp_path / "route")) == ""
