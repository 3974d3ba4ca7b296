"""What a user does on the hub's pages, without assertions other than that the page opens."""

from __future__ import annotations

from typing import NamedTuple

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as BrowserTimeoutError

SPAWN_TIMEOUT_MS = 180_000
"""The hub's start_timeout: a server that is not ready by then has failed."""

KERNEL_TIMEOUT_MS = 180_000
LOAD_TIMEOUT_MS = 60_000


class HubLogin(NamedTuple):
    """The hub under test: its URL without a trailing slash, and its admin's credentials."""

    url: str
    admin: str
    password: str


class HubPages:
    """The hub in one browser window.

    Args:
        page: the window.
        url: the hub's public address without a trailing slash.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        # Chromium cancels requests when a network of the machine changes, as Docker's do when other tests start
        # containers. JupyterLab then says so about its theme, and works without it.
        missing_theme = page.locator(".jp-Dialog", has_text="failed to load")
        page.add_locator_handler(missing_theme, lambda dialog: dialog.locator("button.jp-mod-accept").click())

    def sign_up(self, name: str, password: str) -> str:
        """Fill in and send the sign-up form; return the answer's text."""
        self.page.goto(f"{self.url}/hub/signup")
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", password)
        self.page.fill("#password_confirmation_input", password)
        self.page.click("#signup_submit")
        alert = self.page.locator(".alert").first
        alert.wait_for()
        return " ".join(alert.inner_text().split())

    def sign_in(self, name: str, password: str, then: str = "home") -> None:
        """Fill in and send the login form; the caller checks the page that opens.

        Without ``then``, the page of the hub to open next, JupyterHub would start the user's server at once.
        """
        self.page.goto(f"{self.url}/hub/login?next=%2Fhub%2F{then}")
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", password)
        self.page.click("#login_submit")
        self.page.wait_for_load_state()

    def login_error(self) -> str:
        """Return the error on the login page, empty without one."""
        error = self.page.locator(".login_error")
        return error.inner_text().strip() if error.count() else ""

    def home(self) -> None:
        """Open the hub's home page, where servers are started and stopped.

        Its buttons do nothing before the page's scripts have loaded, hence the wait for an idle network.
        """
        self.page.goto(f"{self.url}/hub/home", wait_until="networkidle")
        self.page.locator("#start").wait_for()

    def start_server(self) -> None:
        """Start the user's server on the home page and wait until JupyterLab shows its launcher or files."""
        self.home()
        self.page.click("#start")
        self.wait_for_lab()

    def wait_for_lab(self) -> None:
        """Wait until JupyterLab has loaded (through the spawn progress page, if there is one).

        Chromium cancels requests when a network of the machine changes, as Docker's do when other tests start
        containers. A page that lacks a part then is loaded again, as a person would do it.
        """
        self.page.wait_for_url("**/user/*/lab**", timeout=SPAWN_TIMEOUT_MS)
        panel = self.page.locator("#jp-main-dock-panel")
        try:
            panel.wait_for(timeout=LOAD_TIMEOUT_MS)
        except BrowserTimeoutError:
            self.page.reload()
            panel.wait_for(timeout=SPAWN_TIMEOUT_MS)

    def stop_server(self) -> None:
        """Stop the user's server on the home page and wait until the page shows that it has stopped."""
        self.home()
        self.page.click("#stop")
        # The button disappears at once, and the page offers a start again when the server has stopped.
        expect(self.page.locator("#stop")).to_be_hidden(timeout=SPAWN_TIMEOUT_MS)
        expect(self.page.locator("#start")).to_be_enabled(timeout=SPAWN_TIMEOUT_MS)

    # -- JupyterLab ---------------------------------------------------------------------------------

    def new_notebook(self) -> None:
        """Open a Python notebook from the launcher and wait until its kernel is idle."""
        self.page.locator(".jp-LauncherCard[data-category='Notebook']").first.click()
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=KERNEL_TIMEOUT_MS)
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """Wait until the status bar shows that the open notebook's kernel is idle.

        The toolbar shows "idle" before there is a kernel; the status bar does not.
        """
        self.page.locator("#jp-main-statusbar :text('| Idle')").wait_for(timeout=KERNEL_TIMEOUT_MS)

    def run_cell(self, code: str) -> str:
        """Type code into the first cell, run it and return what it printed.

        JupyterLab drops a request to run while the kernel is still connecting (the cell keeps its empty "[ ]:"), so the
        keys are pressed again.
        """
        cell = self.page.locator(".jp-Notebook .jp-Cell").first
        cell.locator(".cm-content").click()
        self.page.keyboard.type(code)
        expect(cell.locator(".cm-content")).to_have_text(code)
        for _ in range(5):
            self.page.keyboard.press("Shift+Enter")
            try:
                expect(cell.locator(".jp-InputPrompt")).not_to_have_text("[ ]:", timeout=5_000)
            except AssertionError:
                cell.locator(".cm-content").click()
            else:
                break
        return self.first_output()

    def first_output(self) -> str:
        """Wait for the first output in the open notebook and return its text."""
        output = self.page.locator(".jp-Notebook .jp-OutputArea-output").first
        output.wait_for(timeout=KERNEL_TIMEOUT_MS)
        return output.inner_text().strip()

    def save_as(self, file_name: str) -> None:
        """Save the open notebook under a name; JupyterLab asks for it at the first save."""
        self.page.keyboard.press("Control+s")
        dialog = self.page.locator(".jp-Dialog")
        dialog.locator("input[type=text]").fill(file_name)
        dialog.locator("button.jp-mod-accept").click()
        dialog.wait_for(state="detached")
        self.page.locator(f".jp-DirListing-item:has-text('{file_name}')").wait_for()

    def open_file(self, file_name: str) -> None:
        """Open a file of the home folder by a double click in JupyterLab's file list."""
        self.page.locator(f".jp-DirListing-item:has-text('{file_name}')").dblclick()

    def decline_news(self) -> None:
        """Answer no if JupyterLab asks about news, which covers a corner of the picture."""
        question = self.page.locator(".Toastify__toast", has_text="Jupyter news")
        if question.count():
            question.get_by_role("button", name="No", exact=True).click()
            question.wait_for(state="detached")
