"""What each site of this scenario promises: verify.yml runs this while the servers are there."""

from __future__ import annotations

import os

import pytest

from hosts.hosts import Host
from support.mixins.site import Site, SiteTests

#: test_molecule.py says which of the platforms it makes.
SERVERS = os.environ.get("JHD_SERVERS", "debian12 debian13").split()


class TestSite(SiteTests):
    """All that a site promises, on each of the servers."""

    @pytest.fixture(params=SERVERS)
    def site(self, request: pytest.FixtureRequest) -> Site:
        host = Host.find(f"molecule-{request.param}")
        password = host.read("/etc/jupyterhub/secrets/admin_password").strip()
        return Site(host, f"http://{host.address}:8000", "admin", password)
