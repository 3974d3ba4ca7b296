"""The hub container on its host. ``containers.replacement`` tells how it is replaced; here is what only the hub has: a
configuration and a database that a hub can be tried against, and the servers that its users run."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.container import LOG_LINES
from ansible.module_utils.jupyterhub_deploy.containers.replacement import SwappedContainer
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

LABEL_STANDS_BY = "org.jupyterhub.deploy.stands-by"  # on a hub image whose ``start`` waits for the lock
# The image's own command; said here, so that an image that was derived from it cannot leave out the lock.
START = ["python3", "-m", "jupyterhub_deploy_hub.start"]
LOCK_NAME = "hub.lock"  # in the data volume; ``start`` in the hub image holds it
OPEN_SIGNAL = "SIGUSR2"  # has a hub that stands by take requests; ``handover`` in the hub image explains it


class HubContainer(SwappedContainer):
    """One hub container on one engine."""

    what = "hub"
    stands_by = "stands by until the hub that runs has ended"  # printed by ``start`` in the hub image

    def probe(self) -> str:
        """Return port and path of the hub's own health check."""
        return f"{hub_spec.HUB_PORT}/hub/health"

    def can_stand_by(self) -> bool:
        """Tell whether the successor waits for the hub that runs to end: both have to know of the lock that tells it.

        Hub images made before there was one do not; and an operator may have named another data volume. Then the two
        would run at once.
        """
        successor = inspect_container(self.client, self.next)
        if not successor or not (successor["Config"].get("Labels") or {}).get(LABEL_STANDS_BY):
            return False
        volume = next(mount["Name"] for mount in successor["Mounts"] if mount["Destination"] == hub_spec.DATA_TARGET)
        return files.is_locked(f"{self.client.inspect_volume(volume)['Mountpoint']}/{LOCK_NAME}")

    def before_return(self, container: dict[str, Any]) -> None:
        """Give a hub that is to run again the database that it can read: its successor may have upgraded the schema.

        :raises DeployError: when there is no copy that fits.
        """
        command = ["python", "-m", "jupyterhub_deploy_hub.schema", "--restore"]
        code, output = self.run_once(hub_spec.observed_spec(container), command, data="rw")
        if code:
            raise DeployError(f"the hub that ran before cannot be put back: {output}")

    def create_successor(self, spec: Spec) -> None:
        """Create the hub that is to take this one's place."""
        labels = {
            LABEL_HUB: self.name,
            hub_spec.LABEL_CONFIG: spec["config"],
            hub_spec.LABEL_NOTEBOOK_IMAGE_ID: spec["notebook_image_id"],
        }
        # Others find both hubs by this name while one follows the other. The port of one that stands by is closed, so
        # they go on to the other one, until `take_requests`.
        aliases = {network: [self.name] for network in spec["networks"]}
        self.create(self.next, _with_notebook_image(spec), labels, aliases, START)

    def take_requests(self) -> None:
        """Have the successor that stands by take requests, which wait until it serves.

        :raises DeployError: it ended, or does not within the time limit.
        """
        self.client.kill(self.next, signal=OPEN_SIGNAL)
        self.wait_until(lambda: self.accepts(self.next, hub_spec.HUB_PORT), "taking requests", self.next)

    def configs_in_use(self) -> set[str]:
        """Return the digests of the configurations that any container of this hub mounts."""
        return {container["Labels"].get(hub_spec.LABEL_CONFIG, "") for container in self._containers()}

    def servers_on_other_images(self, image_ids: set[str | None]) -> list[str]:
        """Return the names of the containers of users' servers that run none of these images."""
        return sorted(
            container["Names"][0].lstrip("/")
            for container in self._containers()
            if container["Labels"].get(LABEL_USER) and container["ImageID"] not in image_ids
        )

    def run_once(self, spec: Spec, command: list[str], data: str) -> tuple[int, str]:
        """Run a command in a throw-away container of the hub image with the hub's configuration, without network.

        :param data: how the hub's data volume is mounted, ``ro`` or ``rw``.
        :returns: exit code, and the last lines of what it printed.
        """
        name = self.trial
        self._remove_if_there(name)
        given = (hub_spec.CONFIG_TARGET, hub_spec.SECRETS_TARGET, hub_spec.DATA_TARGET)
        mounts = [mount.rsplit(":", 1)[0] for mount in spec["mounts"] if mount.split(":")[1] in given]
        self.client.create_container(
            spec["image"],
            command,
            name=name,
            environment=_with_notebook_image(spec)["environment"],
            host_config=self.client.create_host_config(
                binds=[f"{mount}:{data if mount.endswith(hub_spec.DATA_TARGET) else 'ro'}" for mount in mounts],
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

    def _containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.containers(all=True, filters={"label": f"{LABEL_HUB}={self.name}"})
        return found


def _with_notebook_image(spec: Spec) -> Spec:
    environment = {**spec["environment"], "DOCKER_NOTEBOOK_IMAGE": spec["notebook_image"]}
    return {**spec, "environment": environment}
