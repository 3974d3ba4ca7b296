"""One container of the deployment: its address, its health, and its creation.

``containers.replacement`` replaces it with rollback.
"""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec, tmpfs_options
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container, run_to_end
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.processes import wait_until
from ansible.module_utils.jupyterhub_deploy.text import parse_time

# Seconds for one answer of a health check. On a busy host, 2 were too few for a proxy that served its users, and its
# restart interrupted them.
PROBE_TIMEOUT = 10.0
# A container that has been up for longer than it needs to start gets this long to answer, seconds. A restart of the
# proxy cuts everybody off, and on a host that users keep busy an answer can take a while.
PATIENCE = 30.0
MAX_RESTARTS = 3  # restarts by Docker after which the container counts as crashed
LOG_LINES = 30
SECOND = 10**9  # nanoseconds, the unit of Docker's API


class DeployedContainer:
    """One container on one host. A subclass says what it is and where its health check is.

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
        """Return Docker's description of the container, ``None`` when it does not exist."""
        return inspect_container(self.client, self.name)

    def port_open(self, name: str, port: int) -> bool:
        """Return whether the container of that name accepts connections on a port."""
        address = address_of(inspect_container(self.client, name))
        return bool(address) and accepts_connections(str(address), port)

    def is_healthy(self, name: str = "") -> bool:
        """Return whether the container (of that name) answers its own health check now."""
        address = address_of(inspect_container(self.client, name or self.name))
        return bool(address) and not problem_at(f"http://{address}:{self.probe()}")

    def is_reachable(self) -> bool:
        """Return whether users get an answer from it now."""
        return not problem_at(self.public_probe)

    def is_serving(self, wait: bool = True) -> bool:
        """Return whether it is healthy and reachable; one that has just started gets the time to become so.

        :param wait: otherwise, return whether it is so now.
        """
        container = self.observe()
        if not container or not container["State"]["Running"]:
            return False
        serves = False

        def settled() -> bool:
            nonlocal serves
            serves = self.is_healthy() and self.is_reachable()
            return serves or self.has_crashed()

        wait_until(settled, max(PATIENCE, self.health_timeout - uptime(container)) if wait else 0)
        return serves

    def has_crashed(self, name: str = "") -> bool:
        """Return whether the container (of that name) has ended for good, or too often to wait for it any longer."""
        container = inspect_container(self.client, name or self.name)
        if container is None or container.get("RestartCount", 0) >= MAX_RESTARTS:
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
        :param command: replaces the image's own.
        """
        first, *others = spec["networks"]
        host_config = self.client.create_host_config(
            binds=spec["mounts"],
            restart_policy={"Name": spec["restart_policy"]},
            cap_drop=spec["hardening"]["cap_drop"],
            cap_add=spec["hardening"]["cap_add"],
            security_opt=spec["hardening"]["security_opt"],
            read_only=spec["hardening"]["read_only"],
            tmpfs=tmpfs_options(spec["hardening"]["tmpfs"]),
            network_mode=first,
            mem_limit=spec.get("memory"),
        )
        addresses = spec.get("addresses", {})
        endpoint = self.client.create_endpoint_config(aliases=aliases.get(first, []), ipv4_address=addresses.get(first))
        self.client.create_container(
            spec["image"],
            command,
            name=name,
            # A fixed host name, so that neither log lines nor the hub depend on the container's random id.
            hostname=self.name,
            environment=spec["environment"],
            labels=labels,
            host_config=host_config,
            networking_config=self.client.create_networking_config({first: endpoint}),
            # Through a proxy in ~/.docker/config.json, the hub would not reach its own API.
            use_config_proxy=False,
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
            self.client.connect_container_to_network(
                name, network, aliases=aliases.get(network, []), ipv4_address=addresses.get(network)
            )

    def run(self, command: list[str], name: str = "") -> tuple[int, str]:
        """Run a command in the container; return its exit code and its output. 1 when the container does not run."""
        try:
            made = self.client.exec_create(name or self.name, command)
            output = self.client.exec_start(made["Id"])
            code = self.client.exec_inspect(made["Id"])["ExitCode"]
            return 1 if code is None else code, output.decode(errors="replace").strip()
        except docker_errors.APIError as error:
            return 1, str(error.explanation or error)

    def run_to_end(self, name: str, seconds: float, prints: bool = False) -> tuple[int, str]:
        """Start a container that ends by itself, and remove it; return its exit code and its last lines.

        :param prints: whether it always prints something.
        """
        try:
            return run_to_end(self.client, name, seconds, prints, tail=LOG_LINES)
        finally:
            self._remove_if_exists(name)

    def wait_until(self, ready: Callable[[], bool], goal: str, name: str = "") -> None:
        """Wait until ``ready()`` is true.

        :param goal: completes the sentence "the hub was not …".
        :param name: of the container to wait for; by default :attr:`name`.
        :raises DeployError: it is not within the health timeout, or the container has crashed; with its last log lines.
        """
        name = name or self.name
        is_ready = False

        def settled() -> bool:
            nonlocal is_ready
            is_ready = ready()
            return is_ready or self.has_crashed(name)

        if not wait_until(settled, self.health_timeout):
            raise DeployError(f"after {self.health_timeout:.0f} s the {self.what} was not {goal}" + self._log(name))
        if not is_ready:
            state = (inspect_container(self.client, name) or {"State": {}})["State"]
            raise DeployError(
                f"the {self.what} ended before it was {goal} (exit code {state.get('ExitCode')})" + self._log(name)
            )

    def _log(self, name: str) -> str:
        try:
            lines = self.client.logs(name, tail=LOG_LINES).decode(errors="replace").strip()
        except docker_errors.APIError:
            lines = ""
        return f"; its last log lines:\n{lines}" if lines else "; it logged nothing"

    def _remove(self, name: str) -> None:
        self.client.remove_container(name, force=True)

    def _remove_if_exists(self, name: str) -> None:
        if inspect_container(self.client, name):
            self._remove(name)


def address_of(container: dict[str, Any] | None) -> str | None:
    """Return the address of a container in the first network that gave it one, ``None`` while it does not run.

    :param container: Docker's description of it.
    """
    if not container or not container["State"]["Running"]:
        return None
    networks = container["NetworkSettings"]["Networks"].values()
    return next((network["IPAddress"] for network in networks if network["IPAddress"]), None)


def accepts_connections(address: str, port: int) -> bool:
    """Return whether something accepts connections at a TCP port of an address."""
    try:
        socket.create_connection((address, port), PROBE_TIMEOUT).close()
    except OSError:
        return False
    return True


def uptime(container: dict[str, Any]) -> float:
    """Return the seconds since a container was started, from Docker's description of it."""
    started = parse_time(container["State"]["StartedAt"])
    return (datetime.now(timezone.utc) - started).total_seconds() if started else 0.0


def problem_at(url: str) -> str | None:
    """Return why a GET of the URL is not answered with status 200, ``None`` when it is."""
    # The operator's proxy settings are for the internet, not for a container on this host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_TIMEOUT) as response:
            return None if response.status == 200 else f"status {response.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:  # also urllib's URLError
        return str(getattr(error, "reason", None) or error)
