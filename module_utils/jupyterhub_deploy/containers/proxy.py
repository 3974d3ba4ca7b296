"""The proxy container: its specification, and a test run of a new one. ``containers.replacement`` replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.container import accepts_connections
from ansible.module_utils.jupyterhub_deploy.containers.draining import Draining
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import HUB_PORT
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT, ReplaceableContainer
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# configurable-http-proxy's own health check, on the port of the users; it never reaches the hub.
HEALTH_PATH = "_chp_healthz"
TOKEN_TARGET = "/etc/jupyterhub/secrets/proxy_token"  # noqa: S105  (a path; where start.sh of the proxy image looks)
API_PORT = 8001  # of configurable-http-proxy, on the control network
USER = "65534"  # of the proxy's process, see start.sh of its image
DRAIN = "kill -USR2 $(cat /tmp/proxy.pid)"  # start.sh writes the file, drain.js handles the signal
# On a proxy image, and so on its containers.
LABEL_HOST_ROUTING = "org.jupyterhub.deploy.host-routing"  # it knows PROXY_HOST_ROUTING
LABEL_DRAINS = "org.jupyterhub.deploy.drains"  # one can start beside another, and ends with its last connection
PUBLIC_PORT = 8000  # in the container; configurable-http-proxy's own default
HOST_ROUTING = "PROXY_HOST_ROUTING"  # read by start.sh of the proxy image

# What each key of the proxy's spec is called in a message.
TITLES = {
    "image": "proxy image name",
    "image_id": "proxy image content",
    "addresses": "fixed addresses",
    **container_spec.TITLES,
}


@dataclass(frozen=True)
class ProxyOptions:
    """The options of the module ``jupyterhub_proxy``, by their names."""

    name: str
    hub: str
    image: str
    api_host: str
    token_file: str
    api_token_file: str
    network: str
    control_network: str
    front: str
    front_directory: str
    front_network: str
    health_timeout: float
    host_routing: bool = False
    keep_routing: bool = False
    address: str = ""  # in front_network; the module chooses it


def by_host(options: ProxyOptions, current: dict[str, Any] | None) -> bool:
    """Return whether the proxy's routes are to begin with a host name.

    :param current: Docker's description of the existing proxy, ``None`` when there is none.
    """
    if current and options.keep_routing:
        return bool(environment_of(current).get(HOST_ROUTING))
    return options.host_routing


def wanted_spec(options: ProxyOptions, image_id: str | None, current: dict[str, Any] | None = None) -> Spec:
    """Return the spec that the options ask for.

    :param image_id: id of the proxy image on this host, ``None`` when it is missing (check mode on a bare host).
    :param current: Docker's description of the existing proxy.
    """
    return {
        "image": options.image,
        "image_id": image_id,
        "environment": {
            "PROXY_API_HOST": options.api_host,
            # Also before the hub has registered itself, or while it is away: a page that explains it and reloads.
            "PROXY_DEFAULT_TARGET": f"http://{options.hub}:{HUB_PORT}",
            HOST_ROUTING: "1" if by_host(options, current) else "",
        },
        "mounts": [f"{options.token_file}:{TOKEN_TARGET}:ro"],
        "networks": sorted([options.control_network, options.front_network, options.network]),
        "addresses": {options.front_network: options.address},
        "ports": [],
        # start.sh reads the token as root, then becomes an unprivileged user: that takes these two capabilities.
        "hardening": container_spec.hardening(cap_add=["SETGID", "SETUID"]),
        "restart_policy": "unless-stopped",
        "healthcheck": [
            "CMD",
            "node",
            "-e",
            f"require('net').connect({PUBLIC_PORT}).on('connect', () => process.exit(0))",
        ],
    }


def observed_spec(current: dict[str, Any]) -> Spec:
    """Return the spec of a proxy that exists, from Docker's description of it."""
    found = container_spec.observed_spec(current)
    # Proxies of earlier versions do not have the variable.
    return {**found, "environment": {HOST_ROUTING: "", **found["environment"]}, "addresses": fixed_addresses(current)}


def fixed_addresses(current: dict[str, Any] | None) -> dict[str, str]:
    """Return the fixed addresses of a container by network, from Docker's description of it. Pure."""
    networks = ((current or {}).get("NetworkSettings") or {}).get("Networks") or {}
    found = {name: (one.get("IPAMConfig") or {}).get("IPv4Address") for name, one in networks.items()}
    return {name: address for name, address in found.items() if address}


def check_routing(options: ProxyOptions, image: dict[str, Any] | None) -> None:
    """Check that the image can route by host names, if it has to: another one would mix up the users' origins.

    :param image: Docker's description of the image, ``None`` when it is missing.
    :raises DeployError: it cannot.
    """
    labels = ((image or {}).get("Config") or {}).get("Labels") or {}
    if options.host_routing and image and LABEL_HOST_ROUTING not in labels:
        raise DeployError(
            f"proxy image {options.image} is of an earlier version, which has no routes for jupyterhub_subdomains; "
            "build it with this version, or leave out jupyterhub_images_proxy"
        )


def public_probe(options: ProxyOptions) -> str:
    """Return the URL of the proxy's health check at its fixed address."""
    return f"{local_url(options)}{HEALTH_PATH}"


def local_url(options: ProxyOptions) -> str:
    """Return the URL at which this host reaches the proxy, with a slash at the end."""
    return f"http://{options.address}:{PUBLIC_PORT}/"


class ProxyContainer(ReplaceableContainer):
    """The proxy container of one hub."""

    what = "proxy"

    def __init__(self, client: Any, name: str, public_probe: str, health_timeout: float, hub: str) -> None:
        super().__init__(client, name, public_probe, health_timeout)
        self.hub = hub
        self.old = Draining(client, name, f"{LABEL_HUB}={hub}", self._signal_drain)

    def probe(self) -> str:
        """Return port and path of the proxy's own health check."""
        return f"{PUBLIC_PORT}/{HEALTH_PATH}"

    def has_api(self, network: str, api_host: str) -> bool:
        """Return whether the hub reaches the API: by its name in the control network, and at its address there.

        Docker forgets the name, and may choose another address, when somebody reconnects the container by hand. The
        proxy goes on serving its users, but gets no new routes.
        """
        found = ((self.observe() or {}).get("NetworkSettings") or {}).get("Networks") or {}
        own = found.get(network) or {}
        return api_host in (own.get("Aliases") or []) and accepts_connections(own["IPAddress"], API_PORT)

    def create_replacement(self, spec: Spec, control_network: str) -> None:
        """Create the proxy that is to replace this one.

        In the control network, its API has a name of its own besides the one that every proxy's has.
        """
        name = spec["environment"]["PROXY_API_HOST"]
        (own,) = spec["addresses"].values()
        # Servers connect to the proxy by its name, also while two proxies change their names.
        aliases = {network: [self.name] for network in spec["networks"]}
        aliases[control_network] = [name, f"{name}-{own.replace('.', '-')}"]
        self.create(self.next, spec, {LABEL_HUB: self.hub}, aliases)

    def smoke_test(self, spec: Spec) -> None:
        """Run the new proxy without its address until it answers, while the old one still serves.

        :raises DeployError: it does not answer; with its last log lines.
        """
        trial = ProxyContainer(self.client, self.trial, self.public_probe, self.health_timeout, self.hub)
        trial._remove_if_exists(trial.name)
        # The API's name belongs to the running proxy; this one listens on the name that its container has anyway.
        environment = {**spec["environment"], "PROXY_API_HOST": trial.name}
        try:
            networks = [one for one in spec["networks"] if one not in spec["addresses"]]
            alone = {"networks": networks, "addresses": {}, "restart_policy": "no"}
            spec = {**spec, **alone, "environment": environment}
            trial.create(trial.name, spec, {LABEL_HUB: self.hub}, {})
            self.client.start(trial.name)
            trial.wait_until(trial.is_healthy, "answering its health check")
        except DeployError as error:
            raise DeployError(f"the new proxy does not work, so the old one was left as it was: {error}") from error
        finally:
            trial._remove_if_exists(trial.name)

    def drain(self, name: str) -> list[str]:
        """Let a proxy end with its last connection, or at once if it does not; return what the operator has to know."""
        try:
            self.old.drain(name)
        except DeployError as error:
            self.client.stop(name, timeout=STOP_TIMEOUT)
            return [f"{error}, so it was stopped, which interrupted the connections that were open"]
        return []

    def _signal_drain(self, name: str) -> None:
        # Docker's own kill signals the first process, which may not signal the proxy: that has another user.
        made = self.client.exec_create(name, ["sh", "-c", DRAIN], user=USER)
        output = self.client.exec_start(made["Id"])
        if self.client.exec_inspect(made["Id"])["ExitCode"]:
            raise DeployError(f"the old proxy does not end by itself: {output.decode(errors='replace').strip()}")


def api_url(container: dict[str, Any], api_host: str) -> str:
    """Return the URL of a proxy's API in the control network: by its own name there, if it has one. Pure.

    :param container: Docker's description of it.
    :param api_host: the name that the API of every proxy of the hub has.
    """
    networks = container["NetworkSettings"]["Networks"].values()
    names = [alias for one in networks for alias in one.get("Aliases") or [] if alias.startswith(f"{api_host}-")]
    return f"http://{(names or [api_host])[0]}:{API_PORT}"
