"""What a run reports about a site; tests/integration/front runs the front."""

from __future__ import annotations

from dataclasses import replace

from ansible.module_utils.jupyterhub_deploy.front.front import differences

from support.factories.sites import site


def test_a_new_site_is_named_by_its_url() -> None:
    assert differences(None, site()) == ["the front serves https://jupyterhub.example.com/ for hub jupyterhub"]


def test_each_change_is_named() -> None:
    changed = replace(site(), port=8001, hsts_seconds=60, certificate="own/jupyterhub/2")
    assert differences(site(), changed) == [
        "port changed: 8000 → 8001",
        "hsts_seconds changed: 0 → 60",
        "the certificate changed",
    ]
    assert differences(site(), site()) == []
