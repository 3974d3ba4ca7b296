"""One login page for passwords, GitHub, GitLab and another hub, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from support.hub_pages import HubPages
from support.long_runs import VERSIONS
from support.oauth_hub import OAUTH_CLIENT, OTHER_SECRET, hub_of, provider_of
from support.oauth_provider import CLIENT_ID, OAuthProvider
from support.ports import free_port
from support.signin_hub import ADMIN_PASSWORD, Browser, HubContainer

PASSWORD = "three unrelated words"


class Place(NamedTuple):
    """A hub where alice can sign in with GitHub and GitLab, and bob cannot; with a GitLab that does not answer, and
    with another hub, where yan can sign in, and yvo cannot."""

    hub: HubContainer
    provider: OAuthProvider

    @property
    def url(self) -> str:
        """The hub's address, without a trailing slash."""
        return self.hub.url.removesuffix("/hub/")


@pytest.fixture(scope="module", params=VERSIONS)
def place(
    request: pytest.FixtureRequest, hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    image = hub_image(request.param)
    provider = provider_of()
    # Cookies do not depend on the port, so two hubs in one browser need two addresses.
    here = f"127.0.0.1:{free_port()}"
    other = hub_of(
        image, tmp_path_factory.mktemp("other"), provider, authenticators=["native"],
        extra=OAUTH_CLIENT.replace("ADDRESS/hub", f"{here}/hub/campus"),
    )  # fmt: skip
    try:
        other.start()
        for name in ("yan", "yvo"):
            Browser(other).sign_up(name, PASSWORD)
        down = {
            "name": "down", "class": "gitlab", "label": "the old GitLab", "secrets": {"client_secret": "x"},
            "traits": {"client_id": CLIENT_ID, "gitlab_url": "http://127.0.0.1:9", "allow_all": True,
                       "authorize_url": f"{provider.url}/oauth/authorize"},
        }  # fmt: skip
        campus = {
            "name": "campus", "class": "generic-oauth", "label": "the campus hub",
            "secrets": {"client_secret": OTHER_SECRET},
            "traits": {"client_id": "service-other", "username_claim": "name", "allowed_users": ["yan"],
                       "authorize_url": f"{other.url}api/oauth2/authorize", "token_url": f"{other.url}api/oauth2/token",
                       "userdata_url": f"{other.url}api/user"},
        }  # fmt: skip
        hub = hub_of(
            image, tmp_path_factory.mktemp("ways"), provider, public_url=f"http://{here}/",
            authenticators=["native", "github", "gitlab", campus, down],
            github_allowed_organizations=["course"], gitlab_allowed_groups=["faculty/lab"],
        )  # fmt: skip
        try:
            provider.callback = hub.start().url
            yield Place(hub, provider)
        finally:
            hub.remove()
    finally:
        other.remove()
        provider.stop()


def sign_in_with(person: Page, place: Place, label: str, who: str) -> None:
    """Press a button of the login page and sign in at the provider."""
    person.goto(f"{place.url}/hub/login?next=%2Fhub%2Fhome")
    person.get_by_role("button", name=f"Sign in with {label}").click()
    expect(person.get_by_text("Who are you?")).to_be_visible()
    person.get_by_role("link", name=who, exact=True).click()
    person.wait_for_load_state()


def is_not_signed_in(person: Page, place: Place) -> None:
    """Check that the page shows one error and a link back to the login page."""
    expect(person.locator("h1")).to_have_text("You are not signed in")
    expect(person.locator(".error p")).to_have_count(1)
    person.get_by_role("button", name="Back to the sign-in page").click()
    expect(person.locator("#username_input")).to_be_visible()
    person.goto(f"{place.url}/hub/home")
    expect(person.locator("#username_input")).to_be_visible()


@pytest.mark.parametrize(("label", "name"), [("GitHub", "github:alice"), ("GitLab", "gitlab:alice")])
def test_a_user_signs_in_at_a_provider(place: Place, person: Page, label: str, name: str) -> None:
    sign_in_with(person, place, label, "alice")

    expect(person).to_have_url(f"{place.url}/hub/home")
    expect(person.locator(".navbar")).to_contain_text(name)
    expect(person.get_by_role("link", name="Change password")).to_have_count(0)


@pytest.mark.parametrize("label", ["GitHub", "GitLab"])
def test_a_user_who_is_not_allowed_sees_why(place: Place, person: Page, label: str, screenshots: Path) -> None:
    sign_in_with(person, place, label, "bob")

    expect(person.locator("body")).to_contain_text(f"{label} knows you, but this hub does not let you in.")
    person.screenshot(path=screenshots / "sign-in-refused.png")
    assert place.hub.logged(f"User '{label.lower()}:bob' not allowed.")
    is_not_signed_in(person, place)


@pytest.mark.parametrize("label", ["GitHub", "GitLab"])
def test_an_expired_code(place: Place, person: Page, label: str, screenshots: Path) -> None:
    place.provider.codes_expire = True
    try:
        sign_in_with(person, place, label, "alice")
    finally:
        place.provider.codes_expire = False

    expect(person.locator("body")).to_contain_text(
        f"Signing in with {label} took too long, or was done twice. Please sign in again."
    )
    person.screenshot(path=screenshots / "sign-in-expired.png")
    assert place.hub.logged(f"{label}: the code has expired or was used before")
    is_not_signed_in(person, place)


@pytest.mark.parametrize("label", ["GitHub", "GitLab"])
def test_a_wrong_client_secret(place: Place, person: Page, label: str, screenshots: Path) -> None:
    right, place.provider.client_secret = place.provider.client_secret, "another"
    try:
        sign_in_with(person, place, label, "alice")
    finally:
        place.provider.client_secret = right

    expect(person.locator("body")).to_contain_text(
        f"{label} does not accept this hub. Please contact the administrator of this hub."
    )
    person.screenshot(path=screenshots / "sign-in-wrong-secret.png")
    assert place.hub.logged(f"{label} refused this hub's client id or secret")
    is_not_signed_in(person, place)


def test_a_provider_that_does_not_answer(place: Place, person: Page, screenshots: Path) -> None:
    sign_in_with(person, place, "the old GitLab", "alice")

    expect(person.locator("body")).to_contain_text(
        "This hub cannot reach the old GitLab. Please try again later. If it happens again, contact the administrator"
    )
    person.screenshot(path=screenshots / "sign-in-down.png")
    assert place.hub.logged("the old GitLab cannot be reached, at http://127.0.0.1:9/oauth/token")
    is_not_signed_in(person, place)


@pytest.mark.parametrize("name", ["yan", "yvo"])
def test_another_hub_is_the_provider(place: Place, person: Page, name: str) -> None:
    """With a provider that is not part of these tests."""
    person.goto(f"{place.url}/hub/login?next=%2Fhub%2Fhome")
    person.get_by_role("button", name="Sign in with the campus hub").click()
    expect(person).to_have_url(re.compile(r"^(?!http://127\.0\.0\.1)"))
    person.fill("#username_input", name)
    person.fill("#password_input", PASSWORD)
    person.click("#login_submit")
    person.wait_for_url(f"{place.url}/**")

    if name == "yan":
        expect(person).to_have_url(f"{place.url}/hub/home")
        expect(person.locator(".navbar")).to_contain_text("campus:yan")
    else:
        expect(person.locator("body")).to_contain_text("the campus hub knows you, but this hub does not let you in.")
        is_not_signed_in(person, place)


def test_a_password_on_the_same_page(place: Place, person: Page, screenshots: Path) -> None:
    person.goto(f"{place.url}/hub/login?next=%2Fhub%2Fhome")
    person.locator("#username_input").wait_for()
    # The picture for the documentation shows a hub with TLS, which has no warning, and only GitHub and GitLab.
    person.evaluate("document.getElementById('insecure-login-warning').remove()")
    person.evaluate("document.querySelectorAll('.other-ways a').forEach((a, i) => i < 2 || a.remove())")
    person.screenshot(path=screenshots / "sign-in-several.png")
    pages = HubPages(person, place.url)
    pages.sign_in("admin", ADMIN_PASSWORD)

    assert pages.login_error() == ""
    expect(person.get_by_role("link", name="Change password")).to_be_visible()
