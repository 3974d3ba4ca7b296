"""A process that unpauses containers once the one that paused them is gone.

Its source is handed to an interpreter of its own (``python -c``), so it has nothing but Python and the docker SDK. On
its standard input it is told ``pausing ID FILE``, ``paused ID`` and ``done ID``. The end of the input, whatever it
comes from, means that nobody else will unpause what is not done.

FILE says that the container was paused by this deployment. The next run removes it when it has unpaused the container
itself; then somebody else's pause must not be undone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Any

STRAY_SECONDS = 10.0  # in which a call to pause that was just sent may still come to be
ENGINE_SECONDS = 600.0  # in which an engine that does not answer may come back


def listen(lines: Any) -> dict[str, list[str]]:
    """Return the file and the state of the containers that are not done when the input ends."""
    told: dict[str, list[str]] = {}
    for line in lines:
        word, identity, *file = line.rstrip("\n").split(" ", 2)
        if word == "pausing":
            told[identity] = [*file, word]
        elif word == "paused":
            told[identity][1] = word
        else:
            told.pop(identity, None)
    return told


def release(client: Any, identity: str, file: str, state: str) -> bool:
    """Unpause a container once; return whether there is nothing more to wait for."""
    if not os.path.exists(file):
        return True
    if not client.inspect_container(identity)["State"]["Paused"]:
        return state == "paused"
    client.unpause(identity)
    return True


def main() -> None:
    """Wait, then unpause what is left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import docker

    left = listen(sys.stdin)
    begin = time.monotonic()
    while left and time.monotonic() < begin + ENGINE_SECONDS:
        stray = time.monotonic() > begin + STRAY_SECONDS
        for identity, (file, state) in list(left.items()):
            try:
                client = docker.APIClient(version="auto", timeout=30)
                done = release(client, identity, file, state) or stray
            except docker.errors.NotFound:
                done = True
            except (docker.errors.DockerException, OSError):
                continue  # the file stays: the next run tries again, too
            if done:
                del left[identity]
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
