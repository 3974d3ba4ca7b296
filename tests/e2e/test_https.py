"""HTTPS in a real browser that ignores no certificate error: two hubs of one host, with certificates by ACME.

All roles run, Debian's ACME server issues the certificates, and the browser trusts only its authority.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from hosts.fixtures import MakeHost
from hosts.images import docker
from hosts.run import name as run_name
from support.acme import ZONE, AcmeHost
from support.browser import trusting
from support.hub_pages import HubPages
from support.local_site import LocalSite
from support.ports import free_port

FRONT = run_name("https-front")
PASSWORD = "seven-green-bottles-on-a-wall"


class Site(LocalSite):
    """A hub whose certificate is requested by ACME.

    Attributes:
        domain: its host name.
    """

    def __init__(self, part: str, ports: tuple[int, int], settings: dict[str, Any]) -> None:
        self.domain = f"{part}.{ZONE}"
        super().__init__(
            run_name(f"https-{part}"), jupyterhub_front_name=FRONT, jupyterhub_https="acme",
            jupyterhub_domain=self.domain, jupyterhub_bind_address="0.0.0.0", jupyterhub_http_port=ports[0],
            jupyterhub_https_port=ports[1], **settings,
        )  # fmt: skip
        self.secure_url = f"https://{self.domain}:{ports[1]}"


class Place(NamedTuple):
    """Two hubs, the HTTP port of their front, and the authority of their certificates."""

    hub: Site
    lab: Site
    http_port: int
    authority: str


@pytest.fixture(scope="module")
def place(
    built_images: Callable[[str], dict[str, Any]], make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    built_images("5.5.4")
    server = AcmeHost(make_host("acme"))
    ports = free_port("0.0.0.0"), free_port("0.0.0.0")
    pebble = server.start(http_port=ports[0])
    network = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
    gateway = docker("inspect", "--format", network, server.host.container)
    bundle = tmp_path_factory.mktemp("acme") / "authority.pem"
    bundle.write_text(server.authority, encoding="utf-8")
    settings = {"jupyterhub_acme_server": pebble.url, "jupyterhub_acme_ca_bundle": str(bundle)}
    sites = [Site(part, ports, settings) for part in ("hub", "lab")]
    try:
        for site in sites:
            server.set_address(site.domain, gateway)
            site.run()
        yield Place(sites[0], sites[1], ports[0], pebble.root)
    finally:
        for site in sites:
            site.destroy()
        subprocess.run(["docker", "rm", "--force", FRONT], check=False, capture_output=True)
        shutil.rmtree(Path("/etc", FRONT), ignore_errors=True)


@pytest.fixture
def context(place: Place, playwright: Playwright, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser whose only additional authority is that of the certificates."""
    with trusting(playwright, tmp_path, place.authority) as browser:
        made = browser.new_context(viewport={"width": 1200, "height": 750})
        made.set_default_timeout(180_000)
        yield made


def sign_in(page: Page, site: Site) -> HubPages:
    """Sign up and sign in as alice."""
    pages = HubPages(page, site.secure_url)
    pages.sign_up("alice", PASSWORD)
    pages.sign_in("alice", PASSWORD)
    assert pages.login_error() == ""
    return pages


def test_a_browser_works_with_two_hubs_at_once(place: Place, context: BrowserContext) -> None:
    first, second = context.new_page(), context.new_page()
    response = first.goto(f"http://{place.hub.domain}:{place.http_port}/hub/login")
    assert response is not None
    assert first.url.startswith(f"{place.hub.secure_url}/hub/login")
    details = response.security_details()
    assert details is not None
    assert str(details.get("issuer")).startswith("Pebble Intermediate CA"), details
    assert details.get("protocol") == "TLS 1.3"

    hub = sign_in(first, place.hub)
    sign_in(second, place.lab)
    # With one host name, the second sign-in would have ended the first.
    hub.start_server()
    hub.new_notebook()
    assert hub.run_cell("print(6*7)") == "42"
    second.goto(f"{place.lab.secure_url}/hub/home")
    expect(second.locator("#start")).to_be_visible()


def test_a_second_run_changes_nothing(place: Place) -> None:
    # The lab came after the hub: if each changed what the other has at the front, this would.
    second = place.hub.run()
    assert second.recap["changed"] == 0, second.output


def test_a_name_that_does_not_resolve_is_named_and_the_status_is_as_before(place: Place) -> None:
    before = place.hub.container()["Id"], place.hub.container("proxy")["Id"]
    output = " ".join(place.hub.run(fails=True, jupyterhub_domain=f"nowhere.{ZONE}").output.split())
    assert f"no certificate for nowhere.{ZONE} (hub {place.hub.name})" in output
    assert (place.hub.container()["Id"], place.hub.container("proxy")["Id"]) == before
    output = " ".join(place.hub.run(playbook="status.yml").output.split())
    assert f"front: {FRONT} runs for" in output
    assert f"certificate for {place.hub.domain} from Pebble Intermediate CA" in output  # which is fetched
    assert "NOT REACHABLE" not in output
