"""How a volume is brought to rest while it is read: not at all, by pausing, or by stopping the servers that use it."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import helper_container
from ansible.module_utils.jupyterhub_deploy.backup.pause import Pauses
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, containers_using
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.servers import policy, stop

LIVE, PAUSED, STOPPED = "live", "paused", "stopped"


class Rest:
    """One volume's rest: a context, and afterwards what it came to.

    A volume that cannot be brought to rest is read all the same, and is said to have been live: some backup is better
    than none.

    Attributes:
        consistency: what the manifest says.
        paused, stopped: names of containers that were.
        running: sentences on those that went on.
    """

    consistency = LIVE

    def __init__(self) -> None:
        self.paused: list[str] = []
        self.stopped: list[str] = []
        self.running: list[str] = []

    def __enter__(self) -> Rest:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave everything as it is."""

    def told(self) -> dict[str, Any]:
        """Return its part of the result of a backup."""
        return {
            "consistency": self.consistency,
            "paused": self.paused,
            "stopped": self.stopped,
            "not_at_rest": self.running,
        }


class _Watched(Rest):
    """A rest during which no container may run that uses the volume."""

    aim = LIVE

    def __init__(self, client: Any, volume: Volume) -> None:
        super().__init__()
        self.client = client
        self.volume = volume

    def running_now(self) -> list[dict[str, Any]]:
        """Return the containers that may write to the volume."""
        found = containers_using(self.client, self.volume.name, self.volume.mountpoint)
        ours = helper_container.LABEL  # holds a volume for us, and writes nothing
        return [one for one in found if one["State"] != "paused" and ours not in (one["Labels"] or {})]

    def judge(self) -> None:
        """Say what it came to, at the end, before anything runs again."""
        for one in self.running_now():
            name = name_of(one)
            if not any(said.startswith(f"{name} ") for said in self.running):
                self.running.append(f"{name} began to run, or went on, while the volume was read")
        self.consistency = LIVE if self.running else self.aim


class PausedRest(_Watched):
    """Pauses the containers that use the volume."""

    aim = PAUSED

    def __init__(self, client: Any, volume: Volume, pauses: Pauses) -> None:
        super().__init__(client, volume)
        self.pauses = pauses
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Rest:
        for one in self.running_now():
            name = name_of(one)
            try:
                self._stack.enter_context(self.pauses.paused(one["Id"]))
                self.paused.append(name)
            except DeployError as error:
                self.running.append(f"{name} was not paused: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:  # whatever the engine answers
            self.judge()


class StoppedRest(_Watched):
    """Has the hub stop the servers that use the volume. They stay stopped: their users start them again.

    A server that computes is left alone: what it computes would be lost, and nobody is there to be asked.
    """

    aim = STOPPED

    def __init__(self, client: Any, volume: Volume, hub: str, token_file: str, timeout: float) -> None:
        super().__init__(client, volume)
        self.hub, self.token_file, self.timeout = hub, token_file, timeout

    def __enter__(self) -> Rest:
        names = [name_of(one) for one in self.running_now()]
        if names:
            try:
                self._stop(names)
            except DeployError as error:
                self.running += [f"{name} was not stopped: {error}" for name in names if name not in self.stopped]
        return self

    def _stop(self, names: list[str]) -> None:
        api = hub_api.connect(self.client, self.hub, self.token_file)
        known = {one["container"]: one for one in stop.observe(self.client, api, self.hub, set())}
        for name in names:
            if name not in known:
                self.running.append(f"{name} was not stopped: it is no server that the hub knows")
                continue
            server, stops, reason = stop.recheck(self.client, api, known[name], "stop", 0)
            if stops:
                cores = policy.computing(self.client.stats(server["container_id"], stream=False))
                stops = cores <= policy.COMPUTING_CORES
                reason = f"it computes: {cores:.0%} of a processor core"
            if not stops:
                self.running.append(f"{name} was not stopped: {reason}")
                continue
            stop.stop(api, server, self.timeout)
            self.stopped.append(name)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(docker_errors.NotFound):
            self.judge()


class Consistency:
    """What is asked for of all volumes of a run.

    :param mode: ``live``, ``paused`` or ``stopped``.
    :param data_volume: the hub's own, which stays live: a hub that is paused or stopped lets nobody in.
    :param directory: of the backups.
    :param token_file: of the hub's secret ``api_token``.
    :param timeout: seconds that one server gets to stop.
    """

    def __init__(
        self, client: Any, hub: str, mode: str, data_volume: str, directory: str, token_file: str, timeout: float
    ) -> None:
        self.client, self.hub, self.mode, self.data_volume = client, hub, mode, data_volume
        self.token_file, self.timeout = token_file, timeout
        self.pauses = Pauses(client, directory)

    def rest(self, volume: Volume) -> Rest:
        """Return the rest of one volume."""
        if self.mode == PAUSED and volume.name != self.data_volume:
            return PausedRest(self.client, volume, self.pauses)
        if self.mode == STOPPED and volume.name != self.data_volume:
            return StoppedRest(self.client, volume, self.hub, self.token_file, self.timeout)
        return Rest()
