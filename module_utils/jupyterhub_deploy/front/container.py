"""The container of the front: its specification, and its replacement, which interrupts no connection.

The old and the new container listen on the same ports at the same time (``reuseport``). The old one then accepts no
more connections, and ends when those that it has are closed, after a day at the latest. Names on the host:
``<front>-next`` is the new container until it listens, ``<front>-draining-…`` an old one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.container import DeployedContainer
from ansible.module_utils.jupyterhub_deploy.containers.draining import Draining
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_FRONT
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.front import nginx
from ansible.module_utils.jupyterhub_deploy.front.site import MOUNTED, Site
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

# What each key of the front's spec is called in a message.
TITLES = {"image": "front image name", "image_id": "front image content", **container_spec.TITLES}

BODIES_SIZE = "128m"  # of all incomplete requests together; forms, shorter than 16 kB, stay in nginx's own memory

# nginx writes this file when it listens.
LISTENS = ["sh", "-c", "kill -0 $(cat /run/nginx.pid)"]
# Whether the kernel gives connections that wait at a closed port to another process that listens there (since Linux
# 5.14, see its ip-sysctl documentation).
MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req"
CLOSE_TIMEOUT = 10.0  # seconds until nginx has closed its ports
# Prints id and title of each process; the image has no ps.
TITLES_OF_PROCESSES = r"""for d in /proc/[0-9]*; do echo "${d#/proc/} $(tr '\0' ' ' < $d/cmdline)"; done"""


def wanted_spec(image: str, image_id: str | None, directory: str, environment: dict[str, str]) -> Spec:
    """Return the spec of the front's container.

    :param image_id: id of the image on this host, ``None`` when it is missing (check mode on a bare host).
    :param directory: the front's directory on the host.
    """
    # nginx opens the ports and reads the keys as root; its workers become another user.
    hardening = container_spec.hardening(cap_add=["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"])
    # Requests for the hub that are not complete yet are in /var/lib/nginx. When it is full, long ones fail.
    tmpfs = ["/run", "/tmp", f"/var/lib/nginx,size={BODIES_SIZE}", "/var/log"]  # noqa: S108  (in the container)
    return {
        "image": image,
        "image_id": image_id,
        "environment": environment,
        "mounts": [f"{directory}:{MOUNTED}:rw"],
        # The host's network has the browsers' addresses, and two containers can listen on one port.
        "networks": ["host"],
        "ports": [],
        "hardening": {**hardening, "tmpfs": tmpfs},
        "restart_policy": "unless-stopped",
        "healthcheck": ["CMD", *LISTENS],
    }


@contextlib.contextmanager
def _waiting_connections_migrate() -> Iterator[None]:
    """Give connections that wait at ports which are closed meanwhile to the new container, if the kernel can."""
    try:
        before = (read_text(MIGRATE) or "").strip()
        with open(MIGRATE, "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        before = ""
    try:
        yield
    finally:
        if before:
            with open(MIGRATE, "w", encoding="ascii") as file:
                file.write(before)


class FrontContainer(DeployedContainer):
    """The front's container on one host."""

    what = "front"

    def __init__(self, client: Any, name: str, health_timeout: float) -> None:
        super().__init__(client, name, "", health_timeout)
        self.next = f"{name}-next"
        self.old = Draining(client, name, LABEL_FRONT, lambda old: client.kill(old, signal="SIGQUIT"))

    def require_own(self) -> None:
        """Check that the container of this name, if there is one, is a front.

        :raises DeployError: it was made by somebody else.
        """
        found = self.observe()
        if found and LABEL_FRONT not in (found["Config"].get("Labels") or {}):
            raise DeployError(
                f"container {self.name} was not created by this project (no label {LABEL_FRONT}); rename it with "
                "`docker rename`, then run make site again"
            )

    def listens(self, name: str = "") -> bool:
        """Return whether nginx in the container (of that name) listens on its ports."""
        return self.run(LISTENS, name)[0] == 0

    def render(self, sites: Iterable[Site]) -> str:
        """Return the configuration with which the nginx in the container serves sites; for any nginx if none runs."""
        found, version = list(sites), nginx.ANY_VERSION
        if self.client and any(site.certificate for site in found):
            numbers = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", self.run(["nginx", "-v"])[1])
            version = tuple(map(int, numbers.groups())) if numbers else version
        return nginx.render(found, os.path.exists(nginx.IPV6), version)

    def workers(self, name: str = "") -> set[str]:
        """Return the processes of nginx that accept connections, in the container (of that name).

        After a reload, these are for a moment also old ones.
        """
        titles = self.run(["sh", "-c", TITLES_OF_PROCESSES], name)[1].splitlines()
        return {line.partition(" ")[0] for line in titles if line.rstrip().endswith("nginx: worker process")}

    def is_unfinished(self) -> bool:
        """Return whether a killed run left something for :meth:`recover`."""
        return inspect_container(self.client, self.next) is not None

    def recover(self) -> list[str]:
        """Finish or revert what a killed run left; return a message for each action."""
        messages = []
        if inspect_container(self.client, self.next):
            if self.observe():
                # It may have accepted connections already.
                self._retire(self.next)
                messages.append(f"stopped {self.next}, left by an unfinished run")
            else:
                self.client.rename(self.next, self.name)
                messages.append(f"renamed {self.next} to {self.name}, left by an unfinished run")
        self.old.remove_ended()
        for name in self.old.open():
            self._drain(name)
        return messages

    def replace(self, spec: Spec) -> None:
        """Start a container beside the old one, if there is one, and let the old one drain.

        :raises DeployError: the new one does not listen; the old one was not touched.
        """
        try:
            self.create(self.next, spec, {LABEL_FRONT: "yes"}, {})
            self.client.start(self.next)
            self.wait_until(lambda: self.listens(self.next), "listening", self.next)
        except (DeployError, docker_errors.APIError) as error:
            self._remove_if_exists(self.next)
            raise DeployError(f"the new front does not start, so nothing was changed: {error}") from error
        if self.observe():
            self._retire(self.name, then=self.next)
        else:
            self.client.rename(self.next, self.name)

    def remove(self) -> None:
        """Remove the container and the old ones."""
        for name in [self.name, self.next, *self.old.ended(), *self.old.open()]:
            self._remove_if_exists(name)

    def log(self) -> str:
        """Return the last log lines, as the end of a message."""
        return self._log(self.name)

    def _retire(self, name: str, then: str = "") -> None:
        """Let a container drain under a name for that.

        :param then: the container that gets the front's name.
        """
        self._drain(self.old.rename(name, then))

    def _drain(self, name: str) -> None:
        """Let a container accept no more connections and end with its last one."""
        with _waiting_connections_migrate():
            self.old.drain(name)
            wait_until(lambda: not self.workers(name), CLOSE_TIMEOUT)
