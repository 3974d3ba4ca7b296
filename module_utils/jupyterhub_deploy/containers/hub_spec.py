"""The specification of the hub container. Pure: no I/O. ``containers.spec`` explains specs and compares two."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec
from ansible.module_utils.jupyterhub_deploy.containers.spec import Difference, Spec
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_NOTEBOOK_IMAGE_ID

LABEL_CONFIG = "org.jupyterhub.deploy.config"
NOTEBOOK_VARIABLE = "DOCKER_NOTEBOOK_IMAGE"  # in the hub's environment; upstream's name for it

# Where the hub image expects what the host mounts (the hub package has the same paths).
CONFIG_TARGET = "/etc/jupyterhub/config"
CA_FILE = "ca-bundle.crt"  # in the configuration
SECRETS_TARGET = "/etc/jupyterhub/secrets"
DATA_TARGET = "/data"
# The directory of Docker's socket, not the socket: Docker creates a new socket when it restarts, and a hub with the old
# one could start no server until it is replaced. Read-only still lets the hub connect.
SOCKET_DIR = "/run"

# What each key of the hub's spec is called in a message.
TITLES = {
    "image": "hub image name",
    "image_id": "hub image content",
    "notebook_image": "notebook image name",
    "notebook_image_id": "notebook image content",
    "config": "configuration",
    **spec.TITLES,
}

HUB_PORT = 8081  # JupyterHub's own default for the hub's API


@dataclass(frozen=True)
class HubOptions:
    """The options of the module ``jupyterhub_hub``, by their names."""

    name: str
    image: str
    notebook_image: str
    environment: dict[str, str]
    config_dir: str
    config_files: dict[str, str]
    ca_bundle: str
    sign_in: dict[str, Any]
    data_volume: str
    networks: list[str]
    public_probe: str
    health_timeout: float
    notebook_images: list[str]
    declared_users: list[str]


def config_digest(files: dict[str, str], key: str = "") -> str:
    """Return twelve hex digits that identify this exact set of configuration files (file name to text).

    :param key: any secret of the host, when the files contain secrets: without it, nobody can try out guesses of them
        on the digest, which labels and diffs show.
    """
    canonical = json.dumps(files, sort_keys=True).encode()
    return hmac.new(key.encode(), canonical, hashlib.sha256).hexdigest()[:12]


def wanted_spec(options: HubOptions, digest: str, image_id: str | None, notebook_image_id: str | None) -> Spec:
    """Return the spec that the options ask for.

    :param digest: from :func:`config_digest`.
    :param image_id: id of the hub image on this host, ``None`` when it is missing (check mode on a bare host).
    :param notebook_image_id: the same for the notebook image.
    """
    # OpenSSL's variable. It adds to the authorities of the image, which are in a directory.
    trusted = {"SSL_CERT_FILE": f"{CONFIG_TARGET}/{CA_FILE}"} if options.ca_bundle else {}
    return {
        "image": options.image,
        "image_id": image_id,
        "notebook_image": options.notebook_image,
        "notebook_image_id": notebook_image_id,
        "environment": {**options.environment, **trusted, NOTEBOOK_VARIABLE: options.notebook_image},
        "config": digest,
        "mounts": sorted(
            [
                f"{options.config_dir}/config-{digest}:{CONFIG_TARGET}:ro",
                f"{options.config_dir}/secrets:{SECRETS_TARGET}:ro",
                f"{options.data_volume}:{DATA_TARGET}:rw",
                f"{SOCKET_DIR}:{SOCKET_DIR}:ro",
            ]
        ),
        "networks": sorted(options.networks),
        "ports": [],
        "hardening": spec.hardening(cap_add=[]),
        "restart_policy": "unless-stopped",
        "healthcheck": ["CMD", "python", "-m", "jupyterhub_deploy_hub.health"],
    }


def observed_spec(container: dict[str, Any]) -> Spec:
    """Return the spec of a hub container that exists, from Docker's description of it (``docker inspect``)."""
    labels = container["Config"].get("Labels") or {}
    found = spec.observed_spec(container)
    return {
        **found,
        "notebook_image": found["environment"].get(NOTEBOOK_VARIABLE),
        "notebook_image_id": labels.get(LABEL_NOTEBOOK_IMAGE_ID),
        "config": labels.get(LABEL_CONFIG),
    }


def differences(wanted: Spec, observed: Spec) -> list[Difference]:
    """Return the differences that need a new hub; see ``spec.differences``."""
    return spec.differences(TITLES, _without_repetition(wanted), _without_repetition(observed))


def _without_repetition(spec: Spec) -> Spec:
    """Return a spec without the variable and the mount that repeat its keys ``notebook_image`` and ``config``."""
    return {
        **spec,
        "environment": {name: value for name, value in spec["environment"].items() if name != NOTEBOOK_VARIABLE},
        "mounts": [mount for mount in spec["mounts"] if mount.split(":")[1] != CONFIG_TARGET],
    }
