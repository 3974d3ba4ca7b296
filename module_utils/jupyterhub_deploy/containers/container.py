"""One container of the deployment on its host: what it is like, whether it answers, and how it is made.

``containers.replacement`` adds how one follows another.
"""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

POLL_SECONDS = 0.1
PROBE_TIMEOUT = 2.0  # seconds for one answer of a health check
# A container that has been up for longer than it needs to start gets this long to answer, seconds. A restart of the
# proxy cuts everybody off, and on a host whose users compute an answer can take a while.
PATIENCE = 30.0
FAILED_EXITS = 3  # restarts of a container after which it is not going to get better
LOG_LINES = 30
SECOND = 10**9  # nanoseconds, in which the engine's API counts


class DeployedContainer:
    """One container on one engine. A subclass says what it is and when it answers.

    :param client: a low-level Docker client.
    :param name: name of the container.
    :param public_probe: URL of a health check as a user reaches it, from this host.
    :param health_timeout: seconds that the container gets from its start until it answers.
    """

    what = "container"

    def __init__(self, client: Any, name: str, public_probe: str, health_timeout: float) -> None:
        self.client = client
        self.name = name
        self.public_probe = public_probe
        self.health_timeout = health_timeout

    def probe(self) -> str:
        """Return port and path of the container's own health check, as ``8081/hub/health``."""
        raise NotImplementedError

    def observe(self) -> dict[str, Any] | None:
        """Return the engine's description of the container, or ``None``."""
        return inspect_container(self.client, self.name)

    def address(self, name: str = "") -> str | None:
        """Return the address of the container (or of the one with that name) in the first network that gave it one,
        ``None`` while it does not run."""
        container = inspect_container(self.client, name or self.name)
        if not container or not container["State"]["Running"]:
            return None
        networks = container["NetworkSettings"]["Networks"].values()
        return next((network["IPAddress"] for network in networks if network["IPAddress"]), None)

    def accepts(self, name: str, port: int) -> bool:
        """Tell whether the container of that name takes connections."""
        address = self.address(name)
        if not address:
            return False
        try:
            socket.create_connection((address, port), PROBE_TIMEOUT).close()
        except OSError:
            return False
        return True

    def answers(self) -> bool:
        """Ask the container's own health check once."""
        address = self.address()
        return bool(address) and answers(f"http://{address}:{self.probe()}")

    def answers_users(self) -> bool:
        """Ask a health check once as a user reaches it."""
        return answers(self.public_probe)

    def answering(self) -> bool:
        """Tell whether it answers, itself and users; one that has only just started gets time to."""
        container = self.observe()
        if not container or not container["State"]["Running"]:
            return False
        deadline = time.monotonic() + max(PATIENCE, self.health_timeout - uptime(container))
        while not (self.answers() and self.answers_users()):
            if time.monotonic() > deadline or self.given_up():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def given_up(self, name: str = "") -> bool:
        """Tell whether the container (of that name) has ended for good, or so often that waiting is pointless."""
        container = inspect_container(self.client, name or self.name)
        if container is None or container.get("RestartCount", 0) >= FAILED_EXITS:
            return True
        return not container["State"]["Running"] and not container["State"].get("Restarting")

    def create(
        self,
        name: str,
        spec: Spec,
        labels: dict[str, str],
        aliases: dict[str, list[str]],
        command: list[str] | None = None,
    ) -> None:
        """Create a container from a spec (see ``containers.spec``), attached to all its networks, not started.

        :param aliases: network to the names that the container has in it besides its own.
        :param command: instead of the image's own.
        """
        first, *others = spec["networks"]
        ports = {}
        for published in spec["ports"]:
            host, outer, inner = published.rsplit(":", 2)
            ports[int(inner)] = (host, int(outer))
        host_config = self.client.create_host_config(
            binds=spec["mounts"],
            port_bindings=ports,
            restart_policy={"Name": spec["restart_policy"]},
            cap_drop=spec["hardening"]["cap_drop"],
            cap_add=spec["hardening"]["cap_add"],
            security_opt=spec["hardening"]["security_opt"],
            read_only=spec["hardening"]["read_only"],
            tmpfs=dict.fromkeys(spec["hardening"]["tmpfs"], "mode=1777"),
            network_mode=first,
        )
        endpoint = self.client.create_endpoint_config(aliases=aliases.get(first, []))
        self.client.create_container(
            spec["image"],
            command,
            name=name,
            # A name of its own, so that neither log lines nor the hub depend on the container's random id.
            hostname=self.name,
            environment=spec["environment"],
            labels=labels,
            ports=list(ports),
            host_config=host_config,
            networking_config=self.client.create_networking_config({first: endpoint}),
            healthcheck={
                "test": spec["healthcheck"],
                # A hub starts in 4 to 20 s; a failure counts after a minute.
                "interval": 30 * SECOND,
                "timeout": 10 * SECOND,
                "retries": 3,
                "start_period": 60 * SECOND,
            },
        )
        for network in others:
            self.client.connect_container_to_network(name, network, aliases=aliases.get(network, []))

    def wait_until(self, ready: Callable[[], bool], goal: str, name: str = "") -> None:
        """Wait until ``ready()`` holds.

        :param name: of the container that is waited for; by default the one with the name itself.
        :raises DeployError: with the last log lines, when it does not within the time limit, or as soon as the
            container has ended several times.
        """
        name = name or self.name
        deadline = time.monotonic() + self.health_timeout
        while not ready():
            if self.given_up(name):
                state = (inspect_container(self.client, name) or {"State": {}})["State"]
                raise DeployError(
                    f"the {self.what} ended before it was {goal} (exit code {state.get('ExitCode')})" + self._log(name)
                )
            if time.monotonic() > deadline:
                raise DeployError(f"after {self.health_timeout:.0f} s the {self.what} was not {goal}" + self._log(name))
            time.sleep(POLL_SECONDS)

    def _log(self, name: str) -> str:
        try:
            lines = self.client.logs(name, tail=LOG_LINES).decode(errors="replace").strip()
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
