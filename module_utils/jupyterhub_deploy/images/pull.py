"""Pull an image and report the progress."""

from __future__ import annotations

import threading
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.parallel import check
from ansible.module_utils.jupyterhub_deploy.images.reference import login_for, parse
from ansible.module_utils.jupyterhub_deploy.images.registry import classify, explain, failure
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

MEGABYTE = 1_000_000


class Layers:
    """The progress of a pull, from Docker's events about layers."""

    def __init__(self) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}

    def add(self, event: dict[str, Any]) -> None:
        """Add an event of the pull."""
        layer, detail, status = event.get("id", ""), event.get("progressDetail") or {}, event.get("status", "")
        if status == "Downloading" and detail.get("total"):
            self.sizes[layer] = (detail.get("current", 0), detail["total"])
        elif status in ("Download complete", "Pull complete") and layer in self.sizes:
            self.sizes[layer] = (self.sizes[layer][1], self.sizes[layer][1])

    def line(self) -> str:
        """Return the progress for people: ``312/417 MB``, or ``unpacking``."""
        done, total = (sum(sizes) // MEGABYTE for sizes in zip(*self.sizes.values())) if self.sizes else (0, 0)
        if not self.sizes:
            return "asking the registry"
        return "unpacking" if done == total else f"{done}/{total} MB"


def pull(client: Any, name: str, logins: list[dict[str, Any]], progress: Reporter, stop: threading.Event) -> str:
    """Pull an image and return its id.

    The login is sent with this request only: nothing is written to ``~/.docker/config.json``.

    :param stop: set when another step has failed.
    :raises DeployError: with the reason and what to do next.
    """
    reference = parse(name)
    login = login_for(reference, logins)
    layers = Layers()
    progress.say(f"pull {name}: {layers.line()}")
    try:
        for event in client.pull(reference.remote, tag=reference.version, stream=True, decode=True, auth_config=login):
            check(stop)
            if "error" in event:
                text = str(event["error"])
                raise DeployError(explain(classify(None, text), name, reference, login, text))
            layers.add(event)
            progress.update(f"pull {name}: {layers.line()}")
    except docker_errors.APIError as error:
        raise failure(name, reference, login, error) from error
    found = inspect_image(client, name)
    if not found:
        raise DeployError(
            f"image {name} was pulled but is not on the host; stop whatever removes images there, then try again"
        )
    return str(found["Id"])
