"""Build the archive of the base image while Docker is being installed, for the step that imports it later.

The build is a process of its own, which outlives the module and the run. ``DIRECTORY`` holds ``lock``, which the build
has locked until it ends, its ``log``, its temporary files, and the complete archive, named after the image's digest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Callable

from ansible.module_utils.jupyterhub_deploy import files

DIRECTORY = "/var/lib/jupyterhub-deploy/base-image"
LOCK, LOG, TEMPORARY = "lock", "log", "tmp"

# An older archive lacks security updates (seconds).
MAXIMUM_AGE = 24 * 3600

# Only a complete archive gets its name.
_BUILD = 'archive=$1; shift; "$@" > partial && mv partial "$archive"; rm -rf tmp'


def start(digest: str, make_command: Callable[[str], list[str]]) -> bool:
    """Start the build; return ``False`` when one is running.

    :param make_command: takes a directory for temporary files, and returns the command that writes the archive to its
        standard output.
    """
    os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    try:
        with files.locked(_path(LOCK)) as lock:
            _clear()
            os.mkdir(_path(TEMPORARY), 0o700)
            with open(_path(LOG), "wb") as output:
                subprocess.Popen(
                    ["sh", "-c", _BUILD, "sh", f"{digest}.tar", *make_command(_path(TEMPORARY))],
                    cwd=DIRECTORY, env={**os.environ, "TMPDIR": _path(TEMPORARY), "LC_ALL": "C.UTF-8"},
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, pass_fds=(lock,),
                )  # fmt: skip
    except files.LockedError:
        return False
    return True


def is_running() -> bool:
    """Return whether a build is running."""
    return files.is_locked(_path(LOCK))


def log() -> list[str]:
    """Return the lines of the build's log."""
    return (files.read_text(_path(LOG)) or "").splitlines()


@contextlib.contextmanager
def finished(digest: str) -> Iterator[str | None]:
    """Yield the path of the archive if its build succeeded, and remove it with everything else in the end."""
    path = _path(f"{digest}.tar")
    try:
        usable = time.time() - os.stat(path).st_mtime < MAXIMUM_AGE
    except FileNotFoundError:
        usable = False
    yield path if usable else None
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def _path(name: str) -> str:
    return os.path.join(DIRECTORY, name)


def _clear() -> None:
    """Remove what an earlier build has left, except the lock."""
    for name in os.listdir(DIRECTORY):
        if name != LOCK:
            path = _path(name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
