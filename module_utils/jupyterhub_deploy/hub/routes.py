"""The routes of a hub's proxy, which the hub restores."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers import proxy as proxy_container
from ansible.module_utils.jupyterhub_deploy.containers.proxy import ProxyOptions
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api

KEPT, RESTORED, LATER = "kept", "restored", "later"


class Routes(NamedTuple):
    """What has become of the routes of a proxy."""

    state: str = KEPT
    """:data:`KEPT`: nothing was done. :data:`RESTORED`: the hub has restored them. :data:`LATER`: it does so itself."""
    problem: str = ""
    """Why a hub that runs could not be told."""


def restore(client: Any, options: ProxyOptions, name: str) -> Routes:
    """Make the hub use the API of a proxy and restore its routes.

    :param options: of the module ``jupyterhub_proxy``.
    :param name: of the proxy's container.
    """
    hub = inspect_container(client, options.hub)
    if not hub or not hub["State"]["Running"]:
        return Routes(LATER)
    found = inspect_container(client, name)
    url = found and proxy_container.api_url(found, options.api_host)
    try:
        api.connect(client, options.hub, options.api_token_file).request("PATCH", "/proxy", {"api_url": url})
    except DeployError as error:  # for example, it is about to be replaced by one that accepts the token
        return Routes(LATER, str(error))
    return Routes(RESTORED)
