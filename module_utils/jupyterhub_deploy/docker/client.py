"""The one way from a module to the Docker engine of its host."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

try:
    import docker
    from docker import errors as docker_errors
except ImportError:  # a bare host in check mode: the docker role would install it
    docker = None  # type: ignore[assignment]
    docker_errors = None  # type: ignore[assignment]

# Pulls and builds report progress all the time; a silent engine for this long (seconds) is a dead one.
API_TIMEOUT = 120


def connect(timeout: int = API_TIMEOUT) -> Any:
    """Return a low-level Docker client (``docker.APIClient``) for the engine of this host.

    :param timeout: seconds that one API call may stay silent.
    :raises DeployError: when the SDK is not installed or no engine answers.
    """
    if docker is None:
        raise DeployError(
            "Python's docker SDK is missing on this host; run site.yml, whose docker role installs python3-docker"
        )
    try:
        client = docker.APIClient(version="auto", timeout=timeout)
        client.ping()
    except docker_errors.DockerException as error:
        raise DeployError(
            f"the Docker engine does not answer ({error}); look at `journalctl -u docker` or /var/log/dockerd.log, "
            "then run site.yml again"
        ) from error
    return client


def connect_or_none() -> Any | None:
    """As :func:`connect`, but ``None`` where there is no engine yet: what check mode sees on a bare host."""
    try:
        return connect()
    except DeployError:
        return None


def name_of(container: dict[str, Any]) -> str:
    """Return the name of a container, from ``inspect`` or from an element of a list of containers."""
    name: str = container["Name"] if "Name" in container else (container.get("Names") or [container["Id"][:12]])[0]
    return name.lstrip("/")


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container, from ``inspect``."""
    return {name: value for name, _, value in (entry.partition("=") for entry in container["Config"].get("Env") or [])}


def inspect_container(client: Any, name: str) -> dict[str, Any] | None:
    """Return the engine's description of a container, or ``None`` when there is none of that name."""
    try:
        found: dict[str, Any] = client.inspect_container(name)
    except docker_errors.NotFound:
        return None
    return found


def inspect_image(client: Any, reference: str) -> dict[str, Any] | None:
    """Return the engine's description of an image on this host, or ``None`` when it is not there."""
    try:
        found: dict[str, Any] = client.inspect_image(reference)
    except (docker_errors.ImageNotFound, docker_errors.NotFound):
        return None
    return found


def image_id(client: Any | None, reference: str) -> str | None:
    """Return the id of an image on this host, ``None`` when it is not there or there is no engine."""
    found = inspect_image(client, reference) if client else None
    return found["Id"] if found else None
