"""What the hub container should be, what it is, and what to do about the difference. Pure: no I/O.

A *spec* is a plain dictionary that both sides can be brought to (:func:`wanted_spec` from the module's parameters,
:func:`observed_spec` from the engine's description of the container). :func:`plan` compares two of them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

Spec = dict[str, Any]  # plain JSON values; the keys are those of REASONS

LABEL_HUB = "org.jupyterhub.deploy.hub"
LABEL_CONFIG = "org.jupyterhub.deploy.config"
LABEL_NOTEBOOK_IMAGE_ID = "org.jupyterhub.deploy.notebook-image-id"

# Where the hub image looks for what the host gives it (the hub package has the same paths).
CONFIG_TARGET = "/etc/jupyterhub/config"
SECRETS_TARGET = "/etc/jupyterhub/secrets"
DATA_TARGET = "/data"
# The directory of Docker's socket, not the socket: an engine that starts anew makes a new one, and a hub that holds the
# old one could start no server until it is replaced. Read-only still lets the hub connect.
SOCKET_DIR = "/run"

HUB_PORT = 8081  # JupyterHub's own default for the hub's API

# In the operator's words: each key of a spec, as it appears in a reason for a restart.
REASONS = {
    "image": "hub image name",
    "image_id": "hub image content",
    "notebook_image": "notebook image name",
    "notebook_image_id": "notebook image content",
    "environment": "environment",
    "config": "configuration",
    "mounts": "mounts",
    "networks": "networks",
    "hardening": "container restrictions",
    "restart_policy": "restart policy",
    "healthcheck": "health check",
}


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
        "hardening": {
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108  (in the container)
        },
        "restart_policy": "unless-stopped",
        "healthcheck": ["CMD", "python", "-m", "jupyterhub_deploy_hub.health"],
    }


def observed_spec(container: dict[str, Any]) -> Spec:
    """Return the spec of a container that exists, from the engine's description of it (``docker inspect``)."""
    config, host = container["Config"], container["HostConfig"]
    labels = config.get("Labels") or {}
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return {
        "image": config["Image"],
        "image_id": container["Image"],
        "notebook_image": environment.pop("DOCKER_NOTEBOOK_IMAGE", None),
        "notebook_image_id": labels.get(LABEL_NOTEBOOK_IMAGE_ID),
        "environment": environment,
        "config": labels.get(LABEL_CONFIG),
        "mounts": sorted(_with_mode(bind) for bind in host.get("Binds") or []),
        "networks": sorted(container["NetworkSettings"]["Networks"]),
        "hardening": {
            "cap_drop": host.get("CapDrop") or [],
            "security_opt": host.get("SecurityOpt") or [],
            "read_only": bool(host.get("ReadonlyRootfs")),
            "tmpfs": sorted(host.get("Tmpfs") or {}),
        },
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "healthcheck": (config.get("Healthcheck") or {}).get("Test") or [],
    }


def differences(wanted: Spec, observed: Spec) -> list[str]:
    """Return one sentence for each difference that a running hub cannot take up without a restart.

    The environment that an image brings itself (PATH and the like) is none of our business: only the variables that
    are wanted are compared.
    """
    found = []
    for key, title in REASONS.items():
        want, have = wanted[key], observed[key]
        if key == "environment":
            have = {name: have[name] for name in want if name in have}
        if want == have:
            continue
        if isinstance(want, dict):
            names = sorted(name for name in {*want, *have} if want.get(name) != have.get(name))
            found.append(f"{title} changed: {', '.join(names)}")
        elif isinstance(want, list):
            added = [item for item in want if item not in have]
            removed = [item for item in have if item not in want]
            changes = [f"+{item}" for item in added] + [f"-{item}" for item in removed]
            found.append(f"{title} changed: {', '.join(changes)}")
        else:
            found.append(f"{title} changed: {_short(have)} → {_short(want)}")
    if any(reason.startswith("configuration changed") for reason in found):
        # The directory of the configuration carries its digest; its mount says the same thing a second time.
        found = [reason for reason in found if not _is_config_mount(reason)]
    return found


def plan(wanted: Spec, current: dict[str, Any] | None, answering: bool) -> tuple[str, list[str]]:
    """Return what to do with the hub container, and why.

    :param wanted: from :func:`wanted_spec`.
    :param current: the engine's description of the container, or ``None`` when there is none.
    :param answering: whether the hub answers its health check now (it was given time to, if it had only just started).
    :returns: an action with its reasons. ``none``: leave it alone; ``start``: it is what it should be, but stopped;
        ``restart``: it runs as it should, but does not answer; ``replace``: put a new one in its place;
        ``create``: there is none.
    """
    if current is None:
        return "create", ["there is no hub container yet"]
    reasons = differences(wanted, observed_spec(current))
    if reasons:
        return "replace", reasons
    if not current["State"]["Running"]:
        return "start", ["the hub container is stopped"]
    if not answering:
        return "restart", ["the hub does not answer its health check"]
    return "none", []


def _with_mode(bind: str) -> str:
    """Bring a bind to ``source:target:mode``; the engine leaves the mode out where it is ``rw``."""
    return bind if bind.count(":") > 1 else f"{bind}:rw"


def _is_config_mount(reason: str) -> bool:
    changes = reason.partition(": ")[2].split(", ")
    return reason.startswith("mounts changed") and all(f":{CONFIG_TARGET}:" in change for change in changes)


def _short(value: Any) -> str:
    """Return a value as it reads best in a message: sha256 ids as twelve digits."""
    if value is None:
        return "none"
    text = str(value)
    prefix, separator, digits = text.partition("sha256:")
    return f"{prefix}{separator}{digits[:12]}" if separator else text
