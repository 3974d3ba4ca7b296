"""A hub of a test's own on this machine's Docker: what has its name, and how it is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer

from hosts import run
from support.ports import free_port


class NamedHub:
    """One hub at a free port of this machine; nothing of it exists at first.

    Args:
        name: the hub's name, from ``hosts.run.name``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = docker.from_env()
        self.port = free_port()

    @property
    def url(self) -> str:
        """The hub's public address, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def containers(self) -> list[str]:
        """Return the names of all its containers, the stopped ones and users' too."""
        return sorted(str(found.name) for found in self._containers())

    def destroy(self) -> None:
        """Remove its containers, volumes, networks, rules and lock."""
        GuardContainer(self.client.api, self.name, 60).remove()  # with its rules in the kernel
        for container in self._containers():
            container.remove(force=True, v=True)
        for volume in filter(self._owns, self.client.volumes.list()):
            volume.remove(force=True)
        for network in filter(self._owns, self.client.networks.list()):
            network.remove()
        Path(f"/run/jupyterhub-deploy-hub-{self.name}.lock").unlink(missing_ok=True)
        run.remove_memory_limits(self.name.__eq__)

    def _containers(self) -> list[Any]:
        # Others use this Docker too: containers that they remove during the listing are not ours.
        return list(filter(self._owns, self.client.containers.list(all=True, ignore_removed=True)))

    def _owns(self, thing: Any) -> bool:
        return bool(thing.name == self.name or thing.name.startswith(f"{self.name}-"))
