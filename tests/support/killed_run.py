"""Run a module and be killed, as by SIGKILL, right after its n-th change to Docker.

Usage: ``python tests/support/killed_run.py MODULE N ARGUMENTS.json``, or ``rename:N`` for the n-th change of one kind;
ends by the signal, or with the module's own exit code when the module makes fewer changes. The calls to Docker are
real; only the moment of the kill is chosen.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "library"), str(ROOT / "tests")]

import ansible.module_utils  # noqa: E402

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

import docker  # noqa: E402
from ansible.module_utils.testing import patch_module_args  # noqa: E402

from support.kills import kill_after  # noqa: E402

STEPS = ("create_container", "connect_container_to_network", "start", "kill", "stop", "rename", "remove_container")


def main() -> None:
    """Count the changes, and die at the given one."""
    kind, _, number = sys.argv[2].rpartition(":")
    kill_after(int(number), [(docker.APIClient, name) for name in ([kind] if kind else STEPS)])
    with patch_module_args(json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))):
        importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
