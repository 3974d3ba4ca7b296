"""The lock on the images of this host: one run at a time pulls, builds or removes them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# In /run, because a reboot ends all jobs that hold it.
LOCK = "/run/jupyterhub-deploy-images.lock"


@contextlib.contextmanager
def locked(progress: Reporter) -> Iterator[None]:
    """Hold the lock; wait while another run holds it.

    A job outlives an interrupted playbook. The next run waits for the job and uses its images, instead of building
    them a second time.
    """
    with open(LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another run that is getting images on this host")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_lock() -> Iterator[bool]:
    """Hold the lock if it is free; yield whether it is held."""
    with open(LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
