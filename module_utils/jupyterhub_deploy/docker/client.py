"""The connection from a module to Docker on its host, and what Docker's descriptions of objects mean."""

from __future__ import annotations

import os
import sys
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker import daemon_api
from ansible.module_utils.jupyterhub_deploy.docker.daemon_api import SOCKET
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

# Why the SDK does not work although it is installed; empty when it works, and on a bare host.
SDK_FAULT = ""
try:
    import docker
    from docker import errors as docker_errors
except Exception as fault:  # missing: the docker role installs it; or broken: it may raise anything
    docker = None  # type: ignore[assignment]
    docker_errors = None  # type: ignore[assignment]
    if not (isinstance(fault, ModuleNotFoundError) and fault.name == "docker"):
        SDK_FAULT = f"{type(fault).__name__}: {fault}"

# Pulls and builds report progress all the time; Docker that is silent for this long (seconds) does not work.
API_TIMEOUT = 120
LOG_DELAY = 3  # seconds that Docker takes at most to write the log of a container that ended


def connect(timeout: int = API_TIMEOUT) -> Any:
    """Return a low-level Docker client (``docker.APIClient``) for this host.

    :param timeout: seconds that one API call may stay silent.
    :raises DeployError: the SDK is not installed, Docker does not answer, or this user may not connect.
    """
    if SDK_FAULT:
        raise _broken_sdk(SDK_FAULT)
    if docker is None:
        raise DeployError(
            "Python's docker SDK is missing on this host; run make site, whose docker role installs python3-docker"
        )
    if os.path.exists(SOCKET) and not os.access(SOCKET, os.R_OK | os.W_OK):
        raise DeployError(f"this user may not connect to Docker ({SOCKET}); run the play with become: true")
    try:
        client = docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=timeout)
        client.ping()
    except DOCKER_ERRORS as error:
        if _answers():
            raise _broken_sdk(str(error)) from error
        raise DeployError(
            f"Docker does not answer ({error}); read `journalctl -u docker` or /var/log/dockerd.log, "
            "then run make site again"
        ) from error
    return client


def connect_or_none() -> Any | None:
    """Return a client as :func:`connect` does, ``None`` where Docker or its SDK is not installed.

    For check mode on a bare host, where site.yml would install both.

    :raises DeployError: Docker does not answer, this user may not connect, or the SDK is broken; or it is missing on a
        host with a hub, which would then seem not to exist.
    """
    if not os.path.exists(SOCKET):
        return None
    if docker is None and not SDK_FAULT and not _hubs():
        return None
    return connect()


def _hubs() -> list[dict[str, Any]]:
    """Return the containers of hubs, without the SDK."""
    found = daemon_api.get("/containers/json?all=1", SOCKET) or []
    return [one for one in found if LABEL_HUB in (one.get("Labels") or {})]


def _answers() -> bool:
    """Return whether Docker answers, without the SDK."""
    try:
        return daemon_api.get("/version", SOCKET, timeout=5) is not None
    except (DeployError, ValueError):
        return False


def _broken_sdk(fault: str) -> DeployError:
    return DeployError(
        f"Python's docker SDK does not work on this host, although Docker may run ({fault}). {sys.executable} has "
        "packages that do not fit together, for example requests from pip beside Debian's python3-docker; `pip list` "
        "shows them. Remove those from pip, or set ansible_python_interpreter to a Python with a working SDK"
    )


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


def run_to_end(client: Any, container: str, seconds: float, prints: bool = True, **output: Any) -> tuple[int, str]:
    """Start a container that ends by itself; return its exit code and its output.

    :param seconds: that it may run.
    :param prints: whether it always prints something. Docker may write that to the log only later.
    :param output: which part, as ``client.logs`` takes it.
    """
    client.start(container)
    code = client.wait(container, timeout=seconds)["StatusCode"]
    if prints:
        wait_until(lambda: client.logs(container, tail=1), LOG_DELAY)
    return code, client.logs(container, **output).decode(errors="replace").strip()


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
