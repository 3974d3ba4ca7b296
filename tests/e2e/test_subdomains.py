"""An origin for each user, in a real browser: what a user's page can do to who opens it, and that everything works."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from hosts.run import name as run_name
from support.browser import trusting
from support.hub_http import HubSession
from support.hub_pages import SPAWN_TIMEOUT_MS, HubPages
from support.names import resolve
from support.oauth_hub import provider_of
from support.origin_site import ATTACK, HOST, OriginSite

ATTACKER = "mallory"
MODES = ["plain", "subdomains", "subdomains-https"]
#: Subdomains without HTTPS in long runs only.
with_subdomains = pytest.mark.parametrize(
    "site", [pytest.param("subdomains", marks=pytest.mark.long), "subdomains-https"], indirect=True
)


@pytest.fixture(scope="module", params=MODES)
def site(
    request: pytest.FixtureRequest,
    hub_image: Callable[[str], str],
    proxy_image: str,
    notebook_image: Callable[[str], str],
    front_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OriginSite]:
    version = "6.1.1" if request.param == "subdomains-https" else "5.5.4"
    provider = provider_of()
    made = OriginSite(
        run_name(f"origins-{MODES.index(request.param)}"), hub_image(version), proxy_image, notebook_image(version),
        front_image, config_dir=tmp_path_factory.mktemp("etc"), provider=provider,
        subdomains=request.param != "plain", tls=request.param == "subdomains-https",
    )  # fmt: skip
    bundle = tmp_path_factory.mktemp("authority") / "root.pem"
    bundle.write_text(made.authority.root if made.authority else "", encoding="utf-8")
    try:
        with pytest.MonkeyPatch.context() as patch:
            resolve(patch, HOST, "127.0.0.1", bundle)
            made.start()
            yield made
    finally:
        made.destroy()
        provider.stop()


@pytest.fixture(scope="module")
def mallory(site: OriginSite) -> HubSession:
    """A user with a running server that serves the attack to everybody."""
    session = site.session(ATTACKER)
    session.spawn(ATTACKER)
    site.publish(ATTACKER, "x.html", ATTACK)
    return session


@pytest.fixture(scope="module")
def admin(site: OriginSite) -> HubSession:
    """The administrator's session for the API, not in the browser."""
    return site.session("admin", site.admin_password())


@pytest.fixture(scope="module")
def browser(
    site: OriginSite, chromium: Browser, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser that trusts the authority of the site, if it has one."""
    if not site.authority:
        yield chromium
        return
    with trusting(playwright, tmp_path_factory.mktemp("home"), site.authority.root) as made:
        yield made


@pytest.fixture
def window(browser: Browser) -> Iterator[Page]:
    """A window of the browser, without cookies."""
    context = browser.new_context(viewport={"width": 1200, "height": 750})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def signed_in(window: Page, site: OriginSite) -> HubPages:
    """Sign the administrator in."""
    pages = HubPages(window, site.origin())
    pages.sign_in("admin", site.admin_password())
    assert pages.login_error() == ""
    return pages


def own(site: OriginSite, name: str = ATTACKER) -> str:
    """Return the origin of a user's pages."""
    return site.origin(name if site.settings["subdomains"] else "")


def result_of_attack(window: Page, site: OriginSite, hub: str, how: str) -> str:
    """Open the attacker's page; return what it reports. `hub` is the origin whose pages it uses."""
    window.goto(f"{own(site)}/user/{ATTACKER}/static/x.html?how={how}&hub={hub}")
    window.wait_for_function("document.title != 'busy'")
    return window.title()


@pytest.mark.parametrize("site", MODES[:1], indirect=True)
def test_without_subdomains_a_page_of_a_user_takes_over_who_opens_it(
    site: OriginSite, mallory: HubSession, admin: HubSession, window: Page
) -> None:
    signed_in(window, site)

    assert result_of_attack(window, site, "", "token") == "201 admin"
    assert len(site.stolen_tokens(admin, "admin")) == 1
    assert result_of_attack(window, site, "", "page") == "admin"


@with_subdomains
def test_with_subdomains_the_same_page_has_no_power(
    site: OriginSite, mallory: HubSession, admin: HubSession, window: Page
) -> None:
    signed_in(window, site)

    for hub in ("", site.origin()):
        for how in ("token", "page"):
            assert result_of_attack(window, site, hub, how).startswith("failed: "), (hub, how)
    assert site.stolen_tokens(admin, "admin") == []


@with_subdomains
def test_nobody_can_sign_in_on_a_users_origin(
    site: OriginSite, mallory: HubSession, admin: HubSession, window: Page
) -> None:
    """Or its user's pages had the session."""
    page = f"/user/{ATTACKER}/static/x.html?how=token&hub="
    window.goto(f"{own(site)}/hub/login?next={quote(page, safe='')}")
    assert window.url.startswith(f"{site.origin()}/hub/login?next=")
    window.fill("#username_input", "admin")
    window.fill("#password_input", site.admin_password())
    window.click("#login_submit")
    window.wait_for_url(f"{own(site)}/**")
    window.wait_for_function("document.title != 'busy'")
    assert window.title().startswith("failed: ")
    assert site.stolen_tokens(admin, "admin") == []

    host = {"Host": f"{ATTACKER}.{HOST}:{site.public_port}"}
    answer = mallory.post(f"{mallory.url}/hub/login", data={"username": "admin"}, headers=host, timeout=30)
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (403, None)


@with_subdomains
def test_cookies_that_a_users_page_sets_do_not_reach_the_hub(
    site: OriginSite, mallory: HubSession, window: Page
) -> None:
    """With HTTPS; it could sign its visitors in as another user otherwise."""
    signed_in(window, site)
    cookies = {cookie["name"]: cookie for cookie in window.context.cookies(f"{site.origin()}/hub/")}
    secure = bool(site.authority)
    name = "__Host-jupyterhub-hub-login" if secure else "jupyterhub-hub-login"
    assert (cookies[name]["domain"], cookies[name]["secure"]) == (HOST, secure)
    window.goto(f"{own(site)}/user/{ATTACKER}/static/x.html?how=token&hub=")
    window.evaluate(f"document.cookie = '{name}=forged; domain={HOST}; path=/hub/{'; secure' if secure else ''}'")
    forged = [one for one in window.context.cookies(f"{site.origin()}/hub/") if one["value"] == "forged"]
    assert bool(forged) != secure


@with_subdomains
def test_the_hubs_pages_and_a_server_with_a_kernel(site: OriginSite, window: Page) -> None:
    hub, password = HubPages(window, site.origin()), secrets.token_hex(8)
    hub.sign_up("alice", password)
    hub.sign_in("alice", password)
    expect(window).to_have_url(f"{site.origin()}/hub/home")

    window.goto(f"{site.origin()}/hub/token", wait_until="networkidle")
    window.get_by_role("button", name="Request new API token").click()
    expect(window.locator("#token-result")).to_have_text(re.compile("^[0-9a-f]{32,}"))

    hub.start_server()
    assert window.url.startswith(f"{site.origin('alice')}/user/alice/lab")
    hub.new_notebook()
    assert hub.run_cell("print(6*7)") == "42"

    # The same server by the address of the hub, such as in a bookmark from before.
    window.goto(f"{site.origin()}/user/alice/lab")
    hub.wait_for_lab()
    assert window.url.startswith(f"{site.origin('alice')}/user/alice/lab")

    window.goto(f"{site.origin()}/hub/spawn/alice/second")
    window.wait_for_url(f"{site.origin('alice')}/user/alice/second/lab**", timeout=SPAWN_TIMEOUT_MS)
    hub.new_notebook()
    assert hub.run_cell("print(2*3)") == "6"


@with_subdomains
def test_an_administrator_opens_a_users_server(site: OriginSite, mallory: HubSession, window: Page) -> None:
    hub = signed_in(window, site)
    window.goto(f"{site.origin()}/hub/admin", wait_until="networkidle")
    window.locator("tr", has_text=ATTACKER).first.get_by_text("Access Server").click()
    window.get_by_role("button", name="Authorize").click()
    hub.wait_for_lab()
    assert window.url.startswith(f"{own(site)}/user/{ATTACKER}/lab")


@with_subdomains
def test_a_user_of_a_provider_has_a_label_that_dns_accepts(site: OriginSite, window: Page) -> None:
    hub = HubPages(window, site.origin())
    window.goto(f"{site.origin()}/hub/login?next=%2Fhub%2Fhome")
    window.get_by_role("button", name="Sign in with GitHub").click()
    window.get_by_role("link", name="alice", exact=True).click()
    expect(window.locator(".navbar")).to_contain_text("github:alice")

    hub.start_server()
    label = f"u-githubal--{hashlib.sha256(b'github:alice').hexdigest()[:20]}"
    assert window.url.startswith(f"{site.origin(label)}/user/github%3Aalice/lab")
    hub.new_notebook()
    assert hub.run_cell("print(6*7)") == "42"
