"""The hub container's health check: exit 0 when the hub answers on its own port."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8081/hub/health"
TIMEOUT_SECONDS = 5


def main(url: str = URL) -> int:
    """Ask once; a base_url of the operator's redirects, and urllib follows."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own URL
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        print(f"the hub does not answer at {url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
