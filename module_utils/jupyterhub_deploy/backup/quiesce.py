"""Quiesce a volume while it is read: pause the containers that use it, or stop the servers that use it."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import helper_container
from ansible.module_utils.jupyterhub_deploy.backup.pause import Pauses
from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, containers_using
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.servers import policy, stop

LIVE, PAUSED, STOPPED = "live", "paused", "stopped"


class QuiescedVolume:
    """A volume while it is read. This one is not quiesced: containers keep writing to it.

    A volume that cannot be quiesced is backed up as live: a live backup is better than none.

    Attributes:
        consistency: for the manifest.
        paused, stopped: names of the containers that were paused or stopped.
        running: why other containers continued to run, by their names.
    """

    consistency = LIVE

    def __init__(self) -> None:
        self.paused: list[str] = []
        self.stopped: list[str] = []
        self.running: dict[str, str] = {}

    def __enter__(self) -> QuiescedVolume:
        return self

    def __exit__(self, *_: object) -> None:
        """Change nothing."""

    def result(self) -> dict[str, Any]:
        """Return the part of a backup's result about quiescing."""
        return {
            "consistency": self.consistency,
            "paused": self.paused,
            "stopped": self.stopped,
            "not_at_rest": [f"{name} {reason}" for name, reason in self.running.items()],
        }


class _IdleVolume(QuiescedVolume):
    """A volume that no running container may use while it is read."""

    aim = LIVE

    def __init__(self, client: Any, volume: Volume) -> None:
        super().__init__()
        self.client = client
        self.volume = volume

    def running_now(self) -> list[dict[str, Any]]:
        """Return the containers that may write to the volume."""
        found = containers_using(self.client, self.volume.name, self.volume.mountpoint)
        ours = helper_container.LABEL  # mounts the volume for us, and writes nothing
        return [one for one in found if one["State"] != "paused" and ours not in (one["Labels"] or {})]

    def record_outcome(self) -> None:
        """Record which containers ran nevertheless. Called before any of them is unpaused."""
        for container in self.running_now():
            self.running.setdefault(name_of(container), "started, or continued to run, while the volume was read")
        self.consistency = LIVE if self.running else self.aim


class PausedVolume(_IdleVolume):
    """Pauses the containers that use the volume."""

    aim = PAUSED

    def __init__(self, client: Any, volume: Volume, pauses: Pauses) -> None:
        super().__init__(client, volume)
        self.pauses = pauses
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> QuiescedVolume:
        for container in self.running_now():
            name = name_of(container)
            try:
                self._stack.enter_context(self.pauses.paused(container["Id"]))
                self.paused.append(name)
            except DeployError as error:
                self.running[name] = f"was not paused: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:  # unpauses even if Docker reports an error here
            self.record_outcome()


class StoppedVolume(_IdleVolume):
    """Stops the servers that use the volume, through the hub. They stay stopped until their users start them.

    Busy servers are not stopped: their results would be lost.
    """

    aim = STOPPED

    def __init__(self, client: Any, volume: Volume, hub: str, token_file: str, timeout: float) -> None:
        super().__init__(client, volume)
        self.hub, self.token_file, self.timeout = hub, token_file, timeout

    def __enter__(self) -> QuiescedVolume:
        names = [name_of(one) for one in self.running_now()]
        if names:
            try:
                self._stop(names)
            except DeployError as error:
                self.running.update({name: f"was not stopped: {error}" for name in names if name not in self.stopped})
        return self

    def _stop(self, names: list[str]) -> None:
        api = hub_api.connect(self.client, self.hub, self.token_file)
        known = {one["container"]: one for one in stop.observe(self.client, api, self.hub, set())}
        for name in names:
            if name not in known:
                self.running[name] = "was not stopped: the hub does not know it as a server"
                continue
            server, stops, reason = stop.recheck(self.client, api, known[name], "stop", 0)
            if stops:
                cores = policy.computing(self.client.stats(server["container_id"], stream=False))
                stops = cores <= policy.COMPUTING_CORES
                reason = f"it computes: {cores:.0%} of a processor core"
            if not stops:
                self.running[name] = f"was not stopped: {reason}"
                continue
            stop.stop(api, server, self.timeout)
            self.stopped.append(name)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(docker_errors.NotFound):
            self.record_outcome()


class Consistency:
    """The consistency of all volumes of a run.

    The volume with the hub's database stays live: users cannot sign in to a hub that is paused or stopped.
    """

    def __init__(self, client: Any, settings: BackupSettings) -> None:
        self.client, self.settings = client, settings
        self.pauses = Pauses(client, settings.directory)

    def quiesce(self, volume: Volume) -> QuiescedVolume:
        """Return the context in which one volume is read."""
        settings = self.settings
        if settings.consistency == LIVE or volume.name == settings.database_volume:
            return QuiescedVolume()
        if settings.consistency == PAUSED:
            return PausedVolume(self.client, volume, self.pauses)
        return StoppedVolume(self.client, volume, settings.name, settings.api_token_file, settings.stop_timeout)
