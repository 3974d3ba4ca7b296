"""The hub container's health check: exit 0 when the hub answers on its own port."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

HUB = "http://127.0.0.1:8081"
TIMEOUT_SECONDS = 5


def fault(url: str) -> str | None:
    """Return why `url` has failed, None if it answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - our own URL
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"the hub does not answer at {url}: {error}"


def main(hub: str = HUB) -> int:
    """Request the usual URL, then the one to which a hub with another ``base_url`` redirects."""
    found = fault(f"{hub}/hub/health")
    if found and "404" in found:
        found = fault(f"{hub}/health")
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
