"""Fixtures of the browser tests: one Chromium, a clean context per test, and the hub to visit.

The hub is the one that `make site` made on a bare machine (fixture ``bare_site`` of tests/conftest.py).
Two environment variables change what a run does; neither is needed:

* ``JHD_SITE_URL`` with ``JHD_SITE_PASSWORD_FILE``: visit a hub that is already running instead, as
  its admin ``JHD_SITE_ADMIN`` (default ``admin``). The tests sign up people of their own there.
* ``JHD_SCREENSHOTS``: a directory that receives the screenshots (``docs/images`` for the README's).
  Unset, they go to pytest's temporary directory, so that a test run leaves the tree as it was.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from support.browser import CHROMIUM, CHROMIUM_FLAGS
from support.hub_pages import HubLogin

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> HubLogin:
    """Return the hub to visit, made by ``make site`` on a bare machine unless the environment names one."""
    url = os.environ.get("JHD_SITE_URL")
    if url:
        password = Path(os.environ["JHD_SITE_PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
        return HubLogin(url.rstrip("/"), os.environ.get("JHD_SITE_ADMIN", "admin"), password)
    made = request.getfixturevalue("bare_site")
    return HubLogin(made.url.rstrip("/"), made.admin, made.password)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright, of which a process can have only one."""
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """One headless Chromium for the whole run."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_FLAGS)
    yield browser
    browser.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test's body failed, for the picture that ``person`` then takes."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def person(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A browser window without cookies, as of a new user.

    When the test fails, a picture of the window at that moment is kept and its place is printed.
    """
    context: BrowserContext = chromium.new_context(viewport={"width": 1200, "height": 750})
    # A single-user server may take its time on a busy machine; a wrong page fails its own assertion sooner.
    context.set_default_timeout(180_000)
    page = context.new_page()
    yield page
    if request.node.stash.get(FAILED, False):
        picture = tmp_path / "failed.png"
        page.screenshot(path=picture)
        print(f"the window at {page.url} when the test failed: {picture}")
    context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Directory for the pictures of this run (see the module's docstring)."""
    chosen = Path(os.environ.get("JHD_SCREENSHOTS") or tmp_path)
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen
