"""This host's lock on images: one run at a time pulls, builds or removes them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Gone with a reboot, as the jobs are that hold it.
LOCK = "/run/jupyterhub-deploy-images.lock"


@contextlib.contextmanager
def alone(progress: Reporter) -> Iterator[None]:
    """Hold the lock, and wait for whoever holds it.

    A job outlives an interrupted playbook. The next run then waits for it and finds its images, instead of building the
    same ones at the same time.
    """
    with open(LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another run that is getting images on this host")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def alone_now() -> Iterator[bool]:
    """Hold the lock if nobody else does, and tell whether that is so."""
    with open(LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
