"""The hub container's health check: exit 0 when the hub answers on its own port and can write its data."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

HUB = "http://127.0.0.1:8081"
TIMEOUT_SECONDS = 5
DATA = Path("/data")


def fault(url: str) -> str | None:
    """Return why `url` has failed, None if it answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - our own URL
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"the hub does not answer at {url}: {error}"


def data_fault(data: Path = DATA) -> str | None:
    """Return why the hub cannot write its database, None if it can. A hub on a full disk still answers."""
    trial = data / ".health"
    try:
        trial.write_bytes(bytes(4096))
        trial.unlink()
    except OSError as error:
        return f"{data}, which has the hub's database, cannot be written: {error.strerror}"
    return None


def main(hub: str = HUB, data: Path = DATA) -> int:
    """Request the usual URL, then the one to which a hub with another ``base_url`` redirects; then try the disk."""
    found = fault(f"{hub}/hub/health")
    if found and "404" in found:
        found = fault(f"{hub}/health")
    found = found or data_fault(data)
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
