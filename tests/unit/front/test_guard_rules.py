"""The rules that isolate notebooks, as text. tests/integration/servers/test_isolation.py loads them."""

from __future__ import annotations

import re

import pytest
from guard_rules import Inputs, hubs, remove, render

INPUTS = Inputs(
    "lab",
    "full",
    "br-0123456789ab",
    ("198.18.4.0/22",),
    hubs=("198.18.4.2",),
    proxies=("198.18.4.9", "198.18.4.5"),
    others=("203.0.113.1/24", "198.18.8.0/22"),
    ports=(8000,),
    resolvers=("10.0.0.53", "fd00::53"),
)


def chain(text: str, table: str, name: str) -> list[str]:
    """Return the rules of a chain."""
    inside = text.partition(f"table {table} jh-lab {{\n")[2].partition("\n}\n")[0]
    rules = inside.partition(f"chain {name} {{\n")[2].partition("\n    }")[0]
    return [line.strip() for line in rules.splitlines()]


def test_notebooks_reach_the_proxy_at_its_port_and_nothing_else_of_their_network() -> None:
    text = render(INPUTS)
    assert chain(text, "bridge", "from_ip") == [
        "ip saddr { 198.18.4.2, 198.18.4.5, 198.18.4.9 } accept",
        "ip daddr { 198.18.4.2, 198.18.4.5, 198.18.4.9 } tcp flags & (syn | ack) != syn accept",
        "ip daddr { 198.18.4.5, 198.18.4.9 } tcp dport 8000 accept",
        "drop",
    ]
    assert chain(text, "bridge", "forward")[1:] == ["ip saddr 198.18.4.0/22 jump from_ip"]


def test_old_servers_reach_the_hub() -> None:
    rules = chain(render(INPUTS._replace(direct=("198.18.4.7",))), "bridge", "from_ip")
    assert "ip saddr { 198.18.4.7 } ip daddr { 198.18.4.2 } tcp dport 8081 accept" in rules
    assert rules[-1] == "drop"


def test_without_hub_and_proxy_every_container_is_a_notebook() -> None:
    text = render(INPUTS._replace(hubs=(), proxies=(), direct=("198.18.4.7",)))
    assert chain(text, "bridge", "from_ip") == ["drop"]
    assert "saddr {" not in text


def test_the_host_is_reached_at_the_ports_of_the_front() -> None:
    text = render(INPUTS)
    rule = 'iifname "br-0123456789ab"'
    assert chain(text, "inet", "input")[1:] == [
        f"{rule} jump exceptions", f"{rule} tcp dport {{ 8000 }} accept", f"{rule} drop"
    ]  # fmt: skip
    assert chain(text, "inet", "exceptions") == [
        "ct direction reply accept",
        "ip saddr { 198.18.4.2, 198.18.4.5, 198.18.4.9 } accept",
        "ip daddr { 10.0.0.53 } meta l4proto { tcp, udp } th dport 53 accept",
    ]


def test_private_networks_and_those_of_docker_are_blocked_but_not_the_bridge_itself() -> None:
    text = render(INPUTS)
    (jump,) = chain(text, "inet", "forward")[1:]
    assert jump == 'iifname "br-0123456789ab" oifname != "br-0123456789ab" jump to_world'
    first, blocked, ipv6 = chain(text, "inet", "to_world")
    assert first == "jump exceptions"
    # Each once: the second network of Docker is in a private one.
    assert blocked == (
        "ip daddr { 10.0.0.0/8, 100.64.0.0/10, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, "
        "192.168.0.0/16, 198.18.0.0/15, 203.0.113.0/24 } drop"
    )
    assert ipv6 == "meta nfproto ipv6 drop"


def test_a_network_that_is_allowed_does_not_open_the_host() -> None:
    text = render(INPUTS._replace(allowed=("192.168.5.9", "10.20.0.0/16", "fd00:1::/64"), hosts=(("10.1.0.1", 443),)))
    exceptions = chain(text, "inet", "exceptions")
    assert "ip daddr { 192.168.5.9 } accept" in exceptions
    assert chain(text, "inet", "to_world")[:2] == ["jump exceptions", "ip daddr { 10.20.0.0/16, 192.168.5.9 } accept"]
    assert "ip daddr { 10.1.0.1 } tcp dport 443 accept" in exceptions
    assert "fd00:1::" not in text  # the users' network has no IPv6, which is blocked


def test_a_service_in_the_users_network_can_be_allowed() -> None:
    rules = chain(render(INPUTS._replace(allowed=("198.18.4.77", "198.18.4.0/24", "fd00::9"))), "bridge", "from_ip")
    assert rules[-3:] == ["ip saddr { 198.18.4.77 } accept", "ip daddr { 198.18.4.77 } accept", "drop"]


def test_peers_leaves_all_but_the_users_network() -> None:
    text = render(INPUTS._replace(isolation="peers"))
    assert text.startswith(remove("lab"))  # the rules of `full` go
    assert re.findall(r"^table (\S+) \S+ \{$", text, re.MULTILINE) == ["bridge"]
    assert chain(text, "bridge", "from_ip") == chain(render(INPUTS), "bridge", "from_ip")


@pytest.fixture
def both() -> str:
    """The rules of a network with IPv4 and IPv6."""
    return render(
        INPUTS._replace(
            subnets=("198.18.4.0/22", "fd00:4::/64"), hubs=("198.18.4.2", "fd00:4::2"),
            proxies=("198.18.4.5", "fd00:4::5"), allowed=("fd00:1::/64",),
        )
    )  # fmt: skip


def test_ipv6_has_the_same_rules(both: str) -> None:
    neighbours, *rules = chain(both, "bridge", "from_ip6")
    assert neighbours.startswith("icmpv6 type {")
    assert neighbours.endswith("} accept")
    assert rules == [
        "ip6 saddr { fd00:4::2, fd00:4::5 } accept",
        "ip6 daddr { fd00:4::2, fd00:4::5 } tcp flags & (syn | ack) != syn accept",
        "ip6 daddr { fd00:4::5 } tcp dport 8000 accept",
        "drop",
    ]
    # Those who are beside each other on a bridge have link-local addresses, too.
    assert any(rule.startswith("ip6 saddr fe80::/10 ip6 daddr fe80::/10") for rule in chain(both, "bridge", "forward"))
    assert "ip6 saddr fe80::/10 ip6 daddr fd00:4::/64 jump from_ip6" in chain(both, "bridge", "forward")
    assert "ip6 daddr { fd00:1::/64 } accept" in chain(both, "inet", "to_world")
    assert chain(both, "inet", "to_world")[-1] == "ip6 daddr { fc00::/7, fe80::/10 } drop"


def test_a_change_is_one_transaction_that_begins_with_the_removal() -> None:
    text = render(INPUTS)
    assert text.startswith(remove("lab"))
    assert remove("lab").count("delete table") == 2


def test_hubs_that_have_tables() -> None:
    listing = "table ip nat\ntable bridge jh-lab\ntable inet jh-lab\ntable bridge jh-other-2\ntable inet jh-mine\n"
    assert hubs(listing) == {"lab", "other-2"}
    assert hubs("") == set()
