"""Host names of users, and the hub's pages on the origins of users."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application, RequestHandler

from jupyterhub_deploy_hub import origins


class Section(dict[str, Any]):
    """The part of a traitlets Config that this uses."""

    __setattr__ = dict.__setitem__


class Config:
    def __init__(self) -> None:
        self.JupyterHub = Section()


@pytest.mark.parametrize(
    ("subdomains", "url", "host", "prefix"),
    [
        (False, "", "", None),
        (False, "https://hub.example.com/", "", None),
        (True, "https://hub.example.com/", "https://hub.example.com", True),
        (True, "http://hub.example.com:8000/", "http://hub.example.com:8000", False),
    ],
)
def test_configuration(subdomains: bool, url: str, host: str, prefix: bool | None) -> None:
    c = Config()
    origins.configure(c, subdomains, url)
    assert c.JupyterHub["subdomain_host"] == host
    assert c.JupyterHub.get("cookie_host_prefix_enabled") is prefix
    assert ("subdomain_hook" in c.JupyterHub) is subdomains


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("alice", "alice.hub.example.com", "alice.hub.example.com"),
        ("müller", "xn--mller-kva.hub.example.com", "xn--mller-kva.hub.example.com"),
        ("github:alice", "u-githubal--e5a25d5.hub.example.com", r"u-githubal--[0-9a-f]{20}\.hub\.example\.com"),
        ("a.b", "u-ab--0123456--service.hub.example.com", r"u-ab--[0-9a-f]{20}--service\.hub\.example\.com"),
        # Not those of names that look like one.
        ("u-alice", "u-alice.hub.example.com", "u-alice.hub.example.com"),
        ("alice", "alice.u-x--0123456.example.com", "alice.u-x--0123456.example.com"),
    ],
)
def test_a_digest_in_a_host_name_is_longer(name: str, theirs: str, ours: str) -> None:
    assert re.fullmatch(ours, origins.lengthened(name, theirs))


def test_a_name_with_the_short_digest_of_another_has_another_host() -> None:
    """It was found in seconds, and can be had at GitHub."""
    host = "u-githubal--ccf01c6.hub.example.com"  # JupyterHub's for both
    for name in ("github:alice", "github:al1077032794"):
        assert hashlib.sha256(name.encode()).hexdigest().startswith("ccf01c6")
    assert origins.lengthened("github:alice", host) != origins.lengthened("github:al1077032794", host)


class Page(RequestHandler):
    def get(self) -> None:
        self.write("the hub")

    post = get

    def check_xsrf_cookie(self) -> None:
        """Accept everything."""


class TestCloseOthers(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        application = Application([(".*", Page)], xsrf_cookies=True)
        origins.close_others(application, "https://hub.example.com:8443")
        return application

    def ask(self, host: str, path: str, method: str = "GET") -> tuple[int, str]:
        answer = self.fetch(
            path, method=method, headers={"Host": host}, follow_redirects=False,
            body="x" if method in ("POST", "PUT") else None,
        )  # fmt: skip
        return answer.code, answer.headers.get("Location", "")

    def test_the_hub_answers_at_its_own_name_and_at_those_of_the_deployment(self) -> None:
        for host in (
            "hub.example.com",
            "HUB.example.com:8443",
            "127.0.0.1:8000",
            "jupyterhub-proxy",
            "xhub.example.com",
        ):
            for method in ("GET", "POST"):
                assert self.ask(host, "/hub/login", method) == (200, ""), host

    def test_pages_at_a_users_name_are_at_the_hubs(self) -> None:
        for host in (
            "alice.hub.example.com",
            "Alice.Hub.example.com:8443",
            "a.b.hub.example.com",
            "alice.hub.example.com.",
        ):
            assert self.ask(host, "/hub/login?next=%2Fhub%2Fhome") == (
                302, "https://hub.example.com:8443/hub/login?next=%2Fhub%2Fhome",
            ), host  # fmt: skip
            assert self.ask(host, "/hub") == (302, "https://hub.example.com:8443/hub")
            assert self.ask(host, "/hub/api/user", "HEAD")[0] == 302

    def test_nothing_else_is_accepted_there(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert self.ask("alice.hub.example.com", "/hub/login", method) == (403, "")

    def test_other_paths_are_the_hubs(self) -> None:
        """It redirects them, such as those of a server that does not run."""
        assert self.ask("alice.hub.example.com", "/user/alice/lab") == (200, "")
        assert self.ask("alice.hub.example.com", "/hubs") == (200, "")


def test_without_origins_nothing_is_closed() -> None:
    application = Application([(".*", Page)])
    before = len(application.default_router.rules)
    origins.close_others(application, "")
    assert len(application.default_router.rules) == before
