"""The browser of the tests: Debian's Chromium."""

from __future__ import annotations

from pathlib import Path

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
