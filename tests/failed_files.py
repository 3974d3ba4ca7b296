"""Print the files of the tests on Docker that failed in the last run of pytest, for `make again`.

Whole files, because a test may fail only after another one of its file. With ``--tests``, print the failed tests
instead. Exits with 1 when none failed: then lint, types or a unit test failed, and a second run would not help.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LAST_FAILED = Path(__file__).resolve().parent.parent / ".pytest_cache" / "v" / "cache" / "lastfailed"
ON_DOCKER = ("tests/integration/", "tests/e2e/")


def main() -> int:
    """Print them, one per line."""
    try:
        failed = json.loads(LAST_FAILED.read_text(encoding="utf-8"))
    except OSError:
        failed = {}
    tests = {name for name in failed if name.startswith(ON_DOCKER)}
    for line in sorted(tests if "--tests" in sys.argv else {name.partition("::")[0] for name in tests}):
        print(line)
    return 0 if tests else 1


if __name__ == "__main__":
    sys.exit(main())
