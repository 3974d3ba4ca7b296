"""Helper containers for volumes that are mounted only while a container uses them: other drivers, driver options.

A helper container mounts such a volume read-only and does nothing else. It has no network, no capabilities and a
read-only file system. The host scans and archives the volume through it like any other volume.

The helper waits for the end of its input, which is a connection to this process. So it ends when this process ends or
is killed, and Docker removes it. The next run removes helpers that Docker could not remove.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import (
    docker,
    docker_errors,
    inspect_container,
    inspect_image,
    name_of,
)
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError

LABEL = "org.jupyterhub.deploy.backup-helper"
MOUNT = "/volume"
# Needs only a shell in the image.
COMMAND = ["/bin/sh", "-c", "read end"]


def helper_image(client: Any, hub: str) -> str:
    """Return the image of the hub's container, which is on this host.

    :raises DeployError: the hub's container or its image does not exist.
    """
    found = inspect_container(client, hub)
    if not found or not inspect_image(client, found["Image"]):
        raise DeployError(
            f"only a container can read it, and there is no hub container {hub} on this host whose image could be "
            "used for one; run make site"
        )
    return str(found["Image"])


@contextlib.contextmanager
def hold_volume(client: Any, hub: str, volume: str) -> Iterator[str]:
    """Mount a volume in a helper container; yield a path on the host to read it.

    :raises DeployError: the container cannot be created or started, for example when a network mount does not respond.
    """
    with contextlib.ExitStack() as stack:
        try:
            made = client.create_container(
                helper_image(client, hub),
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
            # Its process ID cannot be reused while it runs, so the directory opened is the helper's.
            state = client.inspect_container(made)["State"]
            if not state["Running"] or state["Pid"] != pid:
                raise DeployError("the container that holds the volume has ended; try again")
        except DOCKER_ERRORS as error:
            raise DeployError(f"only a container can read it, and that fails: {error}") from error
        yield f"/proc/{os.getpid()}/fd/{descriptor}/."


def _remove(client: Any, identity: str) -> None:
    # Its input has ended, so Docker may have removed it or be removing it.
    with contextlib.suppress(docker_errors.APIError):
        client.remove_container(identity, force=True)


def recover(client: Any, hub: str) -> list[str]:
    """Remove the helpers of killed runs; return what was done. The caller holds the lock of the backups."""
    done = []
    for container in client.containers(all=True, filters={"label": f"{LABEL}={hub}"}):
        _remove(client, container["Id"])
        done.append(f"container {name_of(container)}, which held a volume")
    return done
