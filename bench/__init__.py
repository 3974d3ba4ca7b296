"""Measurements: one command each, `python -m bench.<name>` from the root of the project. See README.md beside this."""

import sys
from pathlib import Path

# The machines that are measured are those of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
