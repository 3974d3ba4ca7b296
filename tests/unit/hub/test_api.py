"""The client of the hub's API, against a server that answers like a hub: pages, refusals, silence."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api

TOKEN = "0123456789abcdef"
USERS = [{"name": f"user{number}", "servers": {}} for number in range(5)]


class FakeHub(BaseHTTPRequestHandler):
    """Answers like a hub; the requests are in ``asked``."""

    asked: list[Any]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        if parts.path == "/hub/api/users":
            self.page(parse_qs(parts.query))
        elif parts.path.startswith("/hub/api/status/"):
            status = int(parts.path.rpartition("/")[2])
            self.answer(status, {"status": status, "message": f"this is\nthe reason, {TOKEN}"})
        elif parts.path == "/hub/api/html":
            self.answer(200, b"<html>")
        elif parts.path == "/hub/api/redirect":
            self.send_response(302)
            self.send_header("Location", "/hub/api/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif parts.path == "/hub/api/progress":
            self.answer(200, b'\n\ndata: {"message": "a"}\n\ndata: {"ready": true}\n\n')
        else:
            self.answer(204, b"")

    do_POST = do_DELETE = do_GET  # noqa: N815  (http.server's names)

    def page(self, query: dict[str, list[str]]) -> None:
        """Pages of two, whatever the limit in the request: a hub may return fewer."""
        offset = int(query["offset"][0])
        more = (
            {"offset": offset + 2, "limit": 2, "url": "http://public.example.com/"} if offset + 2 < len(USERS) else None
        )
        self.answer(200, {"items": USERS[offset : offset + 2], "_pagination": {"offset": offset, "next": more}})

    def answer(self, status: int, content: Any) -> None:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[api.HubApi]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    FakeHub.asked = []
    server = HTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api.HubApi(f"http://127.0.0.1:{server.server_port}/hub/api/", TOKEN, timeout=5)
    finally:
        server.shutdown()
        server.server_close()


def test_events_are_read_as_they_come(hub: api.HubApi) -> None:
    assert list(filter(None, hub.events("/progress"))) == [{"message": "a"}, {"ready": True}]
    assert FakeHub.asked[-1][2]["Authorization"] == f"token {TOKEN}"
    with pytest.raises(DeployError, match=r"answers GET /status/400 with 400: this is the reason, …$"):
        list(hub.events("/status/400"))
    silent = api.HubApi("http://127.0.0.1:9/hub/api", TOKEN, timeout=5)
    with pytest.raises(DeployError, match="does not answer"):
        list(silent.events("/progress"))


def test_all_pages_are_read_whatever_the_proxy_of_the_environment(hub: api.HubApi) -> None:
    assert list(hub.users()) == USERS
    assert [parse_qs(urlsplit(path).query)["offset"] for _, path, _ in FakeHub.asked] == [["0"], ["2"], ["4"]]
    _, path, headers = FakeHub.asked[0]
    assert parse_qs(urlsplit(path).query)["state"] == ["active"]
    assert headers["Authorization"] == f"token {TOKEN}"
    assert headers["Accept"] == "application/jupyterhub-pagination+json"


def test_an_answer_without_content_is_none(hub: api.HubApi) -> None:
    assert hub.request("DELETE", "/users/alice/server") == (204, None)


def test_an_expected_status_is_not_an_error(hub: api.HubApi) -> None:
    assert hub.request("GET", "/status/404", expected=(404,))[0] == 404


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token(hub: api.HubApi, status: int) -> None:
    with pytest.raises(DeployError) as caught:
        hub.request("GET", f"/status/{status}")
    assert str(caught.value) == (
        f"the hub at {hub.url} refuses the token of its service `deploy` ({status} for GET /status/{status}); run "
        "make site, and if that does not help restart the hub's container, which reads the token when it starts"
    )


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_unexpected_status_comes_with_the_hubs_message_and_without_the_token(hub: api.HubApi, status: int) -> None:
    with pytest.raises(DeployError) as caught:
        hub.request("POST", f"/status/{status}", body={})
    assert (
        str(caught.value) == f"the hub at {hub.url} answers POST /status/{status} with {status}: this is the reason, …"
    )


def test_an_answer_that_is_not_json(hub: api.HubApi) -> None:
    with pytest.raises(DeployError, match="answers GET /html with something else than JSON"):
        hub.request("GET", "/html")


def test_the_token_is_sent_only_to_the_hub(hub: api.HubApi) -> None:
    with pytest.raises(DeployError, match="with 302"):
        hub.request("GET", "/redirect")
    assert len(FakeHub.asked) == 1


def test_a_closed_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/hub/api"
        with pytest.raises(DeployError) as caught:
            api.HubApi(url, TOKEN).request("GET", "/")
    assert str(caught.value).startswith(f"the hub at {url} does not answer ([Errno 111] Connection refused); read")


def test_an_answer_that_never_comes() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/hub/api"
        with pytest.raises(DeployError, match=r"does not answer \(timed out\)"):
            api.HubApi(url, TOKEN, timeout=0.2).request("GET", "/")


@pytest.mark.parametrize(
    ("user", "server", "path"),
    [
        ("alice", "", "/users/alice/server"),
        ("alice", "gpu", "/users/alice/servers/gpu"),
        ("a@example.com", "", "/users/a%40example.com/server"),
        ("a/b", "x y/z", "/users/a%2Fb/servers/x%20y%2Fz"),
        ("zoë", "é?", "/users/zo%C3%AB/servers/%C3%A9%3F"),
    ],
)
def test_names_are_quoted(user: str, server: str, path: str) -> None:
    assert api.server_path(user, server) == path


class TestConnect:
    """The address comes from Docker, the token from a file."""

    class Client:
        def __init__(self, running: bool = True, addresses: tuple[str, ...] = ("", "172.30.0.2")) -> None:
            networks = {str(number): {"IPAddress": address} for number, address in enumerate(addresses)}
            config = {"Labels": {LABEL_HUB: "jupyterhub"}}
            self.found = {"State": {"Running": running}, "NetworkSettings": {"Networks": networks}, "Config": config}

        def inspect_container(self, name: str) -> Any:
            return self.found

    @pytest.fixture
    def token_file(self, tmp_path: Any) -> str:
        path = tmp_path / "api_token"
        path.write_text(f"{TOKEN}\n")
        return str(path)

    def test_address_and_token(self, token_file: str) -> None:
        assert api.connect(self.Client(), "jupyterhub", token_file).url == "http://172.30.0.2:8081/hub/api"
        assert api.read_token(token_file) == TOKEN

    @pytest.mark.parametrize("client", [Client(running=False), Client(addresses=("",))])
    def test_a_hub_that_does_not_run(self, token_file: str, client: Any) -> None:
        with pytest.raises(DeployError, match="the hub container jupyterhub is not running; `docker logs jupyterhub`"):
            api.connect(client, "jupyterhub", token_file)

    def test_the_token_is_not_for_somebody_elses_container(self, token_file: str) -> None:
        with pytest.raises(DeployError, match="container lab belongs to hub jupyterhub, not to lab"):
            api.connect(self.Client(), "lab", token_file)

    def test_a_hub_on_a_full_disk_is_not_asked(self, token_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # It would refuse the token, because it cannot record that it was used.
        client = self.Client()
        client.found["Mounts"] = [{"Destination": "/data", "Source": "/"}]
        assert api.connect(client, "jupyterhub", token_file)
        monkeypatch.setattr(api.host, "disk_fault", lambda path: "is full")
        with pytest.raises(DeployError, match="the disk of /, which has the database of hub jupyterhub, is full, so"):
            api.connect(client, "jupyterhub", token_file)

    def test_no_hub(self, token_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api, "inspect_container", lambda client, name: None)
        with pytest.raises(DeployError, match=r"there is no hub container lab on this host; run make site"):
            api.connect(self.Client(), "lab", token_file)

    def test_no_token(self, tmp_path: Any) -> None:
        with pytest.raises(DeployError, match="api_token, the token of the hub's service `deploy`, does not exist"):
            api.read_token(str(tmp_path / "api_token"))
        (tmp_path / "directory").mkdir()
        with pytest.raises(DeployError, match="directory cannot be read: Is a directory"):
            api.read_token(str(tmp_path / "directory"))

    @pytest.mark.parametrize("text", [b"two\nlines", "umläut".encode(), b"\xff"])
    def test_a_file_without_a_token_is_refused_and_not_shown(self, tmp_path: Any, text: bytes) -> None:
        path = tmp_path / "api_token"
        path.write_bytes(text)
        with pytest.raises(DeployError) as caught:
            api.read_token(str(path))
        assert str(caught.value).startswith(str(path))
        assert "two" not in str(caught.value)
        assert "xff" not in str(caught.value)
