"""Where the front passes the requests for a hub."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import target


def proxy(*addresses: tuple[str, int], fixed: str = "") -> dict[str, Any]:
    """Return Docker's description of a proxy that publishes its port, or has a fixed address."""
    bindings = [{"HostIp": address, "HostPort": str(port)} for address, port in addresses]
    networks = {"lab-control": {"IPAMConfig": None}, "lab-front": {"IPAMConfig": {"IPv4Address": fixed}}}
    return {"HostConfig": {"PortBindings": {"8000/tcp": bindings}}, "NetworkSettings": {"Networks": networks}}


@pytest.mark.parametrize("address", ["127.0.0.1:28000", "192.0.2.10:8000"])
def test_an_address_is_read_as_it_was_written(address: str, tmp_path: Path) -> None:
    target.write(str(tmp_path), "lab", address)
    assert target.read(str(tmp_path), "lab") == address
    text = (tmp_path / "targets/lab.conf").read_text()
    assert text == f"upstream lab-proxy {{ server {address}; }}\n"


def test_before_there_is_a_proxy_requests_go_nowhere(tmp_path: Path) -> None:
    assert target.read(str(tmp_path), "lab") == ""
    target.write(str(tmp_path), "lab", "")
    assert (tmp_path / "targets/lab.conf").read_text() == "upstream lab-proxy { server 127.0.0.1:1 down; }\n"
    assert target.read(str(tmp_path), "lab") == ""


def test_a_file_is_removed(tmp_path: Path) -> None:
    target.write(str(tmp_path), "lab", "")
    target.remove(str(tmp_path), "lab")
    target.remove(str(tmp_path), "lab")
    assert os.listdir(tmp_path / "targets") == []


@pytest.mark.parametrize(
    ("found", "address"),
    [
        (None, ""),
        ({"HostConfig": {"PortBindings": None}}, ""),
        (proxy(), ""),
        (proxy(("0.0.0.0", 8000)), "127.0.0.1:8000"),
        (proxy(("", 8000)), "127.0.0.1:8000"),
        (proxy(("192.0.2.10", 8000)), "192.0.2.10:8000"),
        (proxy(fixed="198.18.4.2"), "198.18.4.2:8000"),
    ],
)
def test_where_this_host_reaches_a_proxy(found: dict[str, Any] | None, address: str) -> None:
    assert target.published(found) == address


RUNNING, STOPPED = {"State": {"Running": True}}, {"State": {"Running": False}}


@pytest.mark.parametrize(
    ("written", "found", "address"),
    [
        (None, None, ""),
        (None, proxy(fixed="198.18.4.2") | RUNNING, "198.18.4.2:8000"),
        (None, proxy(fixed="198.18.4.2") | STOPPED, ""),
        ("198.18.4.2:8000", None, "198.18.4.2:8000"),
        # The front has the port that a proxy of an earlier version had.
        (None, proxy(("0.0.0.0", 8000)) | STOPPED, ""),
        (None, proxy(("0.0.0.0", 8000)) | RUNNING, ""),
        ("127.0.0.1:8000", proxy(fixed="198.18.4.2") | RUNNING, "198.18.4.2:8000"),
        ("127.0.0.1:8000", proxy(fixed="198.18.4.2") | STOPPED, ""),
    ],
)
def test_the_front_never_passes_requests_to_itself(
    written: str | None, found: dict[str, Any] | None, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if written is not None:
        target.write(str(tmp_path), "lab", written)
    monkeypatch.setattr(target, "inspect_container", lambda client, name: found)
    target.ensure(str(tmp_path), "lab", None, {"127.0.0.1:8000", "0.0.0.0:8000"})
    assert target.read(str(tmp_path), "lab") == address
    assert target.path(str(tmp_path), "lab").endswith("targets/lab.conf")


class Docker:
    """A network with containers."""

    def __init__(self, subnet: str, *used: str) -> None:
        gateway = str(ipaddress.ip_network(subnet)[1])
        self.network: dict[str, Any] = {
            "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway}]},
            "Containers": {one: {"IPv4Address": f"{one}/24"} for one in used},
        }

    def inspect_network(self, name: str) -> dict[str, Any]:
        return self.network


def test_an_address_that_no_container_has_is_chosen() -> None:
    assert target.free_address(Docker("198.18.4.0/24"), "lab-front") == "198.18.4.2"
    assert target.free_address(Docker("198.18.4.0/24", "198.18.4.2", "198.18.4.4"), "lab-front") == "198.18.4.3"
    assert target.free_address(Docker("198.18.4.0/24"), "lab-front", "198.18.4.9") == "198.18.4.9"
    assert target.free_address(Docker("198.18.4.0/24", "198.18.4.9"), "lab-front", "198.18.4.9") == "198.18.4.2"


def test_without_a_free_address_the_network_is_named() -> None:
    with pytest.raises(DeployError, match="network lab-front has no address left for a new proxy"):
        target.free_address(Docker("198.18.4.0/30", "198.18.4.2"), "lab-front")


def test_the_ipv4_subnet_of_a_network_is_used() -> None:
    docker = Docker("198.18.4.0/24")
    docker.network["IPAM"]["Config"].insert(0, {"Subnet": "2001:db8::/64", "Gateway": "2001:db8::1"})
    assert target.free_address(docker, "lab-front") == "198.18.4.2"
    del docker.network["IPAM"]["Config"][1]
    with pytest.raises(DeployError, match="network lab-front has no IPv4 subnet; remove it"):
        target.free_address(docker, "lab-front")
