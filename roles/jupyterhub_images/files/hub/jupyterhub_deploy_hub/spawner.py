"""DockerSpawner with stable names, volumes that their user can write to, and without pulls inside the hub."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from typing import Any

import docker.errors
from docker.utils import convert_volume_binds
from dockerspawner import DockerSpawner
from jupyterhub.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Bool, Unicode, default

from . import exits, volumes
from .hardening import hardened
from .names import docker_name

HUB_LABEL = "org.jupyterhub.deploy.hub"
USER_LABEL = "org.jupyterhub.deploy.user"
#: Seconds between two checks whether a server that starts answers, or has ended: at first, and at most.
CHECK_AFTER, CHECK_EVERY = 0.1, 2.0
#: Seconds before each attempt to read the log of a server that ended.
LOG_PAUSES = (0.2, 0.5, 1.0, 2.0)


class SpawnRefusedError(web.HTTPError):
    """An error for the user on the spawn page, and for the administrator in the hub's log.

    An HTTPError, because JupyterHub replaces the message of any other error that is raised within a second.
    """

    def __init__(self, message: str, log: list[str] | None = None) -> None:
        super().__init__(500, "%s", message if log is None else exits.with_log(message, log))
        self.jupyterhub_message = message
        if log is not None:
            self.jupyterhub_html_message = exits.as_html(message, log)


class HubSpawner(DockerSpawner):
    """One container and one volume for each user. Settings are the library's (``c.DockerSpawner.…``)."""

    hub_name = Unicode(
        "jupyterhub", config=True, help="Name of this hub on its host, for the labels of its containers and volumes."
    )
    drop_capabilities = Bool(
        True, config=True, help="Drop all capabilities, except those in extra_host_config['cap_add']."
    )
    no_new_privileges = Bool(
        True, config=True, help="Run servers with no-new-privileges, so that sudo and setuid programs have no effect."
    )

    #: Why the container that has the name of the user's server is not the user's, or None.
    _name_problem: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notices: list[str] = []

    @default("escape")
    def _escape_default(self) -> Any:
        return docker_name

    @property
    def deploy_labels(self) -> dict[str, str]:
        """The labels by which the deployment finds this hub's containers and volumes of the user."""
        return {HUB_LABEL: self.hub_name, USER_LABEL: self.user.name}

    def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Label and harden the user's container here, where settings of the operator cannot remove it by the way."""
        if method == "create_container":
            given = kwargs.get("labels") or {}
            given = given if isinstance(given, dict) else dict.fromkeys(given, "")
            kwargs["labels"] = {**given, **self.deploy_labels}
            kwargs["host_config"] = hardened(
                kwargs.get("host_config"),
                convert_volume_binds(self.volume_binds),
                self.drop_capabilities,
                self.no_new_privileges,
            )
        return super().docker(method, *args, **kwargs)

    @default("pull_policy")
    def _pull_policy_default(self) -> str:
        return "never"  # dockerspawner has one thread for Docker, which a pull would block for all users

    async def pull_image(self, image: str) -> None:
        """Raise a clear error for a missing image, where the library passes on Docker's 404."""
        if self.pull_policy != "never":
            return await super().pull_image(image)
        try:
            await self.docker("inspect_image", image)
        except docker.errors.ImageNotFound as error:
            raise SpawnRefusedError(
                f"The notebook image {image} is not on this hub's host. "
                "Ask an administrator to run site.yml, which installs it."
            ) from error

    async def start(self) -> Any:
        """Start the server and wait until it answers, so that the end of its container is noticed at once.

        JupyterHub itself would wait for `http_timeout`, and then hide the reason: when the server ends while a request
        waits for it, `spawn_single_user` asks an unfinished future for its exception (InvalidStateError).
        """
        self.notices.clear()
        try:
            address = await super().start()
            if isinstance(address, tuple) and not self.internal_ssl:
                self._save_address(*address)
                await self._wait_until_it_answers(*address)
        except docker.errors.APIError as error:
            if self.object_id and self.remove:
                await self.remove_object()
            raise SpawnRefusedError(f"Docker could not start the server: {error.explanation or error}") from error
        except web.HTTPError:
            raise
        except Exception:  # a server that has ended has no address, which the library reports in several ways
            await self._refuse_if_it_ended()
            raise
        return address

    def _save_address(self, ip: str, port: int) -> None:
        """Save what JupyterHub saves after `start`, so that a hub that takes over meanwhile finds the server."""
        self.server.ip, self.server.port = ip, port
        self.orm_spawner.state = self.get_state()
        self.db.commit()

    async def _wait_until_it_answers(self, ip: str, port: int) -> None:
        """Raise SpawnRefusedError when the server ends, or does not answer in time."""
        host = f"[{ip}]" if ":" in ip else ip
        url = url_path_join(f"http://{host}:{port}", self.server.base_url, "api")
        deadline = time.monotonic() + self.http_timeout
        pause = CHECK_AFTER
        while not await _answers(url):
            await self._refuse_if_it_ended()
            if time.monotonic() > deadline:
                await self._refuse(f"The server did not answer within {self.http_timeout} seconds.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, CHECK_EVERY)

    async def _refuse_if_it_ended(self) -> None:
        container = await self.get_object()
        if container is None:
            raise SpawnRefusedError("The server's container was removed while the server started.")
        if not container["State"]["Running"]:
            config = container["Config"]
            command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
            await self._refuse(exits.exit_text(container["State"], command))

    async def _refuse(self, text: str) -> None:
        """Raise an error with the last lines of the server's log, and remove its container."""
        lines: list[str] = []
        for pause in LOG_PAUSES:  # Docker writes the log a moment after the end
            await asyncio.sleep(pause)
            try:
                output = await self.docker("logs", self.container_id, tail=exits.LAST_LINES)
            except docker.errors.APIError as error:  # Docker's logging driver keeps none, for example
                output = str(error.explanation or error).encode()
            lines = exits.last_lines(output, [self.api_token])
            if lines:
                break
        if self.remove:  # JupyterHub does not stop a server that has ended
            await self.stop_object()
            await self.remove_object()
        raise SpawnRefusedError(text, lines)

    async def progress(self) -> Any:
        """Show what the user has to know about the server, while it starts."""
        yield {"progress": 50, "message": "Starting the server"}
        shown = 0
        while True:
            for notice in self.notices[shown:]:
                yield {"message": notice}
            shown = len(self.notices)
            await asyncio.sleep(0.5)

    async def get_command(self) -> list[str]:
        """Support images with an entry point and without a command, to which the library cannot add arguments."""
        if self.cmd:
            return list(self.cmd) + self.get_args()
        image = await self.docker("inspect_image", self.image)
        return list(image["Config"].get("Cmd") or []) + self.get_args()

    async def get_object(self) -> Any:
        """Return the user's container; not somebody else's of that name, which the library would stop and remove."""
        found = await super().get_object()
        labels = found["Config"].get("Labels") if found else self.deploy_labels
        self._name_problem = volumes.container_problem(labels, self.deploy_labels, self.object_name)
        if self._name_problem:
            self.object_id = ""
            return None
        return found

    async def create_object(self) -> Any:
        """Label the volumes, create the container, then set the volumes' owner."""
        if self._name_problem:
            raise SpawnRefusedError(f"{self._name_problem} Please contact an administrator.")
        mount_points = await self._label_volumes()
        container = await super().create_object()
        for mount_point in mount_points:
            await self._own(container["Id"], mount_point)
        return container

    async def _label_volumes(self) -> list[str]:
        """Create and label the user's own volumes; return their mount points.

        These are the named volumes with ``{username}`` in their template, not shared volumes or host directories.
        """
        mount_points = []
        for template, target in self.volumes.items():
            name = self.format_volume_name(template, self)
            if name.startswith("/") or "username}" not in template:
                continue
            volume = await self.docker("create_volume", name, labels=self.deploy_labels)  # returns an existing one
            problem = volumes.label_problem(volume.get("Labels"), self.deploy_labels, name)
            if problem:
                raise SpawnRefusedError(f"{problem} Please contact an administrator.")
            target = target if isinstance(target, dict) else {"bind": target}
            if target.get("mode", "rw") == "rw":
                mount_points.append(self.format_volume_name(target["bind"], self))
        return mount_points

    async def _own(self, container: str, mount_point: str) -> None:
        """Change the owner of a mount point from root to the user of the container; keep any other owner."""
        user = (await self.docker("inspect_container", container))["Config"].get("User") or ""
        if user.partition(":")[0] in ("", "0", "root"):
            return
        entry = await self._first_entry(container, mount_point)
        if entry is None:
            return
        wanted = volumes.owner_of_process(
            user, await self._text(container, "/etc/passwd"), await self._text(container, "/etc/group")
        )
        current = volumes.Owner(entry.uid, entry.gid)
        if wanted is not None and volumes.needs_owner(current, wanted):
            parent, archive = volumes.owner_archive(mount_point, wanted, entry.mode)
            await self.docker("put_archive", container, parent, archive)
            self.log.info("Changed the owner of %s in %s to %d:%d", mount_point, self.object_name, *wanted)
        elif wanted is not None and not volumes.is_writable(current, entry.mode, wanted):
            notice = (
                f"The files in {mount_point} are read-only: they belong to user {current.uid}, and this image runs as "
                f"user {wanted.uid}. Ask an administrator."
            )
            self.notices.append(notice)
            self.log.warning("%s: %s See docs/how-to/notebook-image.md.", self.object_name, notice)

    async def _text(self, container: str, path: str) -> str:
        """Return a small text file of the container, empty if it does not exist."""
        data = await self._archive(container, path, 1 << 20)
        if not data:
            return ""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = next((archive.extractfile(entry) for entry in archive if entry.isfile()), None)
            return member.read().decode("utf-8", "replace") if member is not None else ""

    async def _first_entry(self, container: str, path: str) -> tarfile.TarInfo | None:
        """Return owner and mode of `path` in the container, from the first block of its archive."""
        head = await self._archive(container, path, 4096)
        if not head:
            return None
        with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
            return archive.next()

    async def _archive(self, container: str, path: str, size: int) -> bytes:
        """Return the first `size` bytes of Docker's archive of `path`, nothing if it does not exist."""

        def read() -> bytes:
            try:
                stream, _ = self.client.get_archive(container, path, chunk_size=size)
            except docker.errors.NotFound:
                return b""
            try:  # Docker keeps the container locked until the stream is closed
                return bytes(next(stream, b""))
            finally:
                stream.close()

        return await asyncio.wrap_future(self.executor.submit(read))


async def _answers(url: str) -> bool:
    """Return whether a server answers at `url`, with any status that JupyterHub accepts."""
    try:
        await AsyncHTTPClient().fetch(url, follow_redirects=False, request_timeout=20)
    except HTTPClientError as error:
        return bool(error.code < 500)
    except OSError:
        return False
    return True
