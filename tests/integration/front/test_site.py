"""A hub that gets HTTPS: through all roles, with users at work, and back to HTTP.

The names are resolved in this process only; the certificates are verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.front_client import FrontClient
from support.https_site import DOMAIN, HttpsSite
from support.hub_http import HubSession, SourceAddress
from support.names import resolve
from support.poller import Notebook, Poll
from support.upload import Upload

NAME = run_name("tls")
FRONT = f"{NAME}-front"
PASSWORD = "seven-green-bottles-on-a-wall"
#: Builds another image of a container of the site.
Images = Callable[[str], str]


@pytest.fixture(scope="module")
def http_site(
    built_images: Callable[[str], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpsSite]:
    """The hub without HTTPS, as all hubs begin."""
    built_images("5.5.4")
    site = HttpsSite(NAME, tmp_path_factory.mktemp("tls"))
    site.destroy()
    try:
        site.run()
        yield site
    finally:
        site.destroy()


@pytest.fixture(autouse=True)
def names(http_site: HttpsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the domain to this machine, and trust the test's authority."""
    resolve(monkeypatch, DOMAIN, "127.0.0.1", http_site.bundle)


@pytest.fixture
def site(http_site: HttpsSite) -> HttpsSite:
    """The hub with HTTPS and alice's account; the first test made both, unless it is left out."""
    if "jupyterhub_https" not in http_site.settings:
        HubSession(http_site.url).sign_up("alice", PASSWORD)
        http_site.settings.update(http_site.secure())
        http_site.run()
    return http_site


def test_a_hub_gets_https_while_a_user_works(http_site: HttpsSite) -> None:
    plain = HubSession(http_site.url)
    plain.sign_up("alice", PASSWORD)
    assert plain.sign_in("alice", PASSWORD)
    open_before = Notebook(plain, "alice")
    server = http_site.container("jupyter-alice")["Id"]

    http_site.settings.update(http_site.secure())
    output = http_site.run().output

    assert f"the front serves {http_site.secure_url}/ for hub {NAME}" in output
    assert f"JupyterHub answers at {http_site.secure_url}/" in output
    assert http_site.container("jupyter-alice")["Id"] == server  # the user's server was not touched
    assert open_before.problem_with_variable() == ""  # the web socket was not interrupted
    # The proxy has no port on this host: only the front reaches it.
    assert not http_site.container("proxy")["HostConfig"]["PortBindings"]

    session = http_site.session()
    assert session.sign_in("alice", PASSWORD)
    assert all(cookie.secure for cookie in session.cookies if cookie.name == "jupyterhub-hub-login")
    after = Notebook(session, "alice")
    assert after.problem_with_variable() == ""


def test_a_second_run_changes_nothing(site: HttpsSite) -> None:
    assert site.run().recap["changed"] == 0
    assert site.run(check=True).recap["changed"] == 0


class Replacements:
    """What an operator replaces while a user works: a row of docs/explanation/restarts.md each."""

    def __init__(self, site: HttpsSite, images: Images) -> None:
        self.site, self.images = site, images
        self.client = FrontClient(site.http_port, site.https_port, site.authority.root)

    def certificate(self) -> str:
        """Replace the certificate."""
        served = self.client.served(DOMAIN)
        self.site.secure()
        output = self.site.run().output
        assert self.client.served(DOMAIN) != served
        return output

    def hub(self) -> str:
        """Replace the hub by one with another configuration."""
        config = "c.JupyterHub.allow_named_servers = False"
        return self.site.run(jupyterhub_extra_config=config).output

    def proxy(self) -> str:
        """Replace the proxy by one with another image."""
        return self.site.run(jupyterhub_images_proxy=self.images("proxy")).output

    def front(self) -> str:
        """Replace the front by one with another image."""
        return self.site.run(jupyterhub_images_front_image=self.images("front")).output


@pytest.fixture
def images(site: HttpsSite, tmp_path: Path) -> Iterator[Images]:
    """Return a function that builds another image of a container; afterwards, the hub uses the first ones again."""
    built: list[str] = []

    def build(part: str) -> str:
        built.append(f"{NAME}/{part}:another")
        (tmp_path / "Dockerfile").write_text(f"FROM {site.container(part)['Config']['Image']}\nENV ANOTHER=1\n")
        site.client.images.build(path=str(tmp_path), tag=built[-1], rm=True)
        return built[-1]

    yield build
    site.run()
    for image in built:
        site.client.images.remove(image, force=True)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("certificate", "the certificate changed"),
        ("hub", "configuration changed"),
        pytest.param("proxy", "proxy image name changed", marks=pytest.mark.long),
        pytest.param("front", "front image name changed", marks=pytest.mark.long),
    ],
)
def test_a_replacement_interrupts_nobody(
    part: str, message: str, site: HttpsSite, images: Images, times: Callable[[int, int], int]
) -> None:
    session = site.session()
    assert session.sign_in("alice", PASSWORD)
    notebook = Notebook(session, "alice")
    replacements = Replacements(site, images)
    with Upload(notebook, times(20, 200)) as upload, Poll(notebook) as poll:
        for _ in range(times(1, 20) if part == "certificate" else 1):
            assert message in getattr(replacements, part)()
        # Of a thousand fresh connections, one may be lost while the front is replaced: the kernel has given it to the
        # old nginx in the moment of its end.
        assert wait_until(lambda: part != "front" or len(poll.answers) >= 1000, 180)
    report = poll.report
    print(f"\n{part}: {report}, upload {upload.sent}")  # for docs/explanation/restarts.md
    if part == "front":
        assert report.failed + report.kept_failed <= report.sent // 1000, report
        report = report._replace(failed=0, kept_failed=0)
    assert report.uninterrupted, report
    assert report.hub_down == 0, report
    assert upload.result == str(upload.sent)


def test_the_hub_sees_the_addresses_of_browsers(site: HttpsSite) -> None:
    # The front is reached from another address of this machine, by a client that also claims to be somebody else.
    session = site.session()
    session.mount("https://", SourceAddress("127.0.0.77"))
    session.headers["X-Forwarded-For"] = "203.0.113.9"
    assert not session.sign_in("alice", "a-wrong-password-on-purpose")
    lines = [line for line in site.logs().splitlines() if "Failed sign-in" in line]
    assert lines[-1].endswith("from address 127.0.0.77"), lines[-1]


@pytest.mark.long
def test_a_hub_goes_back_to_http(site: HttpsSite) -> None:
    for setting in site.secure():
        del site.settings[setting]
    output = site.run().output
    assert f"the front serves {site.url}/ for hub {NAME}" in output
    assert "Passwords are sent unencrypted" not in output  # this one listens on 127.0.0.1 only
    session = HubSession(site.url)
    assert session.sign_in("alice", PASSWORD)
    assert site.run().recap["changed"] == 0


def test_a_wrong_certificate_stops_the_run_before_anything_is_changed(http_site: HttpsSite) -> None:
    settings = http_site.secure()
    issued = http_site.authority.issue("other.example.com")
    Path(settings["jupyterhub_tls_certificate"]).write_text(issued.chain, encoding="utf-8")
    before = http_site.containers()
    output = " ".join(http_site.run(fails=True, **settings).output.split())
    assert "Nothing was changed." in output
    assert "the key does not belong to the certificate" in output
    assert http_site.containers() == before
