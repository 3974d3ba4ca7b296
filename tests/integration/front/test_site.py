"""A hub that gets HTTPS: through all roles, with users at work, and back to HTTP.

The names are resolved in this process only; the certificates are verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from hosts.run import name as run_name
from support.front_client import FrontClient
from support.https_site import DOMAIN, HttpsSite
from support.hub_http import HubSession
from support.names import resolve
from support.poller import Notebook, Poll

NAME = run_name("tls")
FRONT = f"{NAME}-front"
PASSWORD = "seven-green-bottles-on-a-wall"


class SourceAddress(HTTPAdapter):
    """Connects from an address of this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Create the pool of connections."""
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)


@pytest.fixture(scope="module")
def http_site(
    built_images: Callable[[str], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpsSite]:
    """The hub without HTTPS, as all hubs begin."""
    built_images("5.5.4")
    site = HttpsSite(NAME, tmp_path_factory.mktemp("tls"))
    site.destroy()
    try:
        site.run()
        yield site
    finally:
        site.destroy()


@pytest.fixture(autouse=True)
def names(http_site: HttpsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the domain to this machine, and trust the test's authority."""
    resolve(monkeypatch, DOMAIN, "127.0.0.1", http_site.bundle)


@pytest.fixture
def site(http_site: HttpsSite) -> HttpsSite:
    """The hub with HTTPS and alice's account; the first test made both, unless it is left out."""
    if "jupyterhub_https" not in http_site.settings:
        HubSession(http_site.url).sign_up("alice", PASSWORD)
        http_site.settings.update(http_site.secure())
        http_site.run()
    return http_site


def test_a_hub_gets_https_while_a_user_works(http_site: HttpsSite) -> None:
    plain = HubSession(http_site.url)
    plain.sign_up("alice", PASSWORD)
    assert plain.sign_in("alice", PASSWORD)
    open_before = Notebook(plain, "alice")
    server = http_site.container("jupyter-alice")["Id"]

    http_site.settings.update(http_site.secure())
    output = http_site.run().output

    assert f"the front serves {http_site.secure_url}/ for hub {NAME}" in output
    assert f"JupyterHub answers at {http_site.secure_url}/" in output
    assert http_site.container("jupyter-alice")["Id"] == server  # the user's server was not touched
    assert open_before.problem_with_variable() == ""  # the web socket was not interrupted
    # The proxy has no port on this host: only the front reaches it.
    assert not http_site.container("proxy")["HostConfig"]["PortBindings"]

    session = http_site.session()
    assert session.sign_in("alice", PASSWORD)
    assert all(cookie.secure for cookie in session.cookies if cookie.name == "jupyterhub-hub-login")
    after = Notebook(session, "alice")
    assert after.problem_with_variable() == ""


def test_a_second_run_changes_nothing(site: HttpsSite) -> None:
    assert site.run().recap["changed"] == 0
    assert site.run(check=True).recap["changed"] == 0


def test_a_new_certificate_and_a_new_hub_interrupt_nobody(site: HttpsSite) -> None:
    session = site.session()
    assert session.sign_in("alice", PASSWORD)
    notebook = Notebook(session, "alice")
    client = FrontClient(site.http_port, site.https_port, site.authority.root)
    served = client.served(DOMAIN)
    site.secure()
    with Poll(notebook) as poll:
        output = site.run(jupyterhub_extra_config="c.JupyterHub.allow_named_servers = False").output
    assert "the certificate changed" in output
    assert "configuration changed" in output
    assert client.served(DOMAIN) != served
    assert poll.report.uninterrupted, poll.report


@pytest.mark.long
def test_a_new_proxy_interrupts_nobody(site: HttpsSite, tmp_path: Path) -> None:
    session = site.session()
    assert session.sign_in("alice", PASSWORD)
    notebook = Notebook(session, "alice")
    image = f"{NAME}/proxy:another"
    (tmp_path / "Dockerfile").write_text(f"FROM {site.container('proxy')['Config']['Image']}\nENV ANOTHER=1\n")
    site.client.images.build(path=str(tmp_path), tag=image, rm=True)
    try:
        with Poll(notebook) as poll:
            output = site.run(jupyterhub_images_proxy=image).output
        assert "proxy image name changed" in output
        assert poll.report.uninterrupted, poll.report
        assert poll.report.hub_down == 0, poll.report
    finally:
        site.run()
        site.client.images.remove(image, force=True)


def test_the_hub_sees_the_addresses_of_browsers(site: HttpsSite) -> None:
    # The front is reached from another address of this machine, by a client that also claims to be somebody else.
    session = site.session()
    session.mount("https://", SourceAddress("127.0.0.77"))
    session.headers["X-Forwarded-For"] = "203.0.113.9"
    assert not session.sign_in("alice", "a-wrong-password-on-purpose")
    lines = [line for line in site.logs().splitlines() if "Failed sign-in" in line]
    assert lines[-1].endswith("from address 127.0.0.77"), lines[-1]


@pytest.mark.long
def test_a_hub_goes_back_to_http(site: HttpsSite) -> None:
    for setting in site.secure():
        del site.settings[setting]
    output = site.run().output
    assert f"the front serves {site.url}/ for hub {NAME}" in output
    assert "Passwords are sent unencrypted" not in output  # this one listens on 127.0.0.1 only
    session = HubSession(site.url)
    assert session.sign_in("alice", PASSWORD)
    assert site.run().recap["changed"] == 0


def test_a_wrong_certificate_stops_the_run_before_anything_is_changed(http_site: HttpsSite) -> None:
    settings = http_site.secure()
    issued = http_site.authority.issue("other.example.com")
    Path(settings["jupyterhub_tls_certificate"]).write_text(issued.chain, encoding="utf-8")
    before = http_site.containers()
    output = " ".join(http_site.run(fails=True, **settings).output.split())
    assert "Nothing was changed." in output
    assert "the key does not belong to the certificate" in output
    assert http_site.containers() == before
