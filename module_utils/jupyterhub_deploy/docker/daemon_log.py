"""Docker's log on this host, in the journal or in a file."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence

LOG_FILE = "/var/log/dockerd.log"  # of a dockerd that this role starts
LOG_LINES = 15
# LOG_LINES are taken from this many last lines: a dockerd that fails logs a dozen lines about its shutdown.
LOG_WINDOW = 100

# One older log is kept. Checked at each start; the role adds a logrotate rule where logrotate is installed.
LOG_ROTATE_BYTES = 10 * 1024 * 1024


def rotate(path: str) -> None:
    """Keep a large log file as ``<path>.1``."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path) > LOG_ROTATE_BYTES:
            os.replace(path, f"{path}.1")


def read(manager: str) -> tuple[str, str]:
    """Return where Docker's log is, and its last lines that report trouble.

    :param manager: the service manager that started Docker.
    """
    where = "journalctl -u docker" if manager == "systemd" else LOG_FILE
    try:
        if manager == "systemd":
            command = ["journalctl", "--unit=docker", f"--lines={LOG_WINDOW}", "--no-pager", "--output=cat"]
            text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
        else:
            with open(LOG_FILE, encoding="utf-8", errors="replace") as file:
                text = file.read()
    except (OSError, subprocess.SubprocessError) as error:
        return where, f"cannot be read: {error}"
    return where, trouble_lines(text.splitlines()[-LOG_WINDOW:], LOG_LINES)


def trouble_lines(log: Sequence[str], limit: int) -> str:
    """Return the last lines of Docker's log that report trouble, at most ``limit``; without trouble, the last lines.

    Lines without a level (dockerd's last output when it cannot start) count as trouble.
    """
    trouble = [line for line in log if line.strip() and not re.search(r"\blevel=(info|debug)\b", line)]
    return "\n".join((trouble or list(log))[-limit:]).strip()
