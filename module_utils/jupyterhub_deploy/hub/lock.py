"""The lock of a hub, for modules that change its containers or need them unchanged."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.processes import command_line

DIRECTORY = "/run"  # a reboot ends all runs
# Seconds that a run waits. A module holds the lock for minutes at most: longer than that, it is stuck.
PATIENCE = 1800


@contextlib.contextmanager
def held(hub: str, check_mode: bool) -> Iterator[None]:
    """Hold the lock of a hub, and wait for another run that holds it, as ``apt`` does for ``dpkg``.

    A replacement that is in progress looks like one that was killed: without the lock, a second run would remove its
    containers. In check mode nothing is locked, because nothing is changed.

    The file names the process that holds the lock: Ansible shows nothing of a module before it ends.

    :raises DeployError: another run holds the lock for longer than :data:`PATIENCE`.
    """
    if check_mode:
        yield
        return
    path = os.path.join(DIRECTORY, f"jupyterhub-deploy-hub-{hub}.lock")
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(files.locked(path, wait=True, timeout=PATIENCE))
        except files.LockedError as error:
            holder = (files.read_text(path) or "").strip() or "an unknown process"
            pid = re.search(r"\(pid (\d+)\)", holder)
            raise DeployError(
                f"another run changes hub {hub}, and holds {path} still after {PATIENCE / 60:.0f} minutes: {holder}; "
                f"wait until it has ended{f', or end it with `kill {pid[1]}`' if pid else ''}, then run the same again"
            ) from error
        os.ftruncate(lock, 0)  # that of a run that was killed
        os.pwrite(lock, _this_process().encode(), 0)
        stack.callback(os.ftruncate, lock, 0)
        yield


def _this_process() -> str:
    """Return what identifies this process to an operator: module, pid, start of the lock, and command line."""
    module = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    since = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    return f"{module} (pid {os.getpid()}), since {since}: {' '.join(command_line(os.getpid()))}"
