"""Give the front the port of a hub's proxy, which users reached directly before the hub had a front.

While the proxy has the port, what the front is to serve waits in a file. ``front.proxy_replacement`` starts another
proxy without a port, stops the old one, and makes the front serve, which cuts the connections of the old one, once.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import plan, release, site
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.front.site import Site
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

FREE_TIMEOUT = 5.0  # seconds until Docker has closed the port of a container that has stopped


def holders(containers: list[dict[str, Any]], wanted: Site) -> list[str]:
    """Return the proxy of a site's hub if it publishes the site's port, as one of an earlier version does. Pure.

    None for a site with HTTPS: the proxy serves users until the certificate is there, so preflight refuses its ports.

    :param containers: Docker's list of running containers.
    """
    proxy = f"{wanted.hub}-proxy"
    return [
        name_of(one)
        for one in containers
        if wanted.has_own_port
        and name_of(one) == proxy
        and (one.get("Labels") or {}).get(LABEL_HUB) == wanted.hub
        and any(_collide(port, wanted) for port in one.get("Ports") or [])
    ]


def _collide(published: dict[str, Any], wanted: Site) -> bool:
    """Return whether a port that Docker publishes, as it lists one, is also an address of a site."""
    addresses = {published.get("IP") or site.ALL_ADDRESSES, wanted.bind_address}
    return published.get("PublicPort") in plan.ports(wanted) and (
        len(addresses) == 1 or bool(addresses & {site.ALL_ADDRESSES, "::"})
    )


def serve(front: FrontContainer, directory: str, waiting: Site) -> None:
    """Make the front serve a site that waits.

    :raises DeployError: its port is not free, which nginx would try for long, or nginx does not use it.
    """
    port = waiting.http_port
    if not wait_until(lambda: not host.listener(port), FREE_TIMEOUT):
        raise DeployError(f"port {port} is taken by {host.listener(port)}; stop it and run make site again")
    others = [other for hub, other in site.read_sites(directory).items() if hub != waiting.hub]
    config = front.render([*others, waiting])
    try:
        release.release(front, directory, config, waiting)
    except DeployError:
        # nginx perhaps uses the port until it has read the old configuration again.
        wait_until(lambda: not host.listener(port), FREE_TIMEOUT)
        raise
    site.write_site(directory, waiting.hub, waiting)
    site.write_waiting(directory, waiting.hub, None)
