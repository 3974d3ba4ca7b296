"""Waiting, and other processes of the host."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Callable

from ansible.module_utils.jupyterhub_deploy.errors import DeployError


def wait_until(condition: Callable[[], object], timeout: float, interval: float = 0.1) -> bool:
    """Wait until a condition is true; return whether it is.

    The condition is evaluated at least once, and once more when the time is over.

    :param timeout: seconds.
    :param interval: seconds between two evaluations.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


def command_line(pid: int) -> list[str]:
    """Return the program and arguments of a process, empty when it does not exist."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def process_of(pid_file: str, name: str) -> int | None:
    """Return the process id in a pid file if that process runs and is the named program, else ``None``."""
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read().strip())
    except (FileNotFoundError, ValueError):
        return None
    words = command_line(pid)
    return pid if words and os.path.basename(words[0]) == name else None


def systemctl(*arguments: str, check: bool = True) -> bool:
    """Run systemctl; return whether it succeeded.

    :raises DeployError: it failed and ``check`` is set.
    """
    done = subprocess.run(
        ["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode:
        raise DeployError(f"systemctl {' '.join(arguments)} failed: {done.stdout.strip()}")
    return done.returncode == 0
