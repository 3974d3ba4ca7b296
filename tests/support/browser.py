"""The browser of the tests: Debian's Chromium."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Playwright

CHROMIUM = Path(__file__).with_name("chromium.py")

# Without the last four, Chromium asks for things of its own on the internet, which a closed network refuses.
CHROMIUM_FLAGS = [
    "--no-sandbox",  # the tests run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # a top-level domain that nobody has (RFC 6761)
]


@contextlib.contextmanager
def trusting(playwright: Playwright, home: Path, authority: str) -> Iterator[Browser]:
    """Start a browser that trusts one authority more than usual, and ignores no certificate error.

    Args:
        home: an empty directory.
        authority: in PEM format.
    """
    database = home / ".pki/nssdb"
    database.mkdir(parents=True)
    (home / "root.pem").write_text(authority, encoding="utf-8")
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "test", "-i", str(home / "root.pem")], check=True)
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home)}
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS, env=environment)
    try:
        yield browser
    finally:
        browser.close()
