"""The hub container. ``containers.replacement`` replaces it; this adds what only the hub has: a configuration and a
database that a new hub is tried against, and its users' servers."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.replacement import ReplaceableContainer
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_NOTEBOOK_IMAGE_ID, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import is_locked

LABEL_STANDBY = "org.jupyterhub.deploy.standby"  # on a hub image whose ``start`` uses the two locks
# The image's own command, given here so that an image derived from it cannot skip the locks.
START = ["python3", "-m", "jupyterhub_deploy_hub.start"]
# Lock files in the data volume; ``start`` in the hub image holds the first while the hub runs, and the second while it
# has loaded and waits for the first.
LOCK_NAME = "hub.lock"
STANDBY_LOCK_NAME = "hub.standby.lock"
OPEN_SIGNAL = "SIGUSR2"  # makes a hub on standby accept requests; ``standby`` in the hub image explains it


def without_account(output: str) -> list[str]:
    """Return the administrators without an account, from what the check of the configuration printed."""
    last = output.rpartition("\n")[2]
    try:
        return [str(name) for name in json.loads(last)["without_account"]]
    except (ValueError, LookupError, TypeError):  # nothing to report, or the operator's own output
        return []


class HubContainer(ReplaceableContainer):
    """The hub container of one hub."""

    what = "hub"

    def probe(self) -> str:
        """Return port and path of the hub's own health check."""
        return f"{hub_spec.HUB_PORT}/hub/health"

    def supports_standby(self) -> bool:
        """Return whether the replacement waits for the old hub to end: both have to use the same lock for that.

        Older hub images have no lock, and an operator may have named another data volume. Then both hubs would run at
        once.
        """
        replacement = inspect_container(self.client, self.next)
        if not replacement or not (replacement["Config"].get("Labels") or {}).get(LABEL_STANDBY):
            return False
        return self._is_locked(replacement, LOCK_NAME)

    def is_on_standby(self) -> bool:
        """Return whether the replacement has loaded and waits for the old hub to end."""
        replacement = inspect_container(self.client, self.next)
        return replacement is not None and self._is_locked(replacement, STANDBY_LOCK_NAME)

    def before_rollback(self, container: dict[str, Any]) -> None:
        """Restore a database that the old hub can read: the new one may have upgraded the schema.

        :raises DeployError: no copy fits.
        """
        command = ["python", "-m", "jupyterhub_deploy_hub.schema", "--restore"]
        code, output = self.run_once(hub_spec.observed_spec(container), command, data="rw")
        if code:
            raise DeployError(f"the old hub cannot be restored: {output}")

    def create_replacement(self, spec: Spec) -> None:
        """Create the hub that is to replace this one."""
        labels = {
            LABEL_HUB: self.name,
            hub_spec.LABEL_CONFIG: spec["config"],
            LABEL_NOTEBOOK_IMAGE_ID: spec["notebook_image_id"],
        }
        # The proxy resolves this name to both hubs while one replaces the other. The port of a hub on standby is
        # closed, so the proxy tries the other one, until `take_requests`.
        aliases = {network: [self.name] for network in spec["networks"]}
        self.create(self.next, spec, labels, aliases, START)

    def check_config(self, spec: Spec) -> list[str]:
        """Load the configuration, and examine the database, in the image that will run them.

        :returns: administrators in the configuration who have no account.
        :raises DeployError: the image refuses one of them; with its output.
        """
        checks = {
            "jupyterhub_deploy_hub.check": "the configuration does not load in {image}, so the hub was left as it was",
            "jupyterhub_deploy_hub.schema --check": "{image} cannot be used, so the hub was left as it was",
        }
        missing: list[str] = []
        for arguments, problem in checks.items():
            code, output = self.run_once(spec, ["python", "-m", *arguments.split()], data="ro")
            if code:
                raise DeployError(f"{problem.format(image=spec['image'])}: {output}")
            missing += without_account(output)
        return missing

    def take_requests(self) -> None:
        """Make the hub on standby accept requests, which wait until it serves.

        :raises DeployError: it ended, or does not within the health timeout.
        """
        # With Docker's own kill, the hub would count as stopped by hand, and not start after a crash or a reboot.
        command = ["sh", "-c", f"kill -{OPEN_SIGNAL.removeprefix('SIG')} 1"]
        self.client.exec_start(self.client.exec_create(self.next, command)["Id"])
        self.wait_until(lambda: self.port_open(self.next, hub_spec.HUB_PORT), "accepting requests", self.next)

    def configs_in_use(self) -> set[str]:
        """Return the digests of the configurations that containers of this hub mount."""
        return {container["Labels"].get(hub_spec.LABEL_CONFIG, "") for container in self._containers()}

    def servers_on_other_images(self, image_ids: set[str | None]) -> list[str]:
        """Return the names of the containers of users' servers with an image that is not one of these."""
        return sorted(
            name_of(container)
            for container in self._containers()
            if container["Labels"].get(LABEL_USER) and container["ImageID"] not in image_ids
        )

    def run_once(self, spec: Spec, command: list[str], data: str) -> tuple[int, str]:
        """Run a command in a throw-away container of the hub image with the hub's configuration, without network.

        :param data: how the hub's data volume is mounted, ``ro`` or ``rw``.
        :returns: exit code, and the last lines of what it printed.
        """
        name = self.trial
        self._remove_if_exists(name)
        given = (hub_spec.CONFIG_TARGET, hub_spec.SECRETS_TARGET, hub_spec.DATA_TARGET)
        mounts = [mount.rsplit(":", 1)[0] for mount in spec["mounts"] if mount.split(":")[1] in given]
        self.client.create_container(
            spec["image_id"] or spec["image"],  # of a hub that exists: its name may be that of another image now
            command,
            name=name,
            environment=spec["environment"],
            labels={LABEL_HUB: self.name},
            use_config_proxy=False,
            host_config=self.client.create_host_config(
                binds=[f"{mount}:{data if mount.endswith(hub_spec.DATA_TARGET) else 'ro'}" for mount in mounts],
                network_mode="none",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                tmpfs={"/tmp": "mode=1777"},  # noqa: S108  (in the container)
            ),
        )
        return self.run_to_end(name, self.health_timeout)

    def _containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.containers(all=True, filters={"label": f"{LABEL_HUB}={self.name}"})
        return found

    @staticmethod
    def _is_locked(container: dict[str, Any], lock: str) -> bool:
        """Return whether a lock file in the data volume of a container is locked."""
        data = next(mount["Source"] for mount in container["Mounts"] if mount["Destination"] == hub_spec.DATA_TARGET)
        return is_locked(f"{data}/{lock}")
