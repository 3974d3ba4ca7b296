"""Which containers have the port that the front takes over; tests/integration/front moves a port."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.front import handover

from support.factories.sites import site

SITE = site("lab", https="none", domain="", http_port=8000, certificate="")


def container(name: str, hub: str = "lab", port: int = 8000, ip: str = "0.0.0.0") -> dict[str, Any]:
    ports = [{"IP": ip, "PublicPort": port, "Type": "tcp"}]
    return {"Names": [f"/{name}"], "Labels": {LABEL_HUB: hub}, "Ports": ports}


def test_the_hubs_own_proxy_holds_the_port() -> None:
    others = [container("lab-proxyx"), container("lab"), container("other-proxy", "other")]
    assert handover.holders([*others, container("lab-proxy")], SITE) == ["lab-proxy"]


@pytest.mark.parametrize(
    ("published", "wanted", "collide"),
    [
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "192.0.2.10", True),
        ("::", "192.0.2.10", True),
        ("192.0.2.10", "192.0.2.10", True),
        ("127.0.0.1", "192.0.2.10", False),
    ],
)
def test_a_port_is_taken_at_the_same_address(published: str, wanted: str, collide: bool) -> None:
    found = handover.holders([container("lab-proxy", ip=published)], replace(SITE, bind_address=wanted))
    assert bool(found) == collide


def test_https_takes_no_port_from_a_proxy() -> None:
    assert handover.holders([container("lab-proxy")], site("lab", http_port=8000)) == []


def test_what_has_another_port_or_owner_is_left_alone() -> None:
    other_port = container("lab-proxy", port=28000)
    none_published: dict[str, Any] = {**container("lab-proxy"), "Ports": None}
    assert handover.holders([other_port, none_published, container("lab-proxy", "other")], SITE) == []
