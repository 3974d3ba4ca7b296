"""Certificates from an ACME server, with the front's own image: by HTTP and DNS, renewed, and refused."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.module_utils.jupyterhub_deploy.front import acme, state
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings
from ansible.module_utils.jupyterhub_deploy.front.acme_failure import explain

from hosts.fixtures import MakeHost
from hosts.images import docker
from hosts.run import name as run_name
from support.acme import EAB_HMAC_KEY, EAB_KEY_ID, REFUSED, ZONE, AcmeHost, Pebble
from support.acme_front import HUB, Front

NAME = f"hub.{ZONE}"
#: Requests a second while a certificate is renewed.
RATE = 20
#: Seconds that a certificate is valid which has to be renewed: after half of them, since certbot begins early.
SHORT = 40

#: A hook of an operator's: it changes the DNS by what is in the image.
HOOK = """\
#!/opt/certbot/bin/python
import os, sys
import dns.query, dns.tsigkeyring, dns.update
keys = dns.tsigkeyring.from_text({{"{key}": "{secret}"}})
update = dns.update.Update("{zone}", keyring=keys, keyalgorithm="hmac-sha256")
name = "_acme-challenge." + os.environ["CERTBOT_DOMAIN"] + "."
if sys.argv[1] == "add":
    update.add(name, 1, "TXT", os.environ["CERTBOT_VALIDATION"])
else:
    update.delete(name, "TXT")
assert dns.query.tcp(update, "{server}", timeout=10).rcode() == 0
"""


@pytest.fixture(scope="module")
def acme_host(make_host: MakeHost) -> AcmeHost:
    """Return the machine with ACME servers, DNS, and a server behind the front."""
    return AcmeHost(make_host("acme"))


@pytest.fixture(scope="module")
def upstream(acme_host: AcmeHost) -> str:
    """Return address and port of a server behind the front."""
    return acme_host.start_echo()


@pytest.fixture(scope="module")
def pebble(acme_host: AcmeHost) -> Pebble:
    """Return an ACME server without special demands."""
    return acme_host.start()


@pytest.fixture
def make_front(acme_host: AcmeHost, front_image: str, tmp_path: Path) -> Iterator[Callable[..., Front]]:
    """Return a function that starts the one front, under the name :data:`NAME`."""
    front = run_name("acme-front")

    def make(**options: Any) -> Front:
        made = Front(front_image, front, tmp_path, **options)
        acme_host.set_address(NAME, made.address)
        return made

    yield make
    subprocess.run(["docker", "rm", "--force", "--volumes", front], check=False, capture_output=True)


@pytest.fixture
def settings(acme_host: AcmeHost, pebble: Pebble) -> AcmeSettings:
    """Return settings for a certificate by HTTP."""
    return AcmeSettings("alice@example.com", pebble.url, acme_host.authority)


def by_dns(settings: AcmeSettings, acme_host: AcmeHost) -> AcmeSettings:
    """Return settings for a certificate by DNS updates (RFC 2136)."""
    key, algorithm, secret = acme_host.tsig
    credentials = {"server": acme_host.host.address, "name": key, "algorithm": algorithm, "secret": secret,
                   "propagation_seconds": "1"}  # fmt: skip
    return dataclasses.replace(settings, challenge="dns", dns_plugin="rfc2136", dns_credentials=credentials)


class Connection:
    """A TLS connection to a front by a client that knows only one authority.

    Raises:
        OSError: the connection or the certificate failed.
    """

    def __init__(self, front: str, root: str, name: str = NAME) -> None:
        context = ssl.create_default_context(cadata=root)
        raw = socket.create_connection((front, 443), timeout=30)
        self.socket = context.wrap_socket(raw, server_hostname=name)
        self.certificate: Any = self.socket.getpeercert()
        self.file = self.socket.makefile("rwb")

    def get(self) -> str:
        """Send a request and return the status of the answer."""
        self.file.write(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        self.file.flush()
        return self.file.readline().decode().strip()

    def upgrade(self) -> None:
        """Make the connection one that stays open, as a kernel's web socket."""
        self.file.write(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n".encode())
        self.file.flush()
        assert b" 101 " in self.file.readline()
        while self.file.readline().strip():
            pass

    def echo(self, text: str) -> str:
        """Send a line over the open connection and return what comes back."""
        self.file.write(f"{text}\n".encode())
        self.file.flush()
        return self.file.readline().decode().strip()

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self.file.close()
            self.socket.close()


def serve(front: Front, upstream: str, settings: AcmeSettings) -> None:
    """Get the first certificate by HTTP, and serve with it."""
    code, output = front.request([NAME], settings)
    assert code == 0, output
    front.serve(upstream)


def serial(address: str, root: str) -> str:
    """Return the serial number of the certificate that a front serves."""
    connection = Connection(address, root)
    connection.close()
    return str(connection.certificate["serialNumber"])


def wait_for(what: Callable[[], bool], seconds: float = 90) -> bool:
    """Return whether something became true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.2)
    return False


def processes(container: str) -> list[tuple[str, str]]:
    """Return user and command of the processes in a container."""
    lines = docker("top", container, "-eo", "pid,user,args").splitlines()[1:]
    return [(user, command) for _, user, command in (line.split(maxsplit=2) for line in lines)]


def test_a_certificate_by_http(make_front, upstream, pebble, settings):
    front = make_front(renew_seconds=3)
    serve(front, upstream, settings)
    connection = Connection(front.address, pebble.root)
    assert connection.get() == "HTTP/1.1 200 OK"
    assert [value for _, value in connection.certificate["subjectAltName"]] == [NAME]
    connection.close()
    # A second request changes nothing.
    before = front.certificate
    assert front.request([NAME], settings)[0] == 0
    assert front.certificate == before
    assert front.last_renewal()["exit_code"] == 0
    # What is in the directory is root's, except what an ACME server fetches; requests are not answered by root.
    assert (front.directory / "acme").stat().st_mode & 0o777 == 0o700
    assert (front.directory / "challenges").stat().st_mode & 0o777 == 0o755
    workers = [user for user, command in processes(front.name) if "worker process" in command]
    assert workers
    assert "root" not in workers


class Watch(NamedTuple):
    """What a client saw: requests that were sent, those that failed, and the certificates it was shown."""

    sent: int
    failures: list[str]
    serials: list[str]


def watch(address: str, root: str, done: threading.Event, found: list[Watch]) -> None:
    """Open a connection :data:`RATE` times a second until the end."""
    sent, failures, serials = 0, [], []
    start = time.monotonic()
    while not done.is_set():
        try:
            connection = Connection(address, root)
            status = connection.get()
            connection.close()
            if status != "HTTP/1.1 200 OK":
                failures.append(status)
            if connection.certificate["serialNumber"] not in serials:
                serials.append(connection.certificate["serialNumber"])
        except OSError as error:
            failures.append(repr(error))
        sent += 1
        done.wait(max(0.0, start + sent / RATE - time.monotonic()))
    found.append(Watch(sent, failures, serials))


def test_renewals_interrupt_nothing_and_a_failing_one_is_reported(make_front, acme_host, upstream, settings):
    short = acme_host.start(seconds=SHORT)
    front = make_front(renew_seconds=2)
    settings = dataclasses.replace(settings, server=short.url)
    serve(front, upstream, settings)
    address, done, found = front.address, threading.Event(), list[Watch]()
    first = serial(address, short.root)
    open_one = Connection(address, short.root)
    open_one.upgrade()
    client = threading.Thread(target=watch, args=(address, short.root, done, found))
    client.start()
    beats = 0
    try:

        def renewed_twice() -> bool:
            nonlocal beats
            beats += 1
            assert open_one.echo(f"beat {beats}") == f"beat {beats}"
            return len(list((front.directory / f"acme/archive/{HUB}").glob("fullchain*.pem"))) > 2

        assert wait_for(renewed_twice, 4 * SHORT), front.logs()
        assert wait_for(lambda: serial(address, short.root) != first, 10)
    finally:
        done.set()
        client.join()
    assert open_one.echo("still here") == "still here"
    (seen,) = found
    assert seen.failures == []
    assert seen.sent >= RATE
    assert len(seen.serials) > 1
    assert front.last_renewal()["exit_code"] == 0

    acme_host.stop(short)
    assert wait_for(lambda: front.last_renewal()["exit_code"] != 0, 2 * SHORT), front.logs()
    result = front.last_renewal()
    assert result["hubs"][HUB]["exit_code"] == 1
    text = explain(HUB, [NAME], settings, result["error"])
    assert "cannot be reached from this host" in text
    before = front.certificate
    assert open_one.echo("and still") == "and still"
    assert front.certificate == before
    open_one.close()


def test_an_external_account(make_front, acme_host, settings):
    server = acme_host.start(eab=True)
    front = make_front()
    settings = dataclasses.replace(settings, server=server.url)
    code, output = front.request([NAME], settings)
    assert code != 0
    assert "requires an external account; set jupyterhub_acme_eab" in explain(HUB, [NAME], settings, output)
    wrong = dataclasses.replace(settings, eab_key_id=EAB_KEY_ID, eab_hmac_key="A" * 64)
    code, output = front.request([NAME], wrong)
    assert code != 0
    assert "does not accept the external account" in explain(HUB, [NAME], wrong, output)
    assert front.certificate == ""
    right = dataclasses.replace(settings, eab_key_id=EAB_KEY_ID, eab_hmac_key=EAB_HMAC_KEY)
    code, output = front.request([NAME], right)
    assert code == 0, output
    assert EAB_HMAC_KEY not in output + front.logs()


def test_a_wildcard_by_dns_updates(make_front, acme_host, upstream, pebble, settings):
    front = make_front()
    settings = by_dns(settings, acme_host)
    names = [NAME, f"*.{NAME}"]
    code, output = front.request(names, settings)
    assert code == 0, output
    assert acme_host.records(f"_acme-challenge.{NAME}") == []
    front.serve(upstream)
    connection = Connection(front.address, pebble.root, f"alice.{NAME}")
    connection.close()
    assert sorted(value for _, value in connection.certificate["subjectAltName"]) == sorted(names)

    wrong = {**settings.dns_credentials, "secret": "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I="}
    settings, before = dataclasses.replace(settings, dns_credentials=wrong), front.certificate
    code, output = front.request(names, settings, force=True)
    assert code != 0
    assert "the plugin rfc2136 cannot change the DNS" in explain(HUB, names, settings, output)
    assert front.certificate == before


def test_a_wildcard_by_a_script_of_the_operator(make_front, acme_host, settings):
    front = make_front()
    key, _, secret = acme_host.tsig
    hook = HOOK.format(key=key, secret=secret, zone=ZONE, server=acme_host.host.address)
    settings = dataclasses.replace(settings, challenge="dns", dns_hook=hook)
    code, output = front.request([f"*.{NAME}"], settings)
    assert code == 0, output
    assert acme_host.records(f"_acme-challenge.{NAME}") == []


def test_a_recovered_certificate_is_renewed_by_the_account_of_the_host(
    make_front, pebble, acme_host, settings, tmp_path
):
    """The new host has another account at the server, for example for another hub."""
    front = make_front()
    certbot, copy = front.directory / "acme", tmp_path / "copy"
    assert front.request([NAME], settings)[0] == 0
    before = front.certificate
    state.copy(str(front.directory), HUB, str(copy))
    shutil.rmtree(certbot)
    other = dataclasses.replace(settings, email="bob@example.com")
    assert front.request([NAME], other)[0] == 0
    for part in ("live", "archive", "renewal"):
        shutil.rmtree(certbot / part)
    (account,) = certbot.glob("accounts/*/*/*")

    assert f"the account that this host has at {pebble.url}" in state.restore(str(copy), str(front.directory), HUB)
    assert front.certificate == before
    assert list(certbot.glob("accounts/*/*/*")) == [account]
    asked = acme_host.asked(pebble, "sign-me-up")
    code, output = front.execute(
        ["env", f"REQUESTS_CA_BUNDLE={acme.directory(HUB)}/ca.pem", "certbot", "renew", "--force-renewal",
         "--config", f"{acme.directory(HUB)}/certbot.ini", "--cert-name", HUB]
    )  # fmt: skip
    assert code == 0, output
    assert front.certificate != before
    code, output = front.request([NAME], settings, force=True)
    assert code == 0, output
    assert acme_host.asked(pebble, "sign-me-up") == asked


def test_failures_give_one_error_and_keep_the_certificate(make_front, acme_host, upstream, pebble, settings):
    front = make_front()
    serve(front, upstream, settings)
    before = front.certificate
    acme_host.set_address(f"closed.{ZONE}", acme_host.host.address)
    for name, what in (
        (f"nobody.{ZONE}", f"finds no address of nobody.{ZONE} in the DNS; correct jupyterhub_domain"),
        (f"closed.{ZONE}", f"cannot connect to port 80 of closed.{ZONE}"),
        (REFUSED, "forbidden by policy"),
    ):
        code, output = front.request([name], settings)
        assert code != 0, name
        error = explain(HUB, [name], settings, output)
        assert error.startswith(f"no certificate for {name} (hub {HUB}): the ACME server")
        assert what in error
        assert "\n" not in error
        assert front.certificate == before
        connection = Connection(front.address, pebble.root)
        assert connection.get() == "HTTP/1.1 200 OK"
        connection.close()


def test_a_front_that_ends_keeps_its_connections_and_renews_nothing(make_front, upstream, pebble, settings):
    front = make_front()
    serve(front, upstream, settings)
    address = front.address
    open_one = Connection(address, pebble.root)
    open_one.upgrade()
    docker("kill", "--signal", "QUIT", front.name)

    def refuses() -> bool:
        try:
            Connection(address, pebble.root).close()
        except OSError:
            return True
        return False

    assert wait_for(refuses, 20)
    assert wait_for(lambda: not any("renew.py" in command for _, command in processes(front.name)), 20)
    assert open_one.echo("still here") == "still here"
    open_one.close()

    def container_state() -> str:
        return docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", front.name)

    assert wait_for(lambda: container_state() == "exited 0", 30), container_state()
