"""The connection from a module to Docker on its host, and what Docker's descriptions of objects mean."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError

try:
    import docker
    from docker import errors as docker_errors
except ImportError:  # a bare host in check mode: the docker role would install it
    docker = None  # type: ignore[assignment]
    docker_errors = None  # type: ignore[assignment]

SOCKET = "/var/run/docker.sock"

# Pulls and builds report progress all the time; Docker that is silent for this long (seconds) does not work.
API_TIMEOUT = 120


def connect(timeout: int = API_TIMEOUT) -> Any:
    """Return a low-level Docker client (``docker.APIClient``) for this host.

    :param timeout: seconds that one API call may stay silent.
    :raises DeployError: the SDK is not installed, Docker does not answer, or this user may not connect.
    """
    if docker is None:
        raise DeployError(
            "Python's docker SDK is missing on this host; run site.yml, whose docker role installs python3-docker"
        )
    if os.path.exists(SOCKET) and not os.access(SOCKET, os.R_OK | os.W_OK):
        raise DeployError(f"this user may not connect to Docker ({SOCKET}); run the play with become: true")
    try:
        client = docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=timeout)
        client.ping()
    except DOCKER_ERRORS as error:
        raise DeployError(
            f"Docker does not answer ({error}); read `journalctl -u docker` or /var/log/dockerd.log, "
            "then run site.yml again"
        ) from error
    return client


def connect_or_none() -> Any | None:
    """Return a client as :func:`connect` does, ``None`` where Docker or its SDK is not installed.

    For check mode on a bare host, where site.yml would install both.

    :raises DeployError: Docker does not answer, or this user may not connect.
    """
    if docker is None or not os.path.exists(SOCKET):
        return None
    return connect()


def name_of(container: dict[str, Any]) -> str:
    """Return the name of a container, from ``inspect`` or from an element of a list of containers."""
    name: str = container["Name"] if "Name" in container else (container.get("Names") or [container["Id"][:12]])[0]
    return name.lstrip("/")


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container, from ``inspect``."""
    return {name: value for name, _, value in (entry.partition("=") for entry in container["Config"].get("Env") or [])}


def inspect_container(client: Any, name: str) -> dict[str, Any] | None:
    """Return Docker's description of a container, ``None`` when it does not exist."""
    try:
        found: dict[str, Any] = client.inspect_container(name)
    except docker_errors.NotFound:
        return None
    return found


def inspect_image(client: Any, reference: str) -> dict[str, Any] | None:
    """Return Docker's description of an image, ``None`` when this host does not have it."""
    try:
        found: dict[str, Any] = client.inspect_image(reference)
    except (docker_errors.ImageNotFound, docker_errors.NotFound):
        return None
    return found


def image_id(client: Any | None, reference: str) -> str | None:
    """Return the id of an image, ``None`` when this host does not have it.

    :param client: ``None`` where Docker is not installed yet.
    """
    found = inspect_image(client, reference) if client else None
    return found["Id"] if found else None
