"""The life of the hub container: created beside the one that runs, proven, swapped in, or taken back.

Names on the host, for a hub called ``jupyterhub``: the hub itself is ``jupyterhub``; ``jupyterhub-next`` is its
successor before the swap; ``jupyterhub-previous`` is its predecessor until the successor has answered. The state of a
swap is in these names alone, so that whoever was killed half-way leaves something that :meth:`HubContainer.recover`
can bring back to one hub.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy import hub_plan
from ansible.module_utils.jupyterhub_deploy.docker_client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

POLL_SECONDS = 0.25
PROBE_TIMEOUT = 2.0  # seconds for one answer of /hub/health
STOP_TIMEOUT = 20  # seconds that a hub gets to end by itself; it needs about one
FAILED_EXITS = 3  # restarts of a container after which it is not going to get better
LOG_LINES = 30


class HubContainer:
    """One hub container on one engine.

    :param client: a low-level Docker client.
    :param name: name of the hub, ``jupyterhub`` or the operator's.
    :param health_timeout: seconds that a hub gets from its start until it answers.
    """

    def __init__(self, client: Any, name: str, health_timeout: float) -> None:
        self.client = client
        self.name = name
        self.next = f"{name}-next"
        self.previous = f"{name}-previous"
        self.health_timeout = health_timeout

    def observe(self) -> dict[str, Any] | None:
        """Return the engine's description of the hub container, or ``None``."""
        return inspect_container(self.client, self.name)

    def recover(self) -> list[str]:
        """Finish what a killed run began; return a sentence for each thing done.

        A predecessor that is still aside while there is no hub is put back. A predecessor beside a hub stays: the hub
        has not been seen to answer yet, and :meth:`finish` or :meth:`take_back` will decide.
        """
        done = []
        if inspect_container(self.client, self.next):
            self._remove(self.next)
            done.append(f"removed {self.next}, left by an unfinished run")
        previous = inspect_container(self.client, self.previous)
        if previous and not self.observe():
            self._fit_database(previous)
            self.client.rename(self.previous, self.name)
            done.append(f"put {self.previous} back as {self.name}, left by an unfinished run")
        return done

    def unfinished(self) -> bool:
        """Tell whether a killed run left something behind."""
        left = bool(inspect_container(self.client, self.next))
        return left or bool(inspect_container(self.client, self.previous))

    def create(self, name: str, spec: dict[str, Any], labels: dict[str, str]) -> None:
        """Create a hub container from a spec (see ``hub_plan``), attached to all its networks, not started."""
        first, *others = spec["networks"]
        host_config = self.client.create_host_config(
            binds=spec["mounts"],
            restart_policy={"Name": spec["restart_policy"]},
            cap_drop=spec["hardening"]["cap_drop"],
            security_opt=spec["hardening"]["security_opt"],
            read_only=spec["hardening"]["read_only"],
            tmpfs=dict.fromkeys(spec["hardening"]["tmpfs"], "mode=1777"),
            network_mode=first,
        )
        environment = dict(spec["environment"], DOCKER_NOTEBOOK_IMAGE=spec["notebook_image"])
        self.client.create_container(
            spec["image"],
            name=name,
            # A name of its own, so that neither log lines nor the hub depend on the container's random id.
            hostname=self.name,
            environment=environment,
            labels=labels,
            host_config=host_config,
            networking_config=self.client.create_networking_config({first: self._endpoint()}),
            healthcheck={
                "test": spec["healthcheck"],
                # Nanoseconds, as the engine's API has it. A hub starts in 4 to 20 s; a failure counts after that.
                "interval": 30 * 10**9,
                "timeout": 10 * 10**9,
                "retries": 3,
                "start_period": 60 * 10**9,
            },
        )
        for network in others:
            self.client.connect_container_to_network(name, network, aliases=[self.name])

    def swap_in(self) -> None:
        """Put the successor in the place of the hub that runs, which stays aside, stopped."""
        if self.observe():
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
            self.client.rename(self.name, self.previous)
        self.client.rename(self.next, self.name)
        self.client.start(self.name)

    def finish(self) -> None:
        """The hub has answered: its predecessor is not needed any more."""
        if inspect_container(self.client, self.previous):
            self._remove(self.previous)

    def take_back(self) -> bool:
        """Remove a hub that failed and start its predecessor; ``False`` when there is none (the first hub)."""
        previous = inspect_container(self.client, self.previous)
        if not previous:
            if self.observe():
                # Without this the engine would start it again and again; its log stays readable.
                self.client.stop(self.name, timeout=STOP_TIMEOUT)
            return False
        if self.observe():
            self._remove(self.name)
        self._fit_database(previous)
        self.client.rename(self.previous, self.name)
        self.client.start(self.name)
        return True

    def answers(self) -> bool:
        """Ask the hub's health check once, on its address in the first network that has one."""
        container = self.observe()
        if not container or not container["State"]["Running"]:
            return False
        networks = container["NetworkSettings"]["Networks"].values()
        address = next((network["IPAddress"] for network in networks if network["IPAddress"]), None)
        return bool(address) and answers(f"http://{address}:{hub_plan.HUB_PORT}/hub/health")

    def given_up(self) -> bool:
        """Tell whether the hub has ended for good, or so often that waiting is pointless."""
        container = self.observe()
        if container is None or container.get("RestartCount", 0) >= FAILED_EXITS:
            return True
        return not container["State"]["Running"] and not container["State"].get("Restarting")

    def configs_in_use(self) -> set[str]:
        """Return the digests of the configurations that any container of this hub mounts."""
        found = self.client.containers(all=True, filters={"label": f"{hub_plan.LABEL_HUB}={self.name}"})
        return {container["Labels"].get(hub_plan.LABEL_CONFIG, "") for container in found}

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until ``ready()`` holds.

        :raises DeployError: with the hub's last log lines, when it does not within the time limit, or as soon as the
            hub has ended several times.
        """
        deadline = time.monotonic() + self.health_timeout
        while not ready():
            if self.given_up():
                state = (self.observe() or {"State": {}})["State"]
                raise DeployError(
                    f"the hub ended before it was {what} (exit code {state.get('ExitCode')})" + self._log()
                )
            if time.monotonic() > deadline:
                raise DeployError(f"after {self.health_timeout:.0f} s the hub was not {what}" + self._log())
            time.sleep(POLL_SECONDS)

    def run_once(self, spec: dict[str, Any], command: list[str], data: str) -> tuple[int, str]:
        """Run a command in a throw-away container of the hub image with the hub's configuration, without network.

        :param data: how the hub's data volume is mounted, ``ro`` or ``rw``.
        :returns: exit code, and the last lines of what it printed.
        """
        name = f"{self.name}-check"
        self._remove_if_there(name)
        given = (hub_plan.CONFIG_TARGET, hub_plan.SECRETS_TARGET, hub_plan.DATA_TARGET)
        mounts = [mount.rsplit(":", 1)[0] for mount in spec["mounts"] if mount.split(":")[1] in given]
        self.client.create_container(
            spec["image"],
            command,
            name=name,
            environment=dict(spec["environment"], DOCKER_NOTEBOOK_IMAGE=spec["notebook_image"]),
            host_config=self.client.create_host_config(
                binds=[f"{mount}:{data if mount.endswith(hub_plan.DATA_TARGET) else 'ro'}" for mount in mounts],
                network_mode="none",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                tmpfs={"/tmp": "mode=1777"},  # noqa: S108  (in the container)
            ),
        )
        try:
            self.client.start(name)
            code = self.client.wait(name, timeout=self.health_timeout)["StatusCode"]
            return code, self.client.logs(name, tail=LOG_LINES).decode(errors="replace").strip()
        finally:
            self._remove_if_there(name)

    def _fit_database(self, container: dict[str, Any]) -> None:
        """Give a hub that is to run again the database that it can read: its successor may have upgraded the schema.

        :raises DeployError: when there is no copy that fits.
        """
        command = ["python", "-m", "jupyterhub_deploy_hub.schema", "--restore"]
        code, output = self.run_once(hub_plan.observed_spec(container), command, data="rw")
        if code:
            raise DeployError(f"the hub that ran before cannot be put back: {output}")

    def _endpoint(self) -> dict[str, Any]:
        endpoint: dict[str, Any] = self.client.create_endpoint_config(aliases=[self.name])
        return endpoint

    def _log(self) -> str:
        try:
            lines = self.client.logs(self.name, tail=LOG_LINES).decode(errors="replace").strip()
        except docker_errors.APIError:
            lines = ""
        return f"; its last log lines:\n{lines}" if lines else "; it logged nothing"

    def _remove(self, name: str) -> None:
        self.client.remove_container(name, force=True)

    def _remove_if_there(self, name: str) -> None:
        if inspect_container(self.client, name):
            self._remove(name)


def uptime(container: dict[str, Any]) -> float:
    """Return the seconds since a container was started."""
    # The engine gives nanoseconds and Z; Python 3.9's fromisoformat() takes neither.
    started = datetime.strptime(container["State"]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S")
    return (datetime.now(timezone.utc).replace(tzinfo=None) - started).total_seconds()


def answers(url: str) -> bool:
    """Tell whether a GET of ``url`` is answered with success."""
    # The operator's proxy settings are for the internet, not for a container on this host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_TIMEOUT) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
