"""Connecting to Docker: a host without Docker is distinguished from one whose Docker does not work."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import client
from ansible.module_utils.jupyterhub_deploy.errors import DeployError


class Broken(http.server.BaseHTTPRequestHandler):
    """Docker that answers each request with an error."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b'{"message": "the disk is full"}')

    def address_string(self) -> str:
        return "a Unix socket"

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(client, "SOCKET", str(path))
    return path


@pytest.fixture
def broken(socket_path: Path) -> Iterator[None]:
    with socketserver.UnixStreamServer(str(socket_path), Broken) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("socket_path")
def test_a_host_without_docker_has_no_client() -> None:
    assert client.connect_or_none() is None


@pytest.mark.usefixtures("broken")
def test_a_host_without_the_sdk_has_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "docker", None)
    assert client.connect_or_none() is None
    with pytest.raises(DeployError, match=r"Python's docker SDK is missing on this host; run site.yml"):
        client.connect()


@pytest.mark.usefixtures("broken")
def test_docker_that_answers_with_an_error_is_not_a_bare_host() -> None:
    with pytest.raises(DeployError, match=r"Docker does not answer \(.*the disk is full.*journalctl -u docker"):
        client.connect_or_none()


def test_docker_that_does_not_run_is_not_a_bare_host(socket_path: Path) -> None:
    socketserver.UnixStreamServer(str(socket_path), Broken).server_close()
    with pytest.raises(DeployError, match=r"Docker does not answer \(.*refused"):
        client.connect_or_none()


@pytest.mark.usefixtures("broken")
def test_a_user_without_permission_is_not_on_a_bare_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.os, "access", lambda *_: False)
    with pytest.raises(DeployError, match=r"this user may not connect to Docker .* run the play with become: true"):
        client.connect_or_none()


def test_a_broken_connection_while_connecting_is_one_sentence(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vanishing:
        """Docker that stops between the first request and the second."""

        def __init__(self, **_: object) -> None: ...

        def ping(self) -> None:
            raise ConnectionResetError("connection reset by peer")

    socket_path.touch()
    monkeypatch.setattr(client.docker, "APIClient", Vanishing)
    with pytest.raises(DeployError, match=r"Docker does not answer .connection reset by peer"):
        client.connect()
