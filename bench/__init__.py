"""Measurements: one command each, `python -m bench.<name>` from the root of the project. See README.md beside this."""

import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parent.parent

# The machines that are measured are those of the tests, which also run the modules.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "library")]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
