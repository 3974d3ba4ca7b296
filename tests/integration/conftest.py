"""Another hub's server, volume and ports beside all tests, which none changes."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from hosts.hosts import Host
from hosts.registry import Registry
from support.factories import images
from support.factories.registry import trusted

#: Those of the proxy, its API and the hub.
PORTS = (8000, 8001, 8081)


@pytest.fixture(scope="session", autouse=True)
def another_hub(local_docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a container with the labels of alice's server at another hub, and listen on a hub's ports.

    The hub's name is the run's: a real hub on this machine must not take container and volume for its own.
    """
    decoy = Host(f"decoy-{secrets.token_hex(3)}", "")
    image = f"{decoy.container}:1"
    labels = {"org.jupyterhub.deploy.hub": decoy.container, "org.jupyterhub.deploy.user": "alice"}
    api = docker.APIClient()
    images.make(api, image, {})
    try:
        api.create_volume(decoy.volume, labels=labels)
        container = api.create_container(
            image, ["sh", "-c", "read line"], name=decoy.container, stdin_open=True,
            labels=labels,
            host_config=api.create_host_config(binds=[f"{decoy.volume}:/home/jovyan/work"]),
        )["Id"]  # fmt: skip
        api.start(container)

        volume = api.inspect_volume(decoy.volume)
        (Path(volume["Mountpoint"]) / "work").write_text("of alice", encoding="utf-8")

        def state() -> tuple[object, ...]:
            found = api.inspect_container(container)
            files = {path.name: path.stat().st_ctime_ns for path in Path(volume["Mountpoint"]).rglob("*")}
            return found["Name"], found["State"], api.inspect_volume(decoy.volume), files

        before = state()
        # What leaves no trace in its state, such as a pause.
        events = tmp_path_factory.mktemp("decoy") / "events"
        command = ["docker", "events", "--filter", f"container={container}", "--format", "{{.Action}}"]
        with contextlib.ExitStack() as stack:
            log = subprocess.Popen(command, stdout=stack.enter_context(events.open("w")))
            stack.callback(log.wait)
            stack.callback(log.terminate)
            for port in PORTS:
                with contextlib.suppress(OSError):  # a real hub has it, or another process of the tests
                    stack.enter_context(socket.create_server(("0.0.0.0", port)))
            yield
        assert state() == before, "a test changed a container or volume of another hub"
        assert events.read_text(encoding="utf-8") == "", "a test used a container of another hub"
    finally:
        decoy.destroy()
        with contextlib.suppress(docker.errors.ImageNotFound):
            api.remove_image(image, force=True)


@pytest.fixture(scope="session")
def image_registry(registry: Registry, built_images: Callable[[str], dict[str, Any]]) -> Registry:
    """Return the registry with all images of this machine: ``hub:test``, ``proxy:test`` and so on."""
    built, client = built_images("5.5.4"), docker.APIClient(version="auto")
    login = {"username": registry.username, "password": registry.password}
    with trusted(registry):
        for purpose in ("hub", "proxy", "notebook", "front"):
            name = f"{registry.server}/{purpose}"
            client.tag(built[purpose], name, "test")
            for event in client.push(name, "test", stream=True, decode=True, auth_config=login):
                assert "error" not in event, event
            client.remove_image(f"{name}:test")
    return registry
