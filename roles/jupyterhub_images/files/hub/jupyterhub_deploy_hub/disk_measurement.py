"""How much disk users' files take, measured by a container of the hub's image that ends within seconds.

The hub itself does not see the volumes. The container can only read the directories of the volumes that it measures.
It gets them by their paths: by the name of a volume that is deleted meanwhile, Docker would create it again, and a
container that uses a volume prevents its deletion.
"""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import docker
from docker.types import Mount

from .names import HUB_LABEL, USER_LABEL

#: On the container; ``docker/labels.py`` of the host's modules has it, too.
MEASURES_LABEL = "org.jupyterhub.deploy.measures"
_MOUNT = "/volumes"
_MEMORY = "256m"  # for one du, which remembers each file with several names


def directories(found: Iterable[Mapping[str, Any]], users: Collection[str]) -> dict[str, list[str]]:
    """Return the directories on the host of each user's volumes, from Docker's list of volumes. Pure.

    Volumes of other drivers, or with options by which Docker mounts something, are elsewhere. A quota mounts nothing.
    """
    places: dict[str, list[str]] = {user: [] for user in users}
    for volume in found:
        user = (volume.get("Labels") or {}).get(USER_LABEL)
        if user in places and volume["Driver"] == "local" and set(volume.get("Options") or {}) <= {"size"}:
            places[user].append(volume["Mountpoint"])
    return places


def command(number: int, seconds: int, seconds_of_each: int) -> list[str]:
    """Return the command that measures so many directories in any order, and ends itself after so many seconds. Pure.

    Each directory has a process and a time limit of its own: one with millions of files does not prevent the
    measurement of the others.
    """
    places = random.sample([f"{_MOUNT}/{index}" for index in range(number)], number)
    each = f'for place; do timeout -s KILL {seconds_of_each} du -sx -B1 "$place"; done'
    return ["timeout", "-s", "KILL", str(seconds), "sh", "-c", each, "sh", *places]


def sums(places: Mapping[str, list[str]], output: bytes) -> dict[str, int]:
    """Return the bytes of each user from the output of the command, without those that it has not finished. Pure.

    `places` has the directories in the order of the command.
    """
    lines = (line.partition("\t")[::2] for line in output.decode(errors="replace").splitlines())
    sizes = {path: int(size) for size, path in lines if size.isdigit()}
    found, index = {}, 0
    for user, paths in places.items():
        own = [sizes.get(f"{_MOUNT}/{index + offset}") for offset in range(len(paths))]
        index += len(paths)
        if None not in own:
            found[user] = sum(size or 0 for size in own)
    return found


class Measurement:
    """Measures the volumes of one hub's users.

    Args:
        hub: name of the hub and of its container.
    """

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self._client: Any = None

    def __call__(self, users: Collection[str], seconds: int, seconds_of_each: int) -> dict[str, int]:
        """Return the allocated bytes of the volumes of users, without what is not measured in so many seconds.

        A user without a volume needs 0. Raises DockerException or OSError.
        """
        if self._client is None:
            self._client = docker.APIClient()
            self._remove_leftovers()
        volumes = self._client.volumes(filters={"label": [f"{HUB_LABEL}={self.hub}", USER_LABEL]})["Volumes"]
        places = directories(volumes or [], users)
        paths = [path for own in places.values() for path in own]
        return sums(places, self._output(paths, seconds, seconds_of_each) if paths else b"")

    def _output(self, paths: list[str], *seconds: int) -> bytes:
        client = self._client
        program, *arguments = command(len(paths), *seconds)
        mounts = [Mount(f"{_MOUNT}/{index}", path, "bind", read_only=True) for index, path in enumerate(paths)]
        container = client.create_container(
            client.inspect_container(self.hub)["Image"],
            arguments,
            entrypoint=[program],
            name=f"{self.hub}-disk-{secrets.token_hex(4)}",
            user="0:0",
            labels={HUB_LABEL: self.hub, MEASURES_LABEL: self.hub},
            use_config_proxy=False,
            host_config=client.create_host_config(
                mounts=mounts,
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                cap_add=["DAC_READ_SEARCH"],
                security_opt=["no-new-privileges"],
                pids_limit=16,
                mem_limit=_MEMORY,
                memswap_limit=_MEMORY,
                cpu_shares=128,
                oom_score_adj=1000,
                log_config={"Type": "none"},
                auto_remove=True,
            ),
        )["Id"]
        try:
            stream = client.attach(container, stdout=True, stderr=False, stream=True)
            client.start(container)
        except BaseException:
            _remove(client, container)
            raise
        return b"".join(stream)

    def _remove_leftovers(self) -> None:
        """Remove containers that a killed hub has created and not started; Docker removes those that ran."""
        labels = {"label": f"{MEASURES_LABEL}={self.hub}", "status": "created"}
        for container in self._client.containers(all=True, filters=labels):
            _remove(self._client, container["Id"])


def _remove(client: Any, container: str) -> None:
    with contextlib.suppress(docker.errors.APIError):
        client.remove_container(container, force=True)
