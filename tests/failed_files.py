"""Print the files of the tests that failed in the last run of pytest, for `make again`.

Whole files, because the tests of a file build upon each other. Ends with 1 when no test failed: then it was something
else, and there is nothing to run again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LAST_FAILED = Path(__file__).resolve().parent.parent / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main() -> int:
    """Print them, one in a line."""
    try:
        failed = json.loads(LAST_FAILED.read_text(encoding="utf-8"))
    except OSError:
        failed = {}
    for file in sorted({name.partition("::")[0] for name in failed}):
        print(file)
    return 0 if failed else 1


if __name__ == "__main__":
    sys.exit(main())
