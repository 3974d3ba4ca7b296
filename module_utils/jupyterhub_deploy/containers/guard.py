"""The guard: the container that keeps the rules by which notebooks are isolated (``guard`` in the front's image).

The rules are in the host's kernel and stay there while the container is replaced.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import SOCKET_DIR
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT, ReplaceableContainer
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, environment_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

PROGRAM = ["python3", "/opt/front/guard.py"]
# Succeeds if the guard has found its rules in the kernel within the last 15 seconds; it looks every 2.
LOADED = ["sh", "-c", "[ $(($(date +%s) - $(stat -c %Y /tmp/loaded || echo 0))) -lt 15 ]"]
MEMORY = "128m"  # it needs about 25
RUN_TIMEOUT = 60.0  # seconds for a check or a removal of the rules
PROBES = "-probe"  # part of the names of containers that probe the isolation
DEFAULT_PORTS = {"http": 80, "https": 443}
ISOLATION, ALLOWED = "GUARD_ISOLATION", "GUARD_ALLOWED"
# Prints which of the targets in its argument it reaches. Packets that are dropped are not answered.
PROBE = """
import concurrent.futures, json, socket, sys

def reaches(target):
    try:
        socket.create_connection(target, 2).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        return False
    return True

targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(targets) or 1) as threads:
    print(json.dumps(dict(zip(targets, threads.map(reaches, targets.values())))))
"""

# What each key of the guard's spec is called in a message.
TITLES = {"image": "front image name", "image_id": "front image content", **container_spec.TITLES}


@dataclass(frozen=True)
class GuardOptions:
    """The options of the module ``jupyterhub_guard``, by their names."""

    hub: str
    image: str
    isolation: str
    network: str
    ports: list[int]
    allowed_networks: list[str]
    allowed_urls: list[str]
    health_timeout: float


def name_of_guard(hub: str) -> str:
    """Return the name of a hub's guard."""
    return f"{hub}-guard"


def isolation_of(container: dict[str, Any]) -> str:
    """Return what a guard isolates, from Docker's description of it."""
    return environment_of(container).get(ISOLATION, "")


def hosts(urls: list[str]) -> list[str]:
    """Return ``host:port`` of those that are URLs with a host, each once, sorted. Pure.

    :param urls: such as ``http://proxy.example.com:3128``; other texts are left out.
    """
    found = set()
    for url in urls:
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            continue
        if parts.hostname and port and "," not in parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            found.add(f"{host}:{port}")
    return sorted(found)


def wanted_spec(options: GuardOptions, image_id: str | None) -> Spec:
    """Return the spec that the options ask for.

    :param image_id: id of the image on this host, ``None`` when it is missing (check mode on a bare host).
    """
    return {
        "image": options.image,
        "image_id": image_id,
        "environment": {
            "GUARD_HUB": options.hub,
            "GUARD_NETWORK": options.network,
            ISOLATION: options.isolation,
            "GUARD_PORTS": ",".join(map(str, sorted(set(options.ports)))),
            ALLOWED: ",".join(options.allowed_networks),
            "GUARD_HOSTS": ",".join(hosts(options.allowed_urls)),
        },
        # The directories, because a restart of Docker creates another socket, and the file with the DNS servers is
        # replaced when they change, or is a link.
        "mounts": ["/etc:/host/etc:ro", f"{SOCKET_DIR}:{SOCKET_DIR}:ro"],
        "networks": ["host"],
        "ports": [],
        "hardening": container_spec.hardening(cap_add=["NET_ADMIN"]),
        "restart_policy": "unless-stopped",
        "healthcheck": ["CMD", *LOADED],
    }


class GuardContainer(ReplaceableContainer):
    """The guard of one hub."""

    what = "guard"

    def __init__(self, client: Any, hub: str, health_timeout: float) -> None:
        super().__init__(client, name_of_guard(hub), "", health_timeout)
        self.hub = hub

    def is_healthy(self, name: str = "") -> bool:
        """Return whether the rules are in the kernel."""
        return self.run(LOADED, name)[0] == 0

    def is_reachable(self) -> bool:
        """Return true: it serves nobody."""
        return True

    def prepare(self, spec: Spec) -> None:
        """Check that the kernel knows the rules, and create the guard that is to replace this one.

        :raises DeployError: it does not; nothing was changed.
        """
        # In a network of its own, so that the host has none of these rules for a moment.
        code, output = self._run_once(self.trial, {**spec, "networks": ["none"]}, [*PROGRAM, "--check"])
        if code:
            isolation = spec["environment"][ISOLATION]
            others = "peers, which needs fewer rules, or none" if isolation == "full" else "none"
            raise DeployError(
                f"jupyterhub_isolation: {isolation} is not possible on this host, and nothing was changed: the rules "
                f"cannot be loaded with image {spec['image']}: {output}. Use a kernel with nftables, also for bridges, "
                f"or set jupyterhub_isolation: {others}"
            )
        self.create(self.next, {**spec, "memory": MEMORY}, {LABEL_HUB: self.hub}, {}, PROGRAM)

    def remove(self) -> None:
        """Remove the guard, if there is one, and its rules.

        :raises DeployError: the rules are still there.
        """
        current = self.observe()
        if not current:
            return
        self.client.stop(self.name, timeout=STOP_TIMEOUT)  # or it would load them again
        spec = container_spec.observed_spec(current)
        code, output = self._run_once(self.trial, spec, [*PROGRAM, "--remove"])
        if code:
            raise DeployError(f"the rules of {self.name} cannot be removed: {output}")
        self._remove(self.name)

    def reached(self, network: str, targets: dict[str, tuple[str, int]]) -> dict[str, bool]:
        """Return which targets a new container in the users' network reaches; one that refuses is reached, too.

        :param targets: addresses and TCP ports, by what they are called.
        :raises DeployError: the container does not run.
        """
        current = self.observe() or {}
        spec = {
            "image_id": current["Image"],
            "environment": {},
            "mounts": [],
            "networks": [network],
            "hardening": container_spec.hardening(cap_add=[]),
            "healthcheck": ["NONE"],
        }
        self._remove_old_probes()
        name = f"{self.name}{PROBES}-{secrets.token_hex(4)}"  # several runs may ask for the status at the same time
        code, output = self._run_once(name, spec, ["python3", "-c", PROBE, json.dumps(targets)], True)
        try:
            return dict(json.loads(output))
        except ValueError as error:
            raise DeployError(
                f"a container in {network} cannot probe the isolation (exit code {code}): {output or 'no output'}"
            ) from error

    def _remove_old_probes(self) -> None:
        """Remove containers of runs that were killed."""
        for one in self.client.containers(all=True, filters={"label": f"{LABEL_HUB}={self.hub}"}):
            is_probe = any(name.startswith(f"/{self.name}{PROBES}") for name in one["Names"] or [])
            if is_probe and time.time() - one["Created"] > 2 * RUN_TIMEOUT:
                with contextlib.suppress(docker_errors.APIError):  # another run removes it, too
                    self._remove(one["Id"])

    def _run_once(self, name: str, spec: Spec, command: list[str], prints: bool = False) -> tuple[int, str]:
        """Run a command in a container that is removed afterwards; return its exit code and its output.

        :param prints: see :meth:`run_to_end`.
        """
        self._remove_if_exists(name)
        spec = {**spec, "image": spec["image_id"], "restart_policy": "no"}
        self.create(name, spec, {LABEL_HUB: self.hub}, {}, command)
        return self.run_to_end(name, RUN_TIMEOUT, prints)
