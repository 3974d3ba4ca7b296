"""The main job, as people do it in a browser: from the first sign-in to a notebook that survives a restart."""

from __future__ import annotations

import secrets
from pathlib import Path

from playwright.sync_api import Page, expect

from support.hub_pages import HubLogin, HubPages

NOTEBOOK = "answer.ipynb"


def new_user() -> tuple[str, str]:
    """Return a name that no user has yet and a password that the hub accepts.

    New on every run, so that the journey can be repeated against a hub that keeps its people.
    """
    return f"alice-{secrets.token_hex(3)}", secrets.token_urlsafe(12)


def test_admin_signs_in_with_the_generated_password(site: HubLogin, person: Page, screenshots: Path) -> None:
    hub = HubPages(person, site.url)
    person.goto(f"{site.url}/")
    person.locator("#username_input").wait_for()
    person.screenshot(path=screenshots / "login.png")

    hub.sign_in(site.admin, site.password, then="admin")

    assert hub.login_error() == ""
    row = person.locator(f"tr:has-text('{site.admin}')").first
    row.wait_for()
    person.screenshot(path=screenshots / "admin.png")
    person.goto(f"{site.url}/hub/authorize")
    expect(person.locator("table")).to_contain_text(site.admin)


def test_wrong_admin_password_is_turned_away(site: HubLogin, person: Page) -> None:
    hub = HubPages(person, site.url)

    hub.sign_in(site.admin, "certainly-not-" + secrets.token_hex(4))

    assert hub.login_error() != ""
    person.goto(f"{site.url}/hub/admin")
    expect(person.locator("#username_input")).to_be_visible()


def test_signing_up_as_admin_gains_nothing(site: HubLogin, person: Page) -> None:
    hub = HubPages(person, site.url)
    stolen = "stolen-" + secrets.token_urlsafe(12)

    answer = hub.sign_up(site.admin, stolen)

    assert "alert-success" not in (person.locator(".alert").first.get_attribute("class") or ""), answer
    hub.sign_in(site.admin, stolen)
    assert hub.login_error() != ""
    person.goto(f"{site.url}/hub/home")
    expect(person.locator("#username_input")).to_be_visible()
    # ... and the real password still works.
    hub.sign_in(site.admin, site.password)
    assert hub.login_error() == ""


def test_a_notebook_survives_a_stop_and_a_start(site: HubLogin, person: Page, screenshots: Path) -> None:
    hub = HubPages(person, site.url)
    name, password = new_user()

    answer = hub.sign_up(name, password)
    assert "success" in (person.locator(".alert").first.get_attribute("class") or ""), answer
    hub.sign_in(name, password)
    assert hub.login_error() == ""

    hub.start_server()
    hub.new_notebook()
    assert hub.run_cell("print(6*7)") == "42"
    hub.save_as(NOTEBOOK)
    hub.decline_news()
    person.screenshot(path=screenshots / "notebook.png")

    hub.stop_server()
    person.screenshot(path=screenshots / "home.png")

    hub.start_server()
    hub.open_file(NOTEBOOK)
    assert hub.first_output() == "42"
