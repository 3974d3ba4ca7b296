"""Volumes that are there only while a container has them: those of other drivers, and with options of the driver.

A helper container holds such a volume, read-only, and does nothing else: no network, no capability, a file system that
cannot be written to. The host reads the volume through it by the same scan and the same tar as any other.

The helper waits for the end of its input, which is a connection to this process. So it goes when this process does,
whatever ends that, and the engine removes it; what the engine could not remove, the next run does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker, docker_errors, inspect_container, inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError

LABEL = "org.jupyterhub.deploy.backup-helper"
MOUNT = "/volume"
# Programs of the image are not needed but for a shell.
COMMAND = ["/bin/sh", "-c", "read end"]


def image(client: Any, hub: str) -> str:
    """Return an image that is on this host: the hub's own.

    :raises DeployError: there is none.
    """
    found = inspect_container(client, hub)
    if not found or not inspect_image(client, found["Image"]):
        raise DeployError(
            f"only a container can read it, and there is no hub container {hub} on this host whose image could be "
            "used for one; run site.yml"
        )
    return str(found["Image"])


@contextlib.contextmanager
def opened(client: Any, hub: str, volume: str) -> Iterator[str]:
    """Hold a volume by a container; give a path on the host to read it by.

    :raises DeployError: the container cannot be made or does not start, as when what it mounts does not answer.
    """
    with contextlib.ExitStack() as stack:
        try:
            made = client.create_container(
                image(client, hub),
                entrypoint=COMMAND[:1],
                command=COMMAND[1:],
                name=f"{hub}-backup-{secrets.token_hex(4)}",
                user="65534:65534",
                stdin_open=True,
                labels={LABEL: hub},
                host_config=client.create_host_config(
                    mounts=[docker.types.Mount(MOUNT, volume, read_only=True, no_copy=True)],
                    network_mode="none",
                    read_only=True,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    pids_limit=16,
                    log_config={"Type": "none"},
                    auto_remove=True,
                ),
            )["Id"]
            stack.callback(_remove, client, made)
            stack.callback(client.attach_socket(made, params={"stdin": 1, "stream": 1}).close)
            client.start(made)
            pid = client.inspect_container(made)["State"]["Pid"]
            descriptor = os.open(f"/proc/{pid}/root{MOUNT}", os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            # While it runs, its number cannot be another's: what was opened is its own.
            state = client.inspect_container(made)["State"]
            if not state["Running"] or state["Pid"] != pid:
                raise DeployError("the container that holds the volume has ended; try again")
        except DOCKER_ERRORS as error:
            raise DeployError(f"only a container can read it, and that fails: {error}") from error
        yield f"/proc/{os.getpid()}/fd/{descriptor}/."


def _remove(client: Any, identity: str) -> None:
    # Its input has ended, so it may be gone or going.
    with contextlib.suppress(docker_errors.APIError):
        client.remove_container(identity, force=True)


def recover(client: Any, hub: str) -> list[str]:
    """Remove what killed runs have left; return what was done. The caller holds the lock of the backups."""
    done = []
    for one in client.containers(all=True, filters={"label": f"{LABEL}={hub}"}):
        _remove(client, one["Id"])
        done.append(f"container {one['Names'][0].lstrip('/')}, which held a volume")
    return done
