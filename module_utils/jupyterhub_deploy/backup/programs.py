"""The programs that archives go through: tar, the compressors and age."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import IO, Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

CHUNK = 1 << 20  # bytes that are read or written at a time
# Messages in one language, and names in them escaped the same way everywhere.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program.

    :param options: those of ``subprocess.Popen``.
    :raises DeployError: it is not installed.
    """
    try:
        return subprocess.Popen(command, env=ENVIRONMENT, **options)
    except FileNotFoundError as error:
        raise DeployError(f"program {command[0]} is missing on this host; install the package {command[0]}") from error


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Kill the process at the end of the block."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def last_message(errors: IO[bytes]) -> str:
    """Return the last line that a program wrote to its standard error."""
    errors.seek(0)
    lines = errors.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    lines = [line for line in lines if not line.startswith("age: report unexpected")]  # after each of its errors
    return lines[-1] if lines else "no error message"
