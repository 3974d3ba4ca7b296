"""One login page with several ways to sign in, in a real browser: a password, GitHub and GitLab."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from e2e.hub_pages import HubPages
from integration.oauth_hub import hub_of, provider_of
from integration.signin_hub import ADMIN_PASSWORD


@pytest.fixture(scope="module")
def hub_url(hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a hub (no trailing slash) where alice may come in by GitHub and GitLab, and bob may not."""
    provider = provider_of()
    hub = hub_of(
        hub_image("5.5.4"), tmp_path_factory.mktemp("ways"), provider, authenticators=["native", "github", "gitlab"],
        github_allowed_organizations=["course"], gitlab_allowed_groups=["faculty/lab"],
    )  # fmt: skip
    try:
        provider.callback = hub.start().url
        yield hub.url.removesuffix("/hub/")
    finally:
        hub.remove()
        provider.stop()


def go_by(person: Page, url: str, label: str, who: str) -> None:
    """Press a button of the login page and say at the provider who one is."""
    person.goto(f"{url}/hub/login?next=%2Fhub%2Fhome")
    person.get_by_role("button", name=f"Sign in with {label}").click()
    expect(person.get_by_text("Who are you?")).to_be_visible()
    person.get_by_role("link", name=who, exact=True).click()
    person.wait_for_load_state()


@pytest.mark.parametrize(("label", "name"), [("GitHub", "github:alice"), ("GitLab", "gitlab:alice")])
def test_somebody_signs_in_at_a_provider(hub_url: str, person: Page, label: str, name: str) -> None:
    go_by(person, hub_url, label, "alice")

    expect(person).to_have_url(f"{hub_url}/hub/home")
    expect(person.locator(".navbar")).to_contain_text(name)
    expect(person.get_by_role("link", name="Change password")).to_have_count(0)


@pytest.mark.parametrize("label", ["GitHub", "GitLab"])
def test_somebody_who_may_not_come_in_reads_why(hub_url: str, person: Page, label: str) -> None:
    go_by(person, hub_url, label, "bob")

    expect(person.locator("body")).to_contain_text(f"{label} knows you, but this hub does not let you in.")
    person.goto(f"{hub_url}/hub/home")
    expect(person.locator("#username_input")).to_be_visible()


def test_a_password_on_the_same_page(hub_url: str, person: Page) -> None:
    pages = HubPages(person, hub_url)
    pages.sign_in("admin", ADMIN_PASSWORD)

    assert pages.login_error() == ""
    expect(person.get_by_role("link", name="Change password")).to_be_visible()
