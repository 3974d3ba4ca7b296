"""DockerSpawner with stable names, volumes that their user can write to, and without pulls inside the hub."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Callable

import docker.errors
from docker.utils import convert_volume_binds, parse_bytes
from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, Dict, Integer, TraitError, Unicode, default, validate

from . import container_settings, sign_ups, volumes
from .container_files import ContainerFiles
from .culled_spawner import CulledSpawner
from .hardening import hardened
from .limits import Limits, largest, limited, parsed
from .names import HUB_LABEL, USER_LABEL, docker_name
from .queued_spawner import QueuedSpawner
from .watched_spawner import SpawnRefusedError

#: Written by a restore of the hub's state; ``restore/hub_files.py`` of the host's modules has the same name.
RESTORED_FILE = Path("/data/restored.json")


class HubSpawner(QueuedSpawner, CulledSpawner):
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

    pids_limit = Integer(0, config=True, help="Processes and threads that a server can have; 0 means no limit.")
    shm_size = ByteSpecification(0, config=True, help="Size of /dev/shm; 0 means Docker's default, 64 MiB.")
    tmp_size = ByteSpecification(0, config=True, help="Size of /tmp, in memory; 0 means on Docker's disk, no limit.")
    cgroup_parent = Unicode("", config=True, help="The control group of all servers, which limits their memory.")
    group_limits = Dict(
        config=True,
        help="Limits of groups: {group: {'memory': bytes, 'cpu': cores, 'pids': …, 'shm_size': bytes, "
        "'tmp_size': bytes, 'disk': bytes}}. The largest limit of a user applies.",
    )

    volume_options = Dict(
        config=True, help="Options of Docker's driver for new volumes of users, such as {'size': '10G'} on XFS."
    )

    #: Why the container that has the name of the user's server is not the user's, or None.
    _name_problem: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._base = self._applied = self._limits()
        self._configured = {source for _, source in container_settings.sources(self.config, type(self))}
        self._configured_options = container_settings.configured(self.config, type(self), "extra_host_config", {})

    @default("escape")
    def _escape_default(self) -> Any:
        return docker_name

    @property
    def deploy_labels(self) -> dict[str, str]:
        """The labels by which the deployment finds this hub's containers and volumes of the user."""
        return {HUB_LABEL: self.hub_name, USER_LABEL: self.user.name}

    def _limits(self) -> Limits:
        # A function in the configuration may return a text, which the library does not convert.
        memory, cpu = int(parse_bytes(self.mem_limit or 0)), float(self.cpu_limit or 0)
        return Limits(memory, cpu, self.pids_limit, self.shm_size, self.tmp_size, self.disk_limit)

    @validate("group_limits")
    def _validate_group_limits(self, proposal: Any) -> dict[str, dict[str, Any]]:
        try:
            return {group: parsed(limits) for group, limits in proposal.value.items()}
        except (AttributeError, TypeError, ValueError, docker.errors.DockerException) as error:
            raise TraitError(f"group_limits: {error}") from error

    def next_limits(self) -> Limits:
        """Return the limits of the next start: the user's groups may be others than at the last one."""
        now = self._limits()
        # A hook of the operator's may have set some since the last start.
        self._base = Limits._make(
            old if new == applied else new for old, applied, new in zip(self._base, self._applied, now)
        )
        groups = {group.name for group in self.user.groups}
        return largest(self._base, [found for name, found in self.group_limits.items() if name in groups])

    async def apply_group_overrides(self) -> None:
        """Set the limits of the user's groups."""
        self._applied = self.next_limits()
        self.mem_limit, cpu_limit, self.pids_limit, self.shm_size, self.tmp_size, self.disk_limit = self._applied
        self.cpu_limit = cpu_limit or None  # with 0, dockerspawner sets a period, which excludes nano_cpus
        await super().apply_group_overrides()

    def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Label, harden and limit the container here, where settings of the operator cannot remove it by the way."""
        if method == "create_container":
            given = kwargs.get("labels") or {}
            given = given if isinstance(given, dict) else dict.fromkeys(given, "")
            kwargs["labels"] = {**given, **self.deploy_labels}
            kwargs["host_config"] = hardened(
                limited(kwargs.get("host_config") or {}, self._limits(), self.cgroup_parent),
                convert_volume_binds(self.volume_binds),
                self.drop_capabilities,
                self.no_new_privileges,
            )
        return super().docker(method, *args, **kwargs)

    @default("pull_policy")
    def _pull_policy_default(self) -> str:
        return "never"  # a start would wait for the registry, and fail while it does not answer

    async def pull_image(self, image: str) -> None:
        """Raise a clear error for a missing image, where the library passes on Docker's 404."""
        if self.pull_policy != "never":
            return await super().pull_image(image)
        try:
            await self.docker("inspect_image", image)
        except docker.errors.ImageNotFound as error:
            raise SpawnRefusedError(
                f"The notebook image {image} is not on this hub's host. "
                "Ask an administrator to run make site, which installs it."
            ) from error

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
        """Label the user's volumes, create the container, then set the volumes' owner."""
        if self._name_problem:
            raise SpawnRefusedError(f"{self._name_problem} Please contact an administrator.")
        mounted = self._mounted()
        own = [one for one in mounted if not one.is_shared and not one.is_directory]
        labeled = {*(name for name in self.volumes if "username}" in name), *(one.name for one in own)}
        self._check_added(labeled)
        given: Any = self.extra_host_config  # type: ignore[has-type]
        if callable(given):
            self.extra_host_config = await self._returned_options(given, labeled)
        try:
            await self._label_volumes(own)
            container = await super().create_object()
        finally:
            self.extra_host_config = given  # the function is called again at the next start
        for volume in mounted:
            # An administrator manages the rights of a directory of the host that users share.
            if volume.is_writable and not (volume.is_shared and volume.is_directory):
                await self._own(container["Id"], volume)
        return container

    async def _returned_options(self, function: Callable[[Any], Any], own: set[str]) -> dict[str, Any]:
        """Return what the operator's function for `extra_host_config` returns for this server.

        Raises SpawnRefusedError for what the check of the configuration refuses, which cannot call the function.
        """
        options = function(self)
        if inspect.isawaitable(options):
            options = await options
        problems = container_settings.returned_problems(
            options, own, self._own_names, self.drop_capabilities, self.no_new_privileges
        )
        self._refuse_start(problems, "the function c.DockerSpawner.extra_host_config")
        return dict(options)

    @property
    def _own_names(self) -> set[str]:
        """The user's name: as it is, as in names of volumes, and without a provider's prefix and domain."""
        short = self.user.name.rpartition(":")[2].partition("@")[0]
        return {self.user.name, self.escaped_name, short or self.user.name}

    def _check_added(self, own: set[str]) -> None:
        """Raise SpawnRefusedError for what a hook has set and the check of the configuration would refuse.

        `own` are the templates and names of the volumes that are labeled.
        """
        added = [*self.volumes, *self.read_only_volumes, *container_settings.of_mounts(self.mounts)]
        problems = [
            text
            for source in added
            if source not in self._configured
            for text in container_settings.source_problems(source, own, self._own_names)
        ]
        options = self.extra_host_config
        if not callable(options) and options != self._configured_options:
            problems += container_settings.returned_problems(
                options, own, self._own_names, self.drop_capabilities, self.no_new_privileges, self._configured
            )
        self._refuse_start(problems, "what a hook or class in jupyterhub_extra_config has set")

    def _refuse_start(self, problems: list[str], where: str) -> None:
        if not problems:
            return
        self.log.error("Server %s was not started because of %s: %s", self.object_name, where, "; ".join(problems))
        raise SpawnRefusedError(
            "The configuration of this hub gives your server options or volumes that it does not allow. Please "
            "contact an administrator, who finds the reason in the hub's log."
        )

    def _mounted(self) -> list[volumes.Mounted]:
        """Return the volumes and directories of ``volumes``; those with ``{username}`` are the user's own."""
        found = []
        for template, target in self.volumes.items():
            target = target if isinstance(target, dict) else {"bind": target}
            name, mount_point = (self.format_volume_name(part, self) for part in (template, target["bind"]))
            is_writable = target.get("mode", "rw") == "rw"
            found.append(volumes.Mounted(name, mount_point, is_writable, "username}" not in template))
        return found

    async def _label_volumes(self, own: list[volumes.Mounted]) -> None:
        """Create and label the user's own volumes.

        Raises SpawnRefusedError when one of them is another user's.
        """
        forgotten = volumes.forgotten_time(RESTORED_FILE.read_text() if RESTORED_FILE.exists() else "")
        since = self.user.orm_user.created.replace(tzinfo=None).isoformat(timespec="seconds")
        signed_up = sign_ups.signed_up_at(self.db.connection(), self.user.name)
        labels = {**self.deploy_labels, volumes.SINCE_LABEL: since}
        for name in (one.name for one in own):
            # Keeps an existing one, whatever its options.
            await self.docker("create_volume", name, driver_opts=self.volume_options, labels=labels)
            # Not from the answer: of a volume that nobody has inspected since Docker started, it has no labels.
            volume = await self.docker("inspect_volume", name)
            problem = volumes.label_problem(volume.get("Labels"), self.deploy_labels, name, since, forgotten, signed_up)
            if problem:
                raise SpawnRefusedError(f"{problem} Please contact an administrator.")

    async def _own(self, container: str, volume: volumes.Mounted) -> None:
        """Change the owner of the user's volume from root to the user of the container.

        Any other owner stays, and so does the owner of a shared volume. The user is told if they cannot write to it.
        """
        user = (await self.docker("inspect_container", container))["Config"].get("User") or ""
        if user.partition(":")[0] in ("", "0", "root"):
            return
        files, mount_point = ContainerFiles(self, container), volume.mount_point
        entry = await files.entry(mount_point)
        if entry is None or not entry.isdir():
            return
        wanted = volumes.owner_of_process(user, await files.text("/etc/passwd"), await files.text("/etc/group"))
        current = volumes.Owner(entry.uid, entry.gid)
        if wanted is not None and volume.is_directory and volumes.is_writable(current, entry.mode, wanted):
            return  # an administrator has created it so
        if wanted is not None and not volume.is_shared and volumes.needs_owner(current, wanted):
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
