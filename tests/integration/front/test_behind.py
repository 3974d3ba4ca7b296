"""A hub behind web servers of others, configured as docs/how-to/behind-a-proxy.md says."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from hosts.fixtures import MakeHost
from hosts.hosts import ROOT, Host
from hosts.images import docker
from hosts.run import name as run_name
from support.factories.certificates import Authority
from support.hub_http import HubSession, SourceAddress
from support.local_site import LocalSite
from support.long_runs import Times
from support.names import resolve
from support.poller import Notebook
from support.ports import free_port

NAME = run_name("behind")
FRONT = f"{NAME}-front"
DOMAIN = "hub.example.com"
PASSWORD = "seven-green-bottles-on-a-wall"
FAILED_LOGINS = 5  # the default of jupyterhub_native_failed_logins
PAGE = ROOT / "docs/how-to/behind-a-proxy.md"
#: The web servers: where the configuration goes, and the command that starts them.
NGINX = ("nginx", "/etc/nginx/conf.d/hub.conf", "nginx")
APACHE = (
    "apache",
    "/etc/apache2/sites-enabled/hub.conf",
    "a2enmod --quiet proxy_http headers ssl && apachectl start",
)
STOP = "nginx -s quit 2>/dev/null; apachectl stop 2>/dev/null; true"


class Place:
    """The hub, and the machine with the web servers.

    Attributes:
        gateway: this machine's address as the web servers see it.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.authority = host, Authority()
        self.bundle = folder / "root.pem"
        self.bundle.write_text(self.authority.root, encoding="utf-8")
        network = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        self.gateway = docker("inspect", "--format", network, host.container)
        self.port = free_port(self.gateway)
        self.site = LocalSite(
            NAME, jupyterhub_front_name=FRONT, jupyterhub_https="behind", jupyterhub_domain=DOMAIN,
            jupyterhub_bind_address=self.gateway, jupyterhub_http_port=self.port,
            jupyterhub_trusted_proxies=[host.address],
        )  # fmt: skip
        issued = self.authority.issue(DOMAIN)
        host.run("rm -f /etc/nginx/sites-enabled/* /etc/apache2/sites-enabled/* && : > /etc/apache2/ports.conf")
        host.write("/etc/ssl/hub.example.com.pem", issued.chain)
        host.write("/etc/ssl/private/hub.example.com.key", issued.key)

    def start(self, kind: str, path: str, command: str) -> None:
        """Start a web server with the configuration of the documentation."""
        (text,) = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        text = "\n".join(line.removeprefix("   ") for line in text.splitlines())
        assert "http://127.0.0.1:8080" in text
        text = text.replace("127.0.0.1:8080", f"{self.gateway}:{self.port}")
        self.host.run(STOP)
        self.host.write(path, ("Listen 443\n" if kind == "apache" else "") + text + "\n")
        self.host.run(command)

    def session(self) -> HubSession:
        """Return a session with the hub, through the web server."""
        session = HubSession(f"https://{DOMAIN}")
        session.verify = str(self.bundle)
        return session

    def destroy(self) -> None:
        """Remove the hub and its front."""
        self.site.destroy()
        shutil.rmtree(Path("/etc", FRONT), ignore_errors=True)


@pytest.fixture(scope="module")
def made(
    built_images: Callable[[str], dict[str, Any]], make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    built_images("5.5.4")
    place = Place(make_host("web"), tmp_path_factory.mktemp("behind"))
    place.destroy()
    try:
        place.site.run()
        yield place
    finally:
        place.destroy()


@pytest.fixture(params=[NGINX, APACHE], ids=["nginx", "apache"])
def place(made: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The hub behind one of the web servers."""
    made.start(*request.param)
    resolve(monkeypatch, DOMAIN, made.host.address, made.bundle)
    return made


def terminal_answers(session: HubSession, notebook: Notebook) -> bool:
    """Return whether a terminal runs a command."""
    base = f"{session.url}{notebook.base}"
    headers = {"X-XSRFToken": notebook.xsrf()}
    name = session.post(f"{base}api/terminals", timeout=60, headers=headers).json()["name"]
    url = f"{base.replace('https', 'wss', 1)}terminals/websocket/{name}"
    opened = websocket.create_connection(url, timeout=60, header=[f"Cookie: {notebook.cookies()}"], origin=session.url)
    opened.send(json.dumps(["stdin", "echo $((6 * 7))-answer\n"]))
    deadline = time.monotonic() + 60
    seen = ""
    while "42-answer" not in seen and time.monotonic() < deadline:
        kind, *text = json.loads(opened.recv())
        seen += "".join(map(str, text)) if kind == "stdout" else ""
    opened.close()
    return "42-answer" in seen


def test_people_work(place: Place, times: Times) -> None:
    session = place.session()
    session.sign_up("alice", PASSWORD)
    assert session.sign_in("alice", PASSWORD)
    assert all(cookie.secure for cookie in session.cookies if cookie.name == "jupyterhub-hub-login")
    notebook = Notebook(session, "alice")

    assert terminal_answers(session, notebook)
    size = times(8, 64) << 20
    upload = {"type": "file", "format": "text", "content": "x" * size}
    assert session.contents("PUT", "alice", "large.txt", json=upload)["size"] == size
    # More than the time-outs of the web servers, which are a minute by default.
    time.sleep(times(0, 100))
    assert notebook.problem_with_variable() == ""
    notebook.socket.close()


@pytest.fixture
def another_address() -> Iterator[str]:
    """Give this machine another address. That of a network of Docker would become that of the machine on the way."""
    address = f"198.51.100.{os.getpid() % 254 + 1}"  # for documentation (RFC 5737), so nobody has it
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    yield address
    subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=True)


def test_the_lock_out_is_for_one_address(place: Place, another_address: str) -> None:
    name = f"bob{secrets.token_hex(3)}"
    place.session().sign_up(name, PASSWORD)
    with socket.create_connection((place.host.address, 443), 10) as connection:
        own = connection.getsockname()[0]
    assert own != place.host.address
    for _ in range(FAILED_LOGINS):
        assert not place.session().sign_in(name, "a-wrong-password-on-purpose")
    lines = [line for line in place.site.logs().splitlines() if "Failed sign-in" in line]
    assert lines[-1].endswith(f"from address {own}"), lines[-1]
    assert not place.session().sign_in(name, PASSWORD)

    elsewhere = place.session()
    elsewhere.mount("https://", SourceAddress(another_address))
    assert elsewhere.sign_in(name, PASSWORD)


def test_a_client_cannot_go_round_the_web_server_with_another_address(made: Place) -> None:
    session = HubSession(f"http://{made.gateway}:{made.port}")
    session.headers.update({"Host": DOMAIN, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    session.get(f"{session.url}/hub/login", timeout=30)
    answer = session.post(f"{session.url}/hub/login", timeout=30, data={"username": "alice", "password": "wrong"})
    assert answer.status_code in (403, 429)
    assert "203.0.113.9" not in made.site.logs()
