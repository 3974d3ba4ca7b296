"""The proxy container on its host. ``containers.replacement`` replaces it; here a new one is tried."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.containers import proxy_spec
from ansible.module_utils.jupyterhub_deploy.containers.replacement import SwappedContainer
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# configurable-http-proxy's own health check, on the port of the users; it never reaches the hub.
HEALTH_PATH = "_chp_healthz"


class ProxyContainer(SwappedContainer):
    """One proxy container on one engine."""

    what = "proxy"

    def probe(self) -> str:
        """Return port and path of the proxy's own health check."""
        return f"{proxy_spec.PUBLIC_PORT}/{HEALTH_PATH}"

    def create_successor(self, spec: Spec, hub: str, control_network: str) -> None:
        """Create the proxy that is to take this one's place; in the control network it has its API's name."""
        aliases = {control_network: [spec["environment"]["PROXY_API_HOST"]]}
        self.create(self.next, spec, {LABEL_HUB: hub}, aliases)

    def prove(self, spec: Spec) -> None:
        """Run the new proxy once without a port on the host, and see it answer, while the old one still serves.

        :raises DeployError: with its last log lines, when it does not.
        """
        trial = ProxyContainer(self.client, self.trial, self.public_probe, self.health_timeout)
        trial._remove_if_there(trial.name)
        # The API's name belongs to the proxy that runs; on trial it listens on the name that the container has anyway.
        environment = {**spec["environment"], "PROXY_API_HOST": trial.name}
        try:
            trial.create(trial.name, {**spec, "environment": environment, "ports": [], "restart_policy": "no"}, {}, {})
            self.client.start(trial.name)
            trial.wait_until(trial.answers, "answering its health check")
        except DeployError as error:
            raise DeployError(f"the new proxy does not work, so the old one was left as it was: {error}") from error
        finally:
            trial._remove_if_there(trial.name)
