"""The routes of a hub's proxy, which the hub restores."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import proxy as proxy_container
from ansible.module_utils.jupyterhub_deploy.containers.proxy import ProxyOptions
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api

# How the result begins when no hub runs: it restores them by itself when it starts.
WITHOUT_HUB = ("later: there is no hub", "later: the hub container ")


def restore(client: Any, options: ProxyOptions, name: str) -> str:
    """Make the hub use the API of a proxy and restore its routes.

    :param options: of the module ``jupyterhub_proxy``.
    :param name: of the proxy's container.
    :returns: ``restored``, or ``later`` with the reason.
    """
    if not inspect_container(client, options.hub):
        return "later: there is no hub yet"
    found = inspect_container(client, name)
    url = found and proxy_container.api_url(found, options.api_host)
    try:
        api.connect(client, options.hub, options.api_token_file).request("PATCH", "/proxy", {"api_url": url})
    except DeployError as error:
        # The hub is stopped, or is about to be replaced by one that accepts the token. It restores them by itself.
        return f"later: {error}"
    return "restored"
