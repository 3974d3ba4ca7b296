"""What the site of this scenario promises: verify.yml runs this while the servers are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.hosts import Host
from support.mixins.https import HttpsTests
from support.mixins.site import Site, SiteTests
from support.molecule_acme import DOMAIN, known
from support.names import resolve


class TestSite(HttpsTests, SiteTests):
    """All that a site promises, over HTTPS."""

    @pytest.fixture
    def authority(self) -> str:
        return known().root

    @pytest.fixture
    def site(self, authority: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
        host, bundle = Host.find("molecule-https"), tmp_path / "root.pem"
        bundle.write_text(authority, encoding="utf-8")
        resolve(monkeypatch, DOMAIN, host.address, bundle)
        password = host.read("/etc/jupyterhub/secrets/admin_password").strip()
        return Site(host, f"https://{DOMAIN}", "admin", password)
