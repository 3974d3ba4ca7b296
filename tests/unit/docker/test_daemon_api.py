"""Docker's answers without the SDK."""

from __future__ import annotations

import socket

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_api
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support.fake_docker import serve


def test_docker_that_hangs_is_an_error_and_does_not_count_as_missing(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()  # the kernel accepts, no process answers

        with pytest.raises(DeployError, match=r"accepts connections on .* but does not answer within 0 s"):
            daemon_api.get("/version", path, timeout=0.1)


def test_an_error_of_docker_is_quoted(tmp_path):
    with (
        serve(tmp_path / "socket", {"/info": (500, {"message": "disk on fire"})}),
        pytest.raises(DeployError, match=r"Docker answers 500 to /info: .*disk on fire"),
    ):
        daemon_api.get("/info", str(tmp_path / "socket"))


def test_a_socket_without_a_listener_counts_as_no_docker(tmp_path):
    serve(tmp_path / "socket", {}).server_close()

    assert (tmp_path / "socket").exists()
    assert daemon_api.get("/version", str(tmp_path / "socket")) is None
