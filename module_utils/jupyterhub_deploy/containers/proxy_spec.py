"""What the proxy container should be. Pure: no I/O. ``containers.spec`` says what a spec is and compares two."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import HUB_PORT
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec

TOKEN_TARGET = "/etc/jupyterhub/secrets/proxy_token"  # noqa: S105  (a path; where start.sh of the proxy image looks)
PUBLIC_PORT = 8000  # in the container; configurable-http-proxy's own default

# Each key of the proxy's spec, as it appears in a reason for a restart.
TITLES = {
    "image": "proxy image name",
    "image_id": "proxy image content",
    **spec.TITLES,
}


def wanted_spec(params: dict[str, Any], image_id: str | None) -> Spec:
    """Return the spec that the module's parameters ask for.

    :param params: the parameters of the module ``jupyterhub_proxy``.
    :param image_id: id of the proxy image on this host, ``None`` when it is not there yet (check mode on a bare host).
    """
    return {
        "image": params["image"],
        "image_id": image_id,
        "environment": {
            "PROXY_API_HOST": params["api_host"],
            # Also before the hub has told the proxy of itself, or while it is away: a page that says so and reloads.
            "PROXY_DEFAULT_TARGET": f"http://{params['hub']}:{HUB_PORT}",
        },
        "mounts": [f"{params['token_file']}:{TOKEN_TARGET}:ro"],
        "networks": sorted([params["control_network"], params["network"]]),
        "ports": [f"{params['bind_address']}:{params['port']}:{PUBLIC_PORT}"],
        # start.sh reads the token as root, then becomes somebody without rights: that takes these two capabilities.
        "hardening": spec.hardening(cap_add=["SETGID", "SETUID"]),
        "restart_policy": "unless-stopped",
        "healthcheck": [
            "CMD",
            "node",
            "-e",
            f"require('net').connect({PUBLIC_PORT}).on('connect', () => process.exit(0))",
        ],
    }


def differences(wanted: Spec, observed: Spec) -> list[str]:
    """Return one sentence for each difference; see ``container_plan.differences``."""
    return spec.differences(TITLES, wanted, observed)
