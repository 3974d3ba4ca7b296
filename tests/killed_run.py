"""Run the module jupyterhub_hub and be killed, as by SIGKILL, right after the n-th thing that it did to the engine.

Usage: ``python tests/killed_run.py N ARGUMENTS.json``; ends by the signal, or with the module's own exit code when the
module did fewer things than that. Real calls on a real engine; only the moment of the kill is chosen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "library"), str(ROOT / "tests")]

import ansible.module_utils  # noqa: E402

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

import docker  # noqa: E402
from ansible.module_utils.testing import patch_module_args  # noqa: E402

import jupyterhub_hub  # noqa: E402

STEPS = ("create_container", "connect_container_to_network", "start", "stop", "rename", "remove_container")


def main() -> None:
    """Count the steps, and die at the one that was asked for."""
    left = int(sys.argv[1])

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            result = step(*args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in STEPS:
        setattr(docker.APIClient, name, counted(getattr(docker.APIClient, name)))
    with patch_module_args(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))):
        jupyterhub_hub.main()


if __name__ == "__main__":
    main()
