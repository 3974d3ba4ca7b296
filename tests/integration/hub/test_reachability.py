"""The status of a hub whose containers run and whose users get no answer, on real Docker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB

import jupyterhub_status
from hosts.run import name as run_name
from support.factories import images
from support.modules import run
from support.ports import free_port

NAME = run_name("unreachable")
IMAGE = f"{NAME}-image:1"


@pytest.fixture
def client(local_docker: None) -> Iterator[Any]:
    client = docker.APIClient(version="auto")
    images.make(client, IMAGE, {})
    yield client
    for container in (NAME, f"{NAME}-proxy"):
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_container(container, force=True)
    client.remove_image(IMAGE, force=True)


@pytest.mark.parametrize("published", [True, False])
def test_containers_that_run_are_not_a_hub_that_answers(client: Any, published: bool) -> None:
    port = free_port()
    ports = {8000: ("127.0.0.1", port)} if published else {}
    for name, bindings in ((NAME, {}), (f"{NAME}-proxy", ports)):
        client.create_container(
            IMAGE, ["/bin/sh", "-c", "read x"], name=name, stdin_open=True, ports=list(bindings),
            labels={LABEL_HUB: NAME}, host_config=client.create_host_config(port_bindings=bindings),
        )  # fmt: skip
        client.start(name)
    result = run(jupyterhub_status, name=NAME, token_file="/nowhere/api_token")

    assert result["unknown"] is None
    assert any(line.startswith(f"proxy: {NAME}-proxy runs for") for line in result["messages"])
    expected = f" at http://127.0.0.1:{port}/hub/health: " if published else ": Docker publishes no port for "
    assert f"NOT REACHABLE{expected}" in result["messages"][-1]
