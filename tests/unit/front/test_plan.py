"""What is served while something changes, and which wishes conflict; tests/integration/front runs the front."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front.plan import check_conflict, differences, meanwhile, with_old_names

from support.factories.sites import site

ACME = site(https="acme", certificate="acme/live/jupyterhub")
PLAIN = site(https="none", domain="", http_port=8000, certificate="")
CHALLENGE = replace(ACME, certificate="")


def test_while_the_first_certificate_is_requested_only_the_challenge_is_served() -> None:
    assert meanwhile(None, ACME) == [CHALLENGE]


def test_while_another_certificate_is_requested_the_old_one_is_served() -> None:
    own = site()
    assert meanwhile(own, ACME) == [replace(ACME, certificate=own.certificate)]
    other = replace(ACME, domain="other.example.com")
    assert meanwhile(other, ACME) == [other, CHALLENGE]
    behind = site(https="behind", certificate="", http_port=8080)
    assert meanwhile(behind, ACME) == [behind, CHALLENGE]
    same = replace(behind, http_port=80)
    assert meanwhile(same, ACME) == [same]
    elsewhere = replace(same, bind_address="192.0.2.10")
    assert meanwhile(elsewhere, ACME) == [elsewhere, CHALLENGE]
    wildcard = replace(ACME, subdomains=True, certificate="own/jupyterhub/2")
    assert meanwhile(wildcard, ACME) == [wildcard]  # users keep their names


def test_until_the_hub_has_its_new_names_the_old_ones_are_served() -> None:
    old, moved = site(), site(domain="other.example.com")
    assert with_old_names(None, moved) == [moved]
    assert with_old_names(old, site(hsts_seconds=60)) == [site(hsts_seconds=60)]
    assert with_old_names(old, moved) == [old, moved]
    wildcard = site(subdomains=True, certificate="own/jupyterhub/2")
    assert with_old_names(wildcard, old) == [wildcard]
    assert with_old_names(old, wildcard) == [wildcard]
    assert with_old_names(PLAIN, old) == [PLAIN, old]
    assert with_old_names(old, PLAIN) == [old, PLAIN]


def test_a_new_site_is_named_by_its_url() -> None:
    assert differences(None, site()) == ["the front serves https://jupyterhub.example.com/ for hub jupyterhub"]


def test_another_domain_is_named_by_the_url() -> None:
    assert differences(PLAIN, site(http_port=8000)) == [
        "the front serves https://jupyterhub.example.com/ for hub jupyterhub",
        "https changed: none → own",
        "the certificate changed",
    ]
    (serves, *_) = differences(site(), PLAIN)
    assert serves == "the front serves http://localhost:8000/ for hub jupyterhub"


def test_each_change_is_named() -> None:
    changed = replace(site(), https_port=8443, hsts_seconds=60, certificate="own/jupyterhub/2")
    assert differences(site(), changed) == [
        "https_port changed: 443 → 8443",
        "hsts_seconds changed: 0 → 60",
        "the certificate changed",
    ]
    assert differences(site(), site()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"domain": "jupyterhub.example.com"},
            "has the domain jupyterhub.example.com already",
        ),
        (
            {"bind_address": "192.0.2.10"},
            "at 0.0.0.0, and lab at 192.0.2.10; set the same",
        ),
        ({"domain": "lab.jupyterhub.example.com"}, "overlap: with jupyterhub_subdomains"),
        ({"domain": "example.com", "subdomains": True}, "overlap: with jupyterhub_subdomains"),
    ],
)
def test_conflicts_with_another_hub(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DeployError, match=message):
        check_conflict(site("lab", **values), site(subdomains=True))


@pytest.mark.parametrize(
    "values",
    [{}, {"domain": "lab-jupyterhub.example.com"}, {"bind_address": "127.0.0.1", "http_port": 8080, "https": "behind"}],
)
def test_hubs_that_share_a_front(values: dict[str, Any]) -> None:
    check_conflict(site("lab", **values), site(subdomains=True))


def test_a_port_of_one_hub_only() -> None:
    check_conflict(replace(PLAIN, hub="lab", http_port=8001), PLAIN)
    check_conflict(PLAIN, site("lab"))
    with pytest.raises(
        DeployError, match=r"hub jupyterhub on this host has port 8000 already; .* for lab: jupyterhub_port"
    ):
        check_conflict(replace(PLAIN, hub="lab", bind_address="127.0.0.1"), PLAIN)
    with pytest.raises(
        DeployError, match=r"has port 8000 already; choose another port for lab: jupyterhub_http_port or"
    ):
        check_conflict(site("lab", http_port=8000), PLAIN)


def test_a_port_is_for_https_or_for_http() -> None:
    lab = site("lab", https="behind", domain="lab.example.com", http_port=443, certificate="")
    for one, other in ((lab, site()), (site(), lab)):
        expected = rf"has port 443 for HTTPS, and hub lab wants it for HTTP; choose another port for {one.hub}:"
        with pytest.raises(DeployError, match=expected):
            check_conflict(one, other)
