"""DockerSpawner with names that stay, volumes that their user can write to, and no pull inside the hub."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import docker.errors
from dockerspawner import DockerSpawner
from traitlets import Unicode, default

from . import volumes
from .names import docker_name

HUB_LABEL = "org.jupyterhub.deploy.hub"
USER_LABEL = "org.jupyterhub.deploy.user"


class SpawnRefusedError(Exception):
    """Shown to the user on the spawn page, and to the administrator in the hub's log."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class HubSpawner(DockerSpawner):
    """One container and one volume for each user. Settings are the library's (``c.DockerSpawner.…``)."""

    hub_name = Unicode("jupyterhub", config=True, help="Name of this hub on its host, for the labels of its volumes.")

    @default("escape")
    def _escape_default(self) -> Any:
        return docker_name

    @property
    def deploy_labels(self) -> dict[str, str]:
        """What backup and status find a user's container and volume by."""
        return {HUB_LABEL: self.hub_name, USER_LABEL: self.user.name}

    def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Label the user's container here, where no setting of the operator's can take the labels away."""
        if method == "create_container":
            kwargs["labels"] = {**(kwargs.get("labels") or {}), **self.deploy_labels}
        return super().docker(method, *args, **kwargs)

    @default("pull_policy")
    def _pull_policy_default(self) -> str:
        return "never"  # dockerspawner has one thread for Docker: a pull in it stops everybody

    async def pull_image(self, image: str) -> None:
        """Say what is missing in words for the user, where the library passes on Docker's 404."""
        if self.pull_policy != "never":
            return await super().pull_image(image)
        try:
            await self.docker("inspect_image", image)
        except docker.errors.ImageNotFound as error:
            raise SpawnRefusedError(
                f"The notebook image {image} is not on this hub's host. "
                "Please tell an administrator: site.yml puts it there."
            ) from error

    async def get_command(self) -> list[str]:
        """An image may have an entry point and no command, which the library cannot add arguments to."""
        if self.cmd:
            return list(self.cmd) + self.get_args()
        image = await self.docker("inspect_image", self.image)
        return list(image["Config"].get("Cmd") or []) + self.get_args()

    async def create_object(self) -> Any:
        """Create the container between its volumes' labels (before) and their owner (after)."""
        mount_points = await self._label_volumes()
        container = await super().create_object()
        for mount_point in mount_points:
            await self._own(container["Id"], mount_point)
        return container

    async def _label_volumes(self) -> list[str]:
        """Create the user's own volumes, labelled; return their mount points.

        A user's own is a named volume with ``{username}`` in its template; what is shared or on the host is not ours.
        """
        mount_points = []
        for template, target in self.volumes.items():
            name = self.format_volume_name(template, self)
            if name.startswith("/") or "username}" not in template:
                continue
            volume = await self.docker("create_volume", name, labels=self.deploy_labels)  # or the one that exists
            problem = volumes.label_problem(volume.get("Labels"), self.deploy_labels, name)
            if problem:
                raise SpawnRefusedError(f"{problem} Please tell an administrator.")
            target = target if isinstance(target, dict) else {"bind": target}
            if target.get("mode", "rw") == "rw":
                mount_points.append(self.format_volume_name(target["bind"], self))
        return mount_points

    async def _own(self, container: str, mount_point: str) -> None:
        """Give a mount point that is still root's to the user the container runs as. Leaves everything else alone."""
        user = (await self.docker("inspect_container", container))["Config"].get("User") or ""
        if user.partition(":")[0] in ("", "0", "root"):
            return
        entry = await self._first_entry(container, mount_point)
        if entry is None or entry.uid != 0:
            return
        wanted = volumes.owner_of_process(
            user, await self._text(container, "/etc/passwd"), await self._text(container, "/etc/group")
        )
        if wanted is not None and volumes.needs_owner(volumes.Owner(entry.uid, entry.gid), wanted):
            parent, archive = volumes.owner_archive(mount_point, wanted, entry.mode)
            await self.docker("put_archive", container, parent, archive)
            self.log.info("Gave %s of %s to %d:%d", mount_point, self.object_name, *wanted)

    async def _text(self, container: str, path: str) -> str:
        """Return a small text file of the container, empty if there is none."""
        data = await self._archive(container, path, 1 << 20)
        if not data:
            return ""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = next((archive.extractfile(entry) for entry in archive if entry.isfile()), None)
            return member.read().decode("utf-8", "replace") if member is not None else ""

    async def _first_entry(self, container: str, path: str) -> tarfile.TarInfo | None:
        """Return owner and mode of `path` in the container, from the head of its archive; the rest is not read."""
        head = await self._archive(container, path, 4096)
        if not head:
            return None
        with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
            return archive.next()

    async def _archive(self, container: str, path: str, size: int) -> bytes:
        """Return the first `size` bytes of Docker's archive of `path`, nothing if there is no such path."""

        def read() -> bytes:
            try:
                stream, _ = self.client.get_archive(container, path, chunk_size=size)
            except docker.errors.NotFound:
                return b""
            try:  # Docker locks the container until the stream is closed
                return bytes(next(stream, b""))
            finally:
                stream.close()

        import asyncio

        return await asyncio.wrap_future(self.executor.submit(read))
