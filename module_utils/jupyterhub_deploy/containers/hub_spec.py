"""What the hub container should be. Pure: no I/O. ``containers.spec`` says what a spec is and compares two."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec as container_plan
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec

LABEL_CONFIG = "org.jupyterhub.deploy.config"
LABEL_NOTEBOOK_IMAGE_ID = "org.jupyterhub.deploy.notebook-image-id"

# Where the hub image looks for what the host gives it (the hub package has the same paths).
CONFIG_TARGET = "/etc/jupyterhub/config"
SECRETS_TARGET = "/etc/jupyterhub/secrets"
DATA_TARGET = "/data"
# The directory of Docker's socket, not the socket: an engine that starts anew makes a new one, and a hub that holds the
# old one could start no server until it is replaced. Read-only still lets the hub connect.
SOCKET_DIR = "/run"

# Each key of the hub's spec, as it appears in a reason for a restart.
TITLES = {
    "image": "hub image name",
    "image_id": "hub image content",
    "notebook_image": "notebook image name",
    "notebook_image_id": "notebook image content",
    "config": "configuration",
    **container_plan.TITLES,
}

HUB_PORT = 8081  # JupyterHub's own default for the hub's API


def config_digest(files: dict[str, str]) -> str:
    """Return twelve hex digits that name this exact set of configuration files (file name to text)."""
    canonical = json.dumps(files, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:12]


def wanted_spec(params: dict[str, Any], image_id: str | None, notebook_image_id: str | None) -> Spec:
    """Return the spec that the module's parameters ask for.

    :param params: the parameters of the module ``jupyterhub_hub``.
    :param image_id: id of the hub image on this host, ``None`` when it is not there yet (check mode on a bare host).
    :param notebook_image_id: the same for the notebook image.
    """
    digest = config_digest(params["config_files"])
    return {
        "image": params["image"],
        "image_id": image_id,
        "notebook_image": params["environment"].get("DOCKER_NOTEBOOK_IMAGE"),
        "notebook_image_id": notebook_image_id,
        "environment": {k: v for k, v in sorted(params["environment"].items()) if k != "DOCKER_NOTEBOOK_IMAGE"},
        "config": digest,
        "mounts": sorted(
            [
                f"{params['config_dir']}/config-{digest}:{CONFIG_TARGET}:ro",
                f"{params['config_dir']}/secrets:{SECRETS_TARGET}:ro",
                f"{params['data_volume']}:{DATA_TARGET}:rw",
                f"{SOCKET_DIR}:{SOCKET_DIR}:ro",
            ]
        ),
        "networks": sorted(params["networks"]),
        "ports": [],
        "hardening": container_plan.hardening(cap_add=[]),
        "restart_policy": "unless-stopped",
        "healthcheck": ["CMD", "python", "-m", "jupyterhub_deploy_hub.health"],
    }


def observed_spec(container: dict[str, Any]) -> Spec:
    """Return the spec of a hub container that exists, from the engine's description of it (``docker inspect``)."""
    labels = container["Config"].get("Labels") or {}
    spec = container_plan.observed_spec(container)
    return {
        **spec,
        "environment": {k: v for k, v in spec["environment"].items() if k != "DOCKER_NOTEBOOK_IMAGE"},
        "notebook_image": spec["environment"].get("DOCKER_NOTEBOOK_IMAGE"),
        "notebook_image_id": labels.get(LABEL_NOTEBOOK_IMAGE_ID),
        "config": labels.get(LABEL_CONFIG),
    }


def differences(wanted: Spec, observed: Spec) -> list[str]:
    """Return one sentence for each difference; see ``container_plan.differences``."""
    found = container_plan.differences(TITLES, wanted, observed)
    if any(reason.startswith("configuration changed") for reason in found):
        # The directory of the configuration carries its digest; its mount says the same thing a second time.
        found = [reason for reason in found if not _is_config_mount(reason)]
    return found


def _is_config_mount(reason: str) -> bool:
    title, _, changes = reason.partition(": ")
    return title == "mounts changed" and all(f":{CONFIG_TARGET}:" in change for change in changes.split(", "))
