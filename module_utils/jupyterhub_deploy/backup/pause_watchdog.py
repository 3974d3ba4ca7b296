"""A process that unpauses containers after the process that paused them has ended.

It runs in its own interpreter (``python -c``), so it imports only the standard library and the docker SDK. It reads
``pausing ID FILE``, ``paused ID`` and ``done ID`` from its standard input. When the input ends, it unpauses the
containers that are not done.

FILE exists while the container counts as paused by this deployment. The next run removes it after it has unpaused the
container; a later pause is somebody else's and must stay.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Any

STRAY_SECONDS = 10.0  # in which a request to pause that was already sent may take effect
DOCKER_SECONDS = 600.0  # in which a Docker that does not respond may recover


def read_unfinished(lines: Any) -> dict[str, list[str]]:
    """Return the file and the state of each container that is not done when the input ends."""
    pauses: dict[str, list[str]] = {}
    for line in lines:
        word, identity, *file = line.rstrip("\n").split(" ", 2)
        if word == "pausing":
            pauses[identity] = [*file, word]
        elif word == "paused":
            pauses[identity][1] = word
        else:
            pauses.pop(identity, None)
    return pauses


def unpause(client: Any, identity: str, file: str, state: str) -> bool:
    """Unpause a container; return whether it is done."""
    if not os.path.exists(file):
        return True
    if not client.inspect_container(identity)["State"]["Paused"]:
        return state == "paused"
    client.unpause(identity)
    return True


def main() -> None:
    """Wait for the end of the input, then unpause the containers that are left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import docker

    left = read_unfinished(sys.stdin)
    begin = time.monotonic()
    while left and time.monotonic() < begin + DOCKER_SECONDS:
        stray = time.monotonic() > begin + STRAY_SECONDS
        for identity, (file, state) in list(left.items()):
            try:
                client = docker.APIClient(version="auto", timeout=30)
                done = unpause(client, identity, file, state) or stray
            except docker.errors.NotFound:
                done = True
            except (docker.errors.DockerException, OSError):
                continue  # the file stays, so that the next run tries again
            if done:
                del left[identity]
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
