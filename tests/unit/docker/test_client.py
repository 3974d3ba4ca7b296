"""Connecting to Docker: a host without Docker is distinguished from one whose Docker does not work."""

from __future__ import annotations

import http.server
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import client
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support.fake_docker import VERSION, serve

ROOT = Path(__file__).resolve().parents[3]


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


def test_a_host_without_the_sdk_has_no_client(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "docker", None)
    with serve(socket_path, {"/containers/json?all=1": (200, [{"Names": ["/other"], "Labels": {}}])}):
        assert client.connect_or_none() is None
    with pytest.raises(DeployError, match=r"Python's docker SDK is missing on this host; run make site"):
        client.connect()


def test_a_hub_is_not_overlooked_because_the_sdk_is_missing(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "docker", None)
    hub = {"Names": ["/lab"], "Labels": {LABEL_HUB: "lab"}}
    with (
        serve(socket_path, {"/containers/json?all=1": (200, [hub])}),
        pytest.raises(DeployError, match="Python's docker SDK is missing on this host"),
    ):
        client.connect_or_none()


@pytest.mark.parametrize("fault", ["at the import", "at the first request"])
def test_a_broken_sdk_is_neither_a_bare_host_nor_docker_that_does_not_answer(
    fault: str, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "at the import":
        monkeypatch.setattr(client, "docker", None)
        monkeypatch.setattr(client, "SDK_FAULT", "ImportError: cannot import name 'X' from 'urllib3'")
    else:  # as docker 5 with requests 2.32
        refuse = Mock(side_effect=client.docker_errors.DockerException("Not supported URL scheme http+docker"))
        monkeypatch.setattr(client.docker, "APIClient", refuse)
    with serve(socket_path, {"/version": (200, VERSION)}):
        for connect in (client.connect, client.connect_or_none):
            with pytest.raises(DeployError, match=r"^Python's docker SDK does not work on this host.*(urllib3|scheme)"):
                connect()


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("raise ImportError('no DEFAULT_CIPHERS')", "ImportError: no DEFAULT_CIPHERS"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise AttributeError('module lib')", "AttributeError: module lib"),
        (None, ""),
    ],
)
def test_why_the_sdk_cannot_be_imported(code: str | None, fault: str, tmp_path: Path) -> None:
    if code:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/__init__.py").write_text(code)
    blocked = "" if code else "sys.modules['docker'] = None; "
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {blocked}"
        f"import ansible.module_utils; ansible.module_utils.__path__.append({str(ROOT / 'module_utils')!r}); "
        "from ansible.module_utils.jupyterhub_deploy.docker import client; print(client.SDK_FAULT)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == fault, done.stderr


@pytest.mark.usefixtures("broken")
def test_docker_that_answers_with_an_error_is_not_a_bare_host() -> None:
    with pytest.raises(DeployError, match=r"Docker does not answer \(.*the disk is full.*journalctl -u docker"):
        client.connect_or_none()


def test_docker_that_does_not_run_is_not_a_bare_host(socket_path: Path) -> None:
    socketserver.UnixStreamServer(str(socket_path), Broken).server_close()
    with pytest.raises(DeployError, match=r"Docker does not answer \(.*(refused|reset)"):
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
