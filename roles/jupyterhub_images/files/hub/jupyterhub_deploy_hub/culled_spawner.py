"""Spawner whose servers know when they are stopped and how much disk they can use, and warn their users."""

from __future__ import annotations

from typing import Any

import docker.errors
from jupyterhub.traitlets import ByteSpecification
from traitlets import Integer

from . import culling, disk_limit
from .container_files import ContainerFiles
from .watched_spawner import WatchedSpawner


class CulledSpawner(WatchedSpawner):
    """Gives each container the limits of culling and of the disk, and the files with which Jupyter Server warns.

    A ``pre_spawn_hook`` may set other limits for a user's server.
    """

    cull_idle_seconds = Integer(0, config=True, help="Stop a server that nobody has used for this time; 0: never.")
    cull_max_age_seconds = Integer(0, config=True, help="Stop a server this time after its start; 0: never.")
    cull_kernels_seconds = Integer(0, config=True, help="Stop a kernel that nobody has used for this time; 0: never.")

    disk_limit = ByteSpecification(0, config=True, help="Bytes of the user's files; beyond, no start. 0: no limit.")

    def get_env(self) -> dict[str, str]:
        """Return the environment of the server, with the limits of which it warns."""
        limits = culling.Limits(self.cull_idle_seconds, self.cull_max_age_seconds, self.cull_kernels_seconds)
        disk = {disk_limit.VARIABLE: str(self.disk_limit)} if self.disk_limit else {}
        return {**super().get_env(), **culling.environment(limits), **disk}

    async def create_object(self) -> Any:
        """Create the container and add the files."""
        container = await super().create_object()
        limits = (self.cull_idle_seconds, self.cull_max_age_seconds, self.cull_kernels_seconds, self.disk_limit)
        if any(limits):
            await self._add_files(container["Id"])
        return container

    async def _add_files(self, container: str) -> None:
        config_file = f"{culling.DIRECTORY}/{culling.CONFIG_FILE}"
        if await ContainerFiles(self, container).entry(config_file):
            self.log.warning("%s does not warn of its end: %s is a file of its image", self.object_name, config_file)
            return
        try:
            await self.docker("put_archive", container, culling.DIRECTORY, culling.archive())
        except docker.errors.APIError as error:  # a read-only container, for example
            self.log.warning("%s does not warn of its end: %s", self.object_name, error.explanation or error)
