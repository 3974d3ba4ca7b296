"""Requests to sign-in providers through a proxy that a test starts."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest

from jupyterhub_deploy_hub import proxied


class Provider(BaseHTTPRequestHandler):
    """Answers with what it was sent; with an error for the path /error, with too little for /cut."""

    def do_POST(self) -> None:
        self.send_response(401 if self.path == "/error" else 200)
        if self.path == "/cut":
            self.send_header("Content-Length", "1000")
        self.end_headers()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(self.headers["Authorization"].encode() + b" " + body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Proxy(BaseHTTPRequestHandler):
    """Connects to the address that a client asks for."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            threading.Thread(target=pipe, args=(self.connection, there), daemon=True).start()
            pipe(there, self.connection)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def pipe(source: socket.socket, target: socket.socket) -> None:
    """Copy what arrives until one side closes."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a provider that is trusted, and reached through a proxy."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj"]
    command += ["/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key", "-out", "certificate"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    Proxy.asked = []
    server, proxy = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Provider, Proxy))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for one in (server, proxy):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    yield f"https://127.0.0.1:{server.server_port}"
    for one in (server, proxy):
        one.shutdown()
        one.server_close()


def post(url: str, **options: object) -> str:
    """Send a request as OAuthenticator does; return the answer."""
    request = HTTPRequest(url, method="POST", headers={"Authorization": "token abc"}, body="code=1", **options)
    return asyncio.run(proxied.ProxiedClient().fetch(request)).body.decode()


def test_a_request_goes_through_the_proxy(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxied.is_configured()
    assert post(f"{provider}/token") == "token abc code=1"
    assert Proxy.asked == [provider.removeprefix("https://")]
    assert proxied.is_used(provider)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert not proxied.is_used(provider)
    assert post(f"{provider}/token") == "token abc code=1"
    assert len(Proxy.asked) == 1
    monkeypatch.delenv("HTTPS_PROXY")
    assert not proxied.is_configured()


def test_errors_are_those_of_tornado(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HTTPClientError) as caught:
        post(f"{provider}/error")
    assert caught.value.code == 401
    assert caught.value.response is not None
    assert caught.value.response.body == b"token abc code=1"
    with pytest.raises(OSError, match="IncompleteRead"):
        post(f"{provider}/cut")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ssl.SSLCertVerificationError):
        post(f"{provider}/token")
    assert post(f"{provider}/token", validate_cert=False) == "token abc code=1"
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectionRefusedError):
        post(f"{provider}/token")
