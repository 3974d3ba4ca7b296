"""The lock of a hub, for modules that change its containers or need them unchanged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ansible.module_utils.jupyterhub_deploy import files

DIRECTORY = "/run"  # a reboot ends all runs


@contextlib.contextmanager
def held(hub: str, check_mode: bool) -> Iterator[None]:
    """Hold the lock of a hub, and wait for another run that holds it, as ``apt`` does for ``dpkg``.

    A replacement that is in progress looks like one that was killed: without the lock, a second run would remove its
    containers. In check mode nothing is locked, because nothing is changed.
    """
    path = os.path.join(DIRECTORY, f"jupyterhub-deploy-hub-{hub}.lock")
    with contextlib.nullcontext() if check_mode else files.locked(path, wait=True):
        yield
