"""Where the front passes the requests for a hub."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import target


def proxy(*addresses: tuple[str, int]) -> dict[str, Any]:
    """Return Docker's description of a proxy that publishes its port."""
    bindings = [{"HostIp": address, "HostPort": str(port)} for address, port in addresses]
    return {"HostConfig": {"PortBindings": {"8000/tcp": bindings}}}


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
    ("found", "address", "port"),
    [
        (None, "", None),
        ({"HostConfig": {"PortBindings": None}}, "", None),
        (proxy(), "", None),
        (proxy(("127.0.0.1", 28000)), "127.0.0.1:28000", 28000),
        (proxy(("0.0.0.0", 8000)), "127.0.0.1:8000", None),
        (proxy(("", 8000)), "127.0.0.1:8000", None),
        (proxy(("192.0.2.10", 8000)), "192.0.2.10:8000", None),
        (proxy(("127.0.0.1", 8000)), "127.0.0.1:8000", None),  # the hub's port, which the front may have to take
    ],
)
def test_a_proxy_is_reached_where_docker_publishes_it(
    found: dict[str, Any] | None, address: str, port: int | None
) -> None:
    assert target.published(found) == address
    assert target.internal_port(found) == port


def test_the_first_free_port_is_chosen() -> None:
    first = target.choose_port("lab", lambda _: True)
    assert first in target.PORTS
    assert first == target.choose_port("lab", lambda _: True)
    assert target.choose_port("lab", lambda port: port != first) != first
    assert target.choose_port("lab", lambda port: port == first - 1) == first - 1


def test_two_hubs_begin_at_other_ports() -> None:
    assert target.choose_port("lab", lambda _: True) != target.choose_port("jupyterhub", lambda _: True)


def test_without_a_free_port_the_range_is_named() -> None:
    with pytest.raises(DeployError, match="none of the ports 28000 to 28999 of this host is free for the proxy of hub"):
        target.choose_port("lab", lambda _: False)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_on_which_something_listens_is_not_free(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert not target.is_free(port)


def test_a_port_that_nothing_uses_is_free() -> None:
    assert any(map(target.is_free, target.PORTS))


def test_a_port_that_the_front_uses_for_another_hub_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "is_free", lambda port: True)  # the other hub's proxy is stopped
    first = target.free_port(str(tmp_path), "lab")
    target.write(str(tmp_path), "lab", f"127.0.0.1:{first}")
    assert target.free_port(str(tmp_path), "lab") == first
    target.write(str(tmp_path), "course", f"127.0.0.1:{first}")
    assert target.free_port(str(tmp_path), "lab") == first + 1
