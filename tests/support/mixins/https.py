"""Tests of a site with HTTPS, by name; a test class inherits them.

The class provides a fixture ``site`` whose URL begins with ``https``, in a process where its name resolves
(support.names), and a fixture ``authority``: PEM text of the only authority that its clients trust.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import pytest
import requests

from support.mixins.site import Site

#: Of the proxy, its API, and the hub.
INSIDE = (8000, 8001, 8081)


class HttpsTests:
    """The certificate, and what is not served without it."""

    def test_the_certificate_is_of_the_authority(self, site: Site, authority: str) -> None:
        domain = str(urlsplit(site.url).hostname)
        context = ssl.create_default_context(cadata=authority)
        with (
            socket.create_connection((domain, 443), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=domain) as connection,
        ):
            assert connection.version() == "TLSv1.3"
            assert (connection.getpeercert() or {})["subjectAltName"] == (("DNS", domain),)
        with pytest.raises(requests.exceptions.SSLError):  # this machine does not know the authority
            requests.get(f"{site.url}/hub/health", timeout=30, verify="/etc/ssl/certs/ca-certificates.crt")

    def test_plain_http_leads_to_https(self, site: Site) -> None:
        page = "/hub/login?next=%2Fhub%2Fhome"
        answer = requests.get(site.url.replace("https:", "http:") + page, timeout=30, allow_redirects=False)
        assert answer.is_permanent_redirect
        assert answer.headers["Location"] == site.url + page

    @pytest.mark.parametrize("port", INSIDE)
    def test_only_the_front_is_reachable(self, site: Site, port: int) -> None:
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((site.host.address, port), timeout=5)
