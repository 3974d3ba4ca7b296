"""The front on real Docker, with the operator's certificates: what it serves, and changes that interrupt nobody."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.front import nginx, release, target
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

import jupyterhub_front
from hosts.run import name as run_name
from support.factories.certificates import Authority
from support.front_client import FrontClient, Poll, Upload, echo
from support.module_site import killed_run
from support.modules import ModuleError, run
from support.origin_server import LARGE, LARGE_BYTES, OriginServer
from support.ports import free_port

NAME = run_name("front")
DOMAIN, OTHER = "hub.example.com", "lab.example.com"


class HostFront:
    """A front of the test's own on this machine: container, directory, ports, and two servers behind it."""

    def __init__(self, image: str) -> None:
        self.image, self.directory = image, Path("/etc", NAME)
        self.http_port, self.https_port = free_port(), free_port()
        self.authority = Authority()
        self.client = FrontClient(self.http_port, self.https_port, self.authority.root)
        self.docker = docker.APIClient(version="auto")
        self.ports = {DOMAIN: free_port(), OTHER: free_port()}
        self.servers = {domain: OriginServer(port, domain) for domain, port in self.ports.items()}
        self.issued = self.authority.issue(DOMAIN, days=90)

    def run(self, hub: str = DOMAIN, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module for the hub that has a domain."""
        if options.get("state") != "absent" and not check:
            target.write(str(self.directory), hub.partition(".")[0], f"127.0.0.1:{self.ports[hub]}")
        return run(jupyterhub_front, check=check, **self.arguments(hub, **options))

    def arguments(self, hub: str = DOMAIN, **options: Any) -> dict[str, Any]:
        """Return the module's arguments."""
        issued = self.issued if hub == DOMAIN else self.authority.issue(hub)
        settings = {
            "name": NAME, "directory": str(self.directory), "image": self.image, "hub": hub.partition(".")[0],
            "https": "own", "domain": hub, "bind_address": "127.0.0.1",
            "http_port": self.http_port, "https_port": self.https_port, "certificate": issued.chain,
            "key": issued.key, "health_timeout": 60,
        }  # fmt: skip
        return {**settings, **options}

    def containers(self) -> list[str]:
        """Return the names of the front's containers."""
        return [one["Names"][0].lstrip("/") for one in self.docker.containers(all=True, filters={"name": NAME})]

    def running(self) -> list[str]:
        """Return those that run, when the old ones without connections have ended."""
        wait_until(lambda: len(self.docker.containers(filters={"name": NAME})) <= 2, 60)
        return [one["Names"][0].lstrip("/") for one in self.docker.containers(filters={"name": NAME})]

    def destroy(self) -> None:
        """Remove the containers and the directory."""
        for name in self.containers():
            self.docker.remove_container(name, force=True)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def made(front_image: str) -> Iterator[HostFront]:
    front = HostFront(front_image)
    front.destroy()
    yield front
    front.destroy()
    for server in front.servers.values():
        server.stop()


@pytest.fixture
def front(made: HostFront) -> HostFront:
    """The front as it serves one hub."""
    made.run()
    return made


def test_a_hub_that_was_never_served_leaves_nothing(local_docker: None, tmp_path: Path) -> None:
    directory = tmp_path / "front"
    done = run(jupyterhub_front, hub="lab", name=f"{NAME}-none", directory=str(directory), state="absent")
    assert (done["changed"], directory.exists()) == (False, False)


def test_check_mode_changes_nothing(made: HostFront) -> None:
    made.destroy()
    result = made.run(check=True)
    assert (result["changed"], result["action"]) == (True, "create")
    assert made.containers() == []
    assert not made.directory.exists()


def test_a_first_and_a_second_run(made: HostFront) -> None:
    made.destroy()
    first = made.run()
    assert (first["changed"], first["action"]) == (True, "create")
    assert first["certificate"] == {"names": [DOMAIN], "issuer": "Example University", "days": 89}

    for check in (True, False):
        second = made.run(check=check)
        assert (second["changed"], second["messages"]) == (False, [])


def test_what_a_hub_gets(front: HostFront) -> None:
    claims = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Host": "evil.example", "X-Scheme": "http"}
    response = front.client.https(DOMAIN, "/user/alice/lab?x=1", headers=claims).json
    assert response["path"] == "/user/alice/lab?x=1"
    headers = response["headers"]
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"  # not what the client says
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"] == DOMAIN
    assert not {"x-forwarded-host", "x-scheme", "forwarded"} & set(headers)


class TestNotRead:
    """What nginx has not read is read by the next run: as after a kill between a change and the reload."""

    def read(self, front: HostFront, changed: dict[Path, str]) -> None:
        """Let nginx read other files than those that are there afterwards."""
        before = front.client.served(DOMAIN), front.client.http(DOMAIN, nginx.VERSION_PATH).body
        present = {path: path.read_text() for path in changed}
        for path, text in changed.items():
            path.write_text(text)
        container = FrontContainer(front.docker, NAME, 60)
        assert container.run(release.RELOAD)[0] == 0

        def is_read() -> bool:
            return (front.client.served(DOMAIN), front.client.http(DOMAIN, nginx.VERSION_PATH).body) != before

        assert wait_until(is_read, 30)
        for path, text in present.items():
            path.write_text(text)

    def read_again(self, front: HostFront, message: str) -> None:
        """Run the module; see what it did."""
        for check in (True, False):
            result = front.run(check=check)
            assert (result["changed"], result["messages"]) == (True, [message])
        assert front.run()["changed"] is False

    def test_the_configuration(self, front: HostFront) -> None:
        config = front.directory / "nginx.conf"
        text = config.read_text()
        self.read(front, {config: text.replace(nginx.version_of(text), "another")})
        self.read_again(front, "nginx did not use its configuration")

    def test_the_configuration_of_a_change(self, front: HostFront) -> None:
        """Killed before the site is recorded, too."""
        config, site = front.directory / "nginx.conf", front.directory / "sites/hub.json"
        before = {path: path.read_text() for path in (config, site)}
        front.run(hsts_seconds=3600)
        self.read(front, {config: before[config]})
        site.write_text(before[site])
        assert front.run(hsts_seconds=3600)["messages"] == ["hsts_seconds changed: 0 → 3600"]
        assert "strict-transport-security" in front.client.https(DOMAIN).headers

    def test_the_certificate(self, front: HostFront) -> None:
        old, served = front.authority.issue(DOMAIN, days=5), front.client.served(DOMAIN)
        (folder,) = front.directory.glob("own/hub/*")
        self.read(front, {folder / "fullchain.pem": old.chain, folder / "privkey.pem": old.key})
        self.read_again(front, "nginx did not use the certificate")
        assert front.client.served(DOMAIN) == served


def test_http_is_redirected(front: HostFront) -> None:
    response = front.client.http(DOMAIN, "/hub/login?next=%2F")
    assert response.status == 301
    assert response.headers["location"] == f"https://{DOMAIN}:{front.https_port}/hub/login?next=%2F"


def test_other_names_do_not_learn_those_of_the_hubs(front: HostFront) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        front.client.https("other.example.com")
    response = front.client.http("192.0.2.10")
    assert response.status == 404
    assert "No JupyterHub has this name." in response.body
    assert DOMAIN not in response.body


@pytest.mark.parametrize(
    ("version", "accepted"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_versions_of_tls(version: ssl.TLSVersion, accepted: bool, front: HostFront) -> None:
    context = ssl.create_default_context(cadata=front.authority.root)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    plain = socket.create_connection(("127.0.0.1", front.https_port), 10)
    try:
        context.wrap_socket(plain, server_hostname=DOMAIN).close()
        seen = True
    except ssl.SSLError:
        seen = False
    finally:
        plain.close()
    assert seen == accepted


def test_http2_is_offered(front: HostFront) -> None:
    context = ssl.create_default_context(cadata=front.authority.root)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", front.https_port), 10) as plain,
        context.wrap_socket(plain, server_hostname=DOMAIN) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


def test_nginx_has_nothing_to_complain_about(front: HostFront) -> None:
    container = FrontContainer(front.docker, NAME, 60)
    assert container.run(["nginx", "-t", "-q", "-c", "/etc/front/nginx.conf"]) == (0, "")
    front.docker.restart(NAME)
    assert wait_until(container.listens, 60)
    (started,) = str(front.docker.inspect_container(NAME)["State"]["StartedAt"]).split()
    log = front.docker.logs(NAME, since=datetime.fromisoformat(started[:19])).decode()
    assert not [line for line in log.splitlines() if "[alert]" in line or "[warn]" in line]


def test_hsts_is_a_setting(front: HostFront) -> None:
    assert "strict-transport-security" not in front.client.https(DOMAIN).headers
    front.run(hsts_seconds=3600)
    assert front.client.https(DOMAIN).headers["strict-transport-security"] == "max-age=3600"


def test_large_bodies_are_for_servers_only(front: HostFront) -> None:
    body = b"x" * (3 << 20)
    assert front.client.https(DOMAIN, "/user/alice/api/contents", method="POST", body=body).json["bytes"] == len(body)
    announced = {"Content-Length": str(90 << 20)}
    refused = front.client.https(DOMAIN, "/hub/login", method="POST", headers=announced)
    assert refused.status == 413  # at once: nothing of the body was sent
    assert "This request has more than 2 MiB" in refused.body


@pytest.mark.parametrize(
    ("site", "status"), [("same-site", 403), ("cross-site", 403), ("same-origin", 200), ("none", 200), ("", 200)]
)
def test_a_form_of_another_site_signs_nobody_in(front: HostFront, site: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site} if site else {}
    for method, expected in (("POST", status), ("GET", 200)):
        answer = front.client.https(DOMAIN, "/hub/login", method=method, headers=headers)
        assert answer.status == expected


@pytest.mark.parametrize(
    ("path", "begin", "reaches"),
    [
        ("/hub/login", "Content-Length: 100\r\n\r\nx", False),
        ("/nothing", "Content-Length: 100\r\n\r\nx", False),
        ("/hub/login", f"Transfer-Encoding: chunked\r\n\r\n{3 << 20:x}\r\n{'x' * (3 << 20)}", False),
        ("/user/alice/api/contents", "Content-Length: 100\r\n\r\nx", True),
    ],
    ids=["slow", "slow to no page", "long", "to a server"],
)
def test_a_body_reaches_the_hub_when_it_is_complete(front: HostFront, path: str, begin: str, reaches: bool) -> None:
    posted = front.servers[DOMAIN].posted
    posted.clear()
    with front.client.connect(DOMAIN) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {DOMAIN}\r\n{begin}".encode())
        assert wait_until(lambda: bool(posted), 2) == reaches


class TestSignInRate:
    """Requests for the pages for signing in, each test from an address of its own."""

    PAGE = "POST /hub/login HTTP/1.1\r\nContent-Length: 1\r\n"

    def send(self, front: HostFront, source: str, number: int, head: str = PAGE) -> list[ssl.SSLSocket]:
        """Send requests at the same moment; return their connections."""
        connections = [front.client.connect(DOMAIN, source) for _ in range(number)]
        for connection in connections:
            connection.sendall(f"{head}Host: {DOMAIN}\r\nConnection: close\r\n\r\nx".encode())
        return connections

    def answer(self, connection: ssl.SSLSocket, seconds: float) -> str:
        """Close a connection; return its answer, or nothing if none came."""
        connection.settimeout(seconds)
        try:
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except TimeoutError:
            return ""
        finally:
            connection.close()

    @pytest.mark.parametrize(
        "path",
        [
            "/hub/login?next=/",
            "/hub/signup",
            "/hub/ldap/login",
            "/hub/api/users/a/tokens",
            "/hub/api/users/a%2F..%2F..%2Fb/tokens",
            "/hub/api/users/a%2F..%2F..%2F..%2F..%2Fuser%2Fx/tokens",
        ],
    )
    def test_the_pages(self, front: HostFront, path: str) -> None:
        began = time.monotonic()
        connections = self.send(front, f"127.0.1.{len(path)}", 40, f"POST {path} HTTP/1.1\r\nContent-Length: 1\r\n")
        assert all(self.answer(connection, 60).startswith("HTTP/1.1 200 ") for connection in connections)
        assert time.monotonic() - began > 1  # ten a second

    def test_a_class_behind_one_address_signs_in(self, front: HostFront) -> None:
        began = time.monotonic()
        answers = [self.answer(connection, 60) for connection in self.send(front, "127.0.0.21", 100)]
        assert {answer.partition("\r\n")[0] for answer in answers} == {"HTTP/1.1 200 OK"}
        assert time.monotonic() - began > 5  # ten a second

    def test_a_flood_is_refused_and_nobody_else(self, front: HostFront) -> None:
        flood, others = "127.0.0.22", "127.0.0.23"
        answers = [self.answer(connection, 0.01) for connection in self.send(front, flood, 400)]
        refused = [answer for answer in answers if answer.startswith("HTTP/1.1 429 ")]
        assert 0 < len(refused) < 150  # on a slow machine, more of them come one by one
        assert "\r\nRetry-After: 30\r\n" in refused[0]
        assert (
            "Too many requests for these pages came from your network address in a short time. Try again in 30"
            in (refused[0])
        )
        for source, head in (
            (others, self.PAGE),
            (flood, "GET /hub/health HTTP/1.1\r\n"),
            (flood, "GET /user/alice/lab HTTP/1.1\r\n"),
        ):
            (connection,) = self.send(front, source, 1, head)
            assert self.answer(connection, 5).startswith("HTTP/1.1 200 ")


def test_a_front_with_limits_of_an_earlier_version(front: HostFront) -> None:
    """nginx refuses to read a configuration again that has another key for a zone."""
    config = front.directory / "nginx.conf"
    text = config.read_text().replace("$client zone=", "$binary_remote_addr zone=").replace("_of_client", "")
    config.write_text(text)
    container = FrontContainer(front.docker, NAME, 60)
    front.docker.restart(NAME)
    assert wait_until(container.listens, 60)
    assert front.run()["changed"] is True
    assert "_of_client" in config.read_text()
    assert front.client.https(DOMAIN).status == 200
    assert front.run()["changed"] is False


@pytest.mark.long
def test_a_download_may_pause(front: HostFront) -> None:
    with front.client.connect(DOMAIN) as connection:
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n".encode())
        time.sleep(75)  # nginx's own default is a minute
        received = sum(len(part) for part in iter(lambda: connection.recv(1 << 20), b""))
    assert received > LARGE_BYTES


def test_a_second_hub_and_its_end(front: HostFront) -> None:
    try:
        result = front.run(OTHER)
        assert result["messages"] == [f"the front serves https://{OTHER}:{front.https_port}/ for hub lab"]
        assert front.client.https(OTHER).json["name"] == OTHER
        assert front.client.https(DOMAIN).json["name"] == DOMAIN
    finally:
        removed = front.run(OTHER, state="absent")
    assert removed["messages"] == [f"the front does not serve https://{OTHER}:{front.https_port}/ any more"]
    assert front.client.http(OTHER).status == 404
    assert front.client.https(DOMAIN).json["name"] == DOMAIN
    assert front.run(OTHER, state="absent")["changed"] is False


def test_old_names_are_kept_until_the_hub_has_the_new_ones(front: HostFront) -> None:
    new = front.authority.issue("new.example.com")
    change: dict[str, Any] = {"domain": "new.example.com", "certificate": new.chain, "key": new.key}
    result = front.run(**change, keep_old_names=True)
    assert (result["changed"], result["keeps_old_names"]) == (True, True)
    assert front.client.https(DOMAIN).status == front.client.https("new.example.com").status == 200

    result = front.run(**change)
    assert (result["changed"], result["keeps_old_names"]) == (True, False)
    assert front.client.https("new.example.com").status == 200
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        front.client.https(DOMAIN)
    assert front.run(**change, keep_old_names=True)["changed"] is False


def test_a_domain_belongs_to_one_hub(front: HostFront) -> None:
    with pytest.raises(ModuleError, match=f"hub hub on this host has the domain {DOMAIN} already; choose another"):
        front.run(OTHER, domain=DOMAIN)


def test_names_below_a_domain_with_subdomains_belong_to_its_users(front: HostFront) -> None:
    wildcard = front.authority.issue(DOMAIN, f"*.{DOMAIN}")
    front.run(subdomains=True, certificate=wildcard.chain, key=wildcard.key)
    assert front.client.https(f"alice.{DOMAIN}").json["headers"]["host"] == f"alice.{DOMAIN}"

    with pytest.raises(ModuleError, match=f"domains {DOMAIN} of hub hub and lab.{DOMAIN} of hub lab overlap"):
        front.run(OTHER, domain=f"lab.{DOMAIN}")


def test_a_hub_that_is_away(front: HostFront) -> None:
    front.servers[DOMAIN].stop()
    try:
        response = front.client.https(DOMAIN)
    finally:
        front.servers[DOMAIN] = OriginServer(front.ports[DOMAIN], DOMAIN)
    assert response.status == 503
    assert "This page tries again" in response.body
    assert front.client.https(DOMAIN).status == 200


def test_a_configuration_that_nginx_refuses_is_not_used(front: HostFront) -> None:
    before = (front.directory / "nginx.conf").read_text()
    with pytest.raises(ModuleError, match=r"nginx refuses the new configuration, so the old one stays in use: .*and"):
        front.run(domain="has spaces; and more")
    assert (front.directory / "nginx.conf").read_text() == before
    assert not (front.directory / "nginx.conf.next").exists()
    assert front.client.https(DOMAIN).status == 200
    assert front.run()["changed"] is False


def test_secrets_are_for_root_only(front: HostFront) -> None:
    keys = list(front.directory.glob("own/*/*/privkey.pem"))
    assert len(keys) == 1
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    front.servers[DOMAIN].stop()
    try:
        front.client.https(DOMAIN, "/user/alice/lab?token=0123456789")
    finally:
        front.servers[DOMAIN] = OriginServer(front.ports[DOMAIN], DOMAIN)
    shown = str(front.docker.inspect_container(NAME)) + str(front.docker.logs(NAME))
    assert "PRIVATE KEY" not in shown
    assert "0123456789" not in shown


def test_a_container_of_somebody_else_is_not_touched(made: HostFront) -> None:
    made.destroy()
    made.docker.create_container(made.image, name=NAME)
    with pytest.raises(ModuleError, match=f"container {NAME} was not created by this project"):
        made.run()
    made.destroy()


def test_the_front_goes_with_its_last_hub(front: HostFront) -> None:
    assert front.run(state="absent", check=True)["action"] == "remove"
    assert front.run(state="absent")["messages"] == [
        f"removed container {NAME}, which no hub needs any more",
        f"the front does not serve https://{DOMAIN}:{front.https_port}/ any more",
    ]
    assert front.containers() == []


class TestBehind:
    """Another proxy ends TLS."""

    @pytest.fixture
    def trusted(self, front: HostFront) -> HostFront:
        front.run(https="behind", trusted_proxies=["127.0.0.2", "127.0.1.0/24"], bind_address="0.0.0.0")
        return front

    def ask(self, front: HostFront, source: str) -> dict[str, str]:
        headers = {"X-Forwarded-For": "203.0.113.5, 192.0.2.7", "X-Forwarded-Proto": "https", "Host": DOMAIN}
        with socket.create_connection(("127.0.0.1", front.http_port), 10, source_address=(source, 0)) as connection:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            connection.sendall(f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return dict(json.loads(text.partition("\r\n\r\n")[2])["headers"])

    @pytest.mark.parametrize("source", ["127.0.0.2", "127.0.1.9"])
    def test_a_trusted_proxy_names_address_and_protocol(self, source: str, trusted: HostFront) -> None:
        headers = self.ask(trusted, source)
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("192.0.2.7", "https")

    def test_the_addresses_of_a_network_share_one_rate(self, trusted: HostFront) -> None:
        def sign_in(address: str) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", trusted.http_port), 10, ("127.0.0.2", 0))
            head = f"Host: {DOMAIN}\r\nX-Forwarded-For: {address}\r\nConnection: close"
            connection.sendall(f"GET /hub/login HTTP/1.1\r\n{head}\r\n\r\n".encode())
            return connection

        def status(connection: socket.socket, seconds: float) -> str:
            connection.settimeout(seconds)
            with connection, contextlib.suppress(TimeoutError):
                return connection.recv(12).decode()
            return ""

        flood = [sign_in(f"2001:db8:0:1::{number:x}") for number in range(350)]
        assert [status(one, 0.01) for one in flood].count("HTTP/1.1 429") > 20
        assert status(sign_in("2001:db8:0:2::1"), 5) == "HTTP/1.1 200"

    def test_anybody_else_does_not(self, trusted: HostFront) -> None:
        headers = self.ask(trusted, "127.0.0.3")
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.3", "http")


class TestNoInterruption:
    """Fresh connections, an open socket and an upload, while something changes."""

    def test_the_certificate_is_replaced(self, front: HostFront, times: Any) -> None:
        with (
            Poll(front.client, DOMAIN, rate=20) as poll,
            echo(front.client, DOMAIN) as socket_,
            Upload(front.client, DOMAIN, times(20, 200)) as upload,
        ):
            for _ in range(times(4, 20)):
                front.issued = front.authority.issue(DOMAIN)
                before = front.client.served(DOMAIN)
                assert front.run()["messages"] == ["the certificate changed"]
                assert front.client.served(DOMAIN) != before
                assert socket_.is_open()
        assert upload.arrived, upload.problem
        assert poll.lost == []
        assert poll.sent > 20
        assert len(list(front.directory.glob("own/hub/*"))) == 1

    def test_the_front_is_replaced(self, front: HostFront, times: Any) -> None:
        rounds = times(3, 10)
        with (
            Poll(front.client, DOMAIN, rate=50) as poll,
            echo(front.client, DOMAIN) as socket_,
            Upload(front.client, DOMAIN, times(20, 200)) as upload,
        ):
            for number in range(rounds):
                result = front.run(environment={"ROUND": str(number)})
                assert result["action"] == "replace"
                assert socket_.is_open()
            assert len(front.running()) == 2  # the first one still has the socket and the upload
            assert wait_until(lambda: poll.sent >= 1000, 180)
        assert upload.arrived, upload.problem
        # A connection that the kernel gave to the old one at the moment of its end is lost.
        assert len(poll.lost) <= poll.sent // 1000, poll.lost
        for name in front.running():
            if name != NAME:
                front.docker.wait(name, timeout=60)
        front.run()
        assert front.containers() == [NAME]

    def test_the_next_run_recovers_from_one_that_was_killed_at_any_step(
        self, front: HostFront, tmp_path: Path, times: Any
    ) -> None:
        """SIGKILL after each change that a replacement makes to Docker, or after those that matter most."""
        important = ["start:1", "rename:1", "rename:2"][: times(2, 3)]  # two run; the old one has lost its name; both
        every = map(str, range(1, times(0, 100)))
        with Poll(front.client, DOMAIN, rate=50) as poll, echo(front.client, DOMAIN) as socket_:
            for number, step in enumerate([*important, *every]):
                options: dict[str, Any] = {"environment": {"KILLED": str(number)}}
                if not killed_run("jupyterhub_front", step, front.arguments(**options), tmp_path):
                    assert step not in important
                    break
                front.run(**options)
                assert front.run(**options)["changed"] is False, f"after a kill at step {step}"
                assert NAME in front.running(), f"after a kill at step {step}"
                assert socket_.is_open(), f"after a kill at step {step}"
        assert number >= times(0, 4), f"a replacement takes more steps than {step}"
        assert len(poll.lost) <= max(1, poll.sent // 1000), poll.lost
