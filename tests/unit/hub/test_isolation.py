"""The isolation as an operator reads it."""

from __future__ import annotations

import socket
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.hub import isolation


def networks(**addresses: str) -> dict[str, Any]:
    """Return what Docker says of a container in networks of the hub."""
    found = {f"lab-{name}": {"IPAddress": address} for name, address in addresses.items()}
    return {"NetworkSettings": {"Networks": found}}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """A hub with two servers, on a host with a router."""
    hub = networks(network="198.18.4.2", control="198.18.8.2")
    servers = [networks(other="198.18.9.9"), networks(network="198.18.4.9")]
    gateways = {"lab-network": "198.18.4.1", "lab-control": "198.18.8.1", "bridge": "172.17.0.1"}
    monkeypatch.setattr(isolation, "inspect_container", lambda client, name: hub if name == "lab" else None)
    monkeypatch.setattr(isolation.resources, "gateways", lambda client, names: [gateways[name] for name in names])
    monkeypatch.setattr(isolation, "own_address", lambda: "10.0.0.5")
    monkeypatch.setattr(isolation, "router", lambda: "10.0.0.1")
    return Mock(containers=lambda **_: servers)


ALL = {
    "the hub's own port": ("198.18.4.2", 8081),
    "another server": ("198.18.4.9", 8888),
    "the host at 198.18.4.1": ("198.18.4.1", 9),
    "the host at 198.18.8.1": ("198.18.8.1", 9),
    "the host at 172.17.0.1": ("172.17.0.1", 9),
    "the host at 10.0.0.5": ("10.0.0.5", 9),
    "another Docker network": ("198.18.8.2", 8081),
    "the router": ("10.0.0.1", 9),
    "the metadata address": ("169.254.169.254", 80),
}


def yes(address: str, port: int) -> bool:
    return True


def test_each_kind_of_target_is_probed(client: Mock) -> None:
    assert isolation.targets(client, "lab", "full", answers=yes) == ALL


@pytest.mark.parametrize(
    ("allowed", "left_out"),
    [
        ("10.0.0.0/8,198.18.0.0/15", {"the router", "another Docker network"}),  # it opens no host and no server
        ("10.0.0.5", {"the host at 10.0.0.5"}),
        ("198.18.4.9", {"another server"}),
    ],
)
def test_what_is_allowed_is_not_probed(client: Mock, allowed: str, left_out: set[str]) -> None:
    assert set(ALL) - set(isolation.targets(client, "lab", "full", allowed, yes)) == left_out


def test_what_the_host_itself_does_not_reach_is_not_called_blocked(client: Mock) -> None:
    found = isolation.targets(client, "lab", "full", answers=lambda address, port: address == "198.18.8.2")
    assert set(ALL) - set(found) == {"the router", "the metadata address"}


@pytest.mark.parametrize("address", ["203.0.113.1", "8.8.8.8"])
def test_a_router_that_the_rules_do_not_block_is_not_probed(
    client: Mock, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(isolation, "router", lambda: address)
    assert "the router" not in isolation.targets(client, "lab", "full", answers=yes)


def test_the_host_has_no_address_of_ipv6_for_a_server_without(client: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.resources, "gateways", lambda *_: ["198.18.4.1", "fd00::1"])
    assert "the host at fd00::1" not in isolation.targets(client, "lab", "full", answers=yes)


def test_peers_are_isolated_from_hub_and_servers_only(client: Mock) -> None:
    assert list(isolation.targets(client, "lab", "peers")) == ["the hub's own port", "another server"]


def test_what_does_not_exist_is_not_probed(client: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "inspect_container", lambda *_: None)
    monkeypatch.setattr(isolation.resources, "gateways", lambda *_: [])
    monkeypatch.setattr(isolation, "own_address", lambda: None)
    monkeypatch.setattr(isolation, "router", lambda: "")
    client.containers = lambda **_: []
    assert list(isolation.targets(client, "lab", "full", answers=yes)) == ["the metadata address"]


def test_a_closed_port_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isolation.answers("127.0.0.1", port)
    assert isolation.answers("127.0.0.1", port)
    monkeypatch.setattr(isolation.socket, "create_connection", Mock(side_effect=TimeoutError))
    assert not isolation.answers("127.0.0.1", port)


def test_an_isolated_hub() -> None:
    reached = {"the host": False, "another server": False}
    assert isolation.messages("lab-guard", "full", True, reached) == [
        "isolation: full; blocked for a new server: the host, another server"
    ]


def test_what_is_reached_is_named() -> None:
    reached = {"the host": True, "another server": False}
    assert isolation.messages("lab-guard", "full", True, reached) == [
        "isolation: full; blocked for a new server: another server",
        "NOT ISOLATED: a new server reaches the host; run make site, then read `docker logs lab-guard`",
    ]


def test_a_guard_without_rules() -> None:
    assert isolation.messages("lab-guard", "peers", False, {}) == [
        "isolation: peers",
        "NOT GUARDED: lab-guard does not keep the rules of the isolation; run make site",
    ]
