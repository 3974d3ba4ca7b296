"""Certificates from an ACME server for a hub with its proxy and front: renewed while a user works, and other names.

test_acme.py has what certbot does, and its failures; tests/e2e/test_https.py has the roles.
"""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.front import status
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.fixtures import MakeHost
from hosts.images import docker
from hosts.run import name as run_name
from support.acme import EAB_HMAC_KEY, EAB_KEY_ID, ZONE, AcmeHost, Pebble
from support.front_client import FrontClient
from support.hub_http import HubSession
from support.module_site import ModuleSite
from support.modules import ModuleError
from support.names import resolve
from support.poller import Notebook, Poll
from support.ports import free_port

NAME = run_name("acme-site")
DOMAIN, OTHER = f"hub.{ZONE}", f"other.{ZONE}"
PASSWORD = "seven-green-bottles-on-a-wall"
#: Seconds that a certificate is valid which has to be renewed: after half of them.
SHORT = 60
RENEW_SECONDS = "2"


class Place:
    """The hub, and the machine with ACME servers and DNS.

    Attributes:
        pebble: the ACME server of the hub.
    """

    def __init__(self, host: AcmeHost, site: ModuleSite, folder: Path) -> None:
        self.host, self.site, self.folder = host, site, folder
        self.http_port, self.https_port = free_port("0.0.0.0"), free_port("0.0.0.0")
        network = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        gateway = docker("inspect", "--format", network, host.host.container)
        for name in (DOMAIN, OTHER):
            host.set_address(name, gateway)
        self.authority = folder / "authority.pem"
        self.authority.write_text(host.authority, encoding="utf-8")
        self.pebble = host.start(http_port=self.http_port)
        site.settings["public_url"] = f"https://{DOMAIN}:{self.https_port}/"
        site.front_settings = {
            "https": "acme", "domain": DOMAIN, "bind_address": "0.0.0.0", "http_port": self.http_port,
            "https_port": self.https_port, "acme": self.acme(self.pebble),
            "environment": {"FRONT_RENEW_SECONDS": RENEW_SECONDS},
        }  # fmt: skip

    def acme(self, pebble: Pebble, **options: str) -> dict[str, str]:
        """Return the settings of an ACME server."""
        return {"server": pebble.url, "ca_bundle": str(self.authority), **options}

    def client(self, pebble: Pebble) -> FrontClient:
        """Return a client that trusts the certificates of one ACME server only."""
        return FrontClient(self.http_port, self.https_port, pebble.root)

    def last_renewal(self) -> dict[str, Any]:
        """Return the result of the last round of renewals; empty before the first one."""
        path = self.site.directory / "acme/last_renewal.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}


@pytest.fixture(scope="module")
def made(
    make_site: Callable[[str], ModuleSite], make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    place = Place(AcmeHost(make_host("acme")), make_site(NAME), tmp_path_factory.mktemp("acme"))
    place.site.run_front()
    place.site.run_proxy()
    place.site.run_hub()
    return place


@pytest.fixture
def place(made: Place) -> Iterator[Place]:
    """The hub with its certificate; a test may ask for another one."""
    yield made
    made.site.run_front()


def test_a_second_run_changes_nothing(place: Place) -> None:
    for check in (True, False):
        result = place.site.run_front(check=check)
        assert (result["changed"], result["messages"]) == (False, [])


def test_renewals_interrupt_nobody_and_a_failing_one_is_reported(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site, short = place.site, place.host.start(seconds=SHORT, http_port=place.http_port)
    site.run_front(acme=place.acme(short))
    bundle = tmp_path / "root.pem"
    bundle.write_text(short.root, encoding="utf-8")
    resolve(monkeypatch, DOMAIN, "127.0.0.1", bundle)
    session = HubSession(f"https://{DOMAIN}:{place.https_port}")
    session.sign_up("alice", PASSWORD)
    assert session.sign_in("alice", PASSWORD)
    notebook, client = Notebook(session, "alice"), place.client(short)
    archive = site.directory / f"acme/archive/{NAME}"

    def certificates() -> int:
        return len(list(archive.glob("fullchain*.pem")))

    served, before = client.served(DOMAIN), certificates()
    with Poll(notebook) as poll:
        assert wait_until(lambda: certificates() >= before + 2, 4 * SHORT), place.last_renewal()
        assert wait_until(lambda: client.served(DOMAIN) != served, 10)
    assert poll.report.uninterrupted, poll.report
    assert poll.report.hub_down == 0, poll.report

    place.host.stop(short)
    assert wait_until(lambda: bool(place.last_renewal()["exit_code"]), 2 * SHORT), place.last_renewal()
    served_site = status.site_of(str(site.directory), NAME)
    assert served_site
    lines = "\n".join(status.messages(str(site.directory), served_site, str(bundle)))
    assert f"RENEWAL FAILED for {DOMAIN} at " in lines
    assert notebook.problem_with_variable() == ""


def test_the_old_name_has_its_certificate_until_the_hub_has_the_new_one(place: Place) -> None:
    client, old = place.client(place.pebble), place.client(place.pebble).served(DOMAIN)
    for _ in range(2):  # the second run is one after the hub has failed
        result = place.site.run_front(domain=OTHER, keep_old_names=True)
        assert result["keeps_old_names"] is True
        assert client.served(DOMAIN) == old
        assert client.https(OTHER, "/hub/login").status == 200

    assert place.site.run_front(domain=OTHER)["keeps_old_names"] is False
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        client.served(DOMAIN)
    assert list(place.site.directory.glob(f"own/{NAME}/*")) == []  # the copy of its certificate


def test_a_failed_request_for_another_name_leaves_the_certificate_that_is_renewed(place: Place) -> None:
    before = place.client(place.pebble).served(DOMAIN)
    with pytest.raises(ModuleError, match=rf"no certificate for nowhere\.{ZONE} "):
        place.site.run_front(domain=f"nowhere.{ZONE}", keep_old_names=True)
    assert place.client(place.pebble).served(DOMAIN) == before
    served = status.site_of(str(place.site.directory), NAME)
    assert served
    assert served.certificate == f"acme/live/{NAME}"


def test_a_damaged_certificate_is_requested_again_as_the_message_says(place: Place) -> None:
    acme = place.site.directory / "acme"
    (acme / f"live/{NAME}/privkey.pem").unlink()
    (acme / f"live/{NAME}/privkey.pem").write_text("")
    live, archive, renewal = (acme / part for part in (f"live/{NAME}", f"archive/{NAME}", f"renewal/{NAME}.conf"))
    with pytest.raises(ModuleError, match=f"is damaged .* remove {live} and {archive} and {renewal}, then run make si"):
        place.site.run_front()
    shutil.rmtree(live)
    shutil.rmtree(archive)
    renewal.unlink()
    place.site.client.containers.get(f"{NAME}-front").stop()  # as after a restart of the host, when nginx cannot start
    assert place.site.run_front()["changed"] is True
    assert place.client(place.pebble).https(DOMAIN, "/hub/login").status == 200


def test_users_names_have_a_certificate_by_dns_updates(place: Place) -> None:
    key, algorithm, secret = place.host.tsig
    credentials = {"server": place.host.host.address, "name": key, "algorithm": algorithm, "secret": secret,
                   "propagation_seconds": "1"}  # fmt: skip
    by_dns = {"challenge": "dns", "dns_plugin": "rfc2136", "dns_credentials": json.dumps(credentials)}
    result = place.site.run_front(subdomains=True, acme=place.acme(place.pebble, **by_dns))
    assert result["certificate"]["names"] == [DOMAIN, f"*.{DOMAIN}"]
    assert place.client(place.pebble).https(f"alice.{DOMAIN}", "/hub/login").status == 200
    assert secret not in json.dumps(result)


def test_an_external_account(place: Place) -> None:
    server = place.host.start(eab=True, http_port=place.http_port)
    before = place.client(place.pebble).served(DOMAIN)
    wrong = place.acme(server, eab_key_id=EAB_KEY_ID, eab_hmac_key="A" * 64)
    with pytest.raises(ModuleError, match="does not accept the external account"):
        place.site.run_front(acme=wrong)
    assert place.client(place.pebble).served(DOMAIN) == before
    place.site.run_front(acme=place.acme(server, eab_key_id=EAB_KEY_ID, eab_hmac_key=EAB_HMAC_KEY))
    assert place.client(server).https(DOMAIN, "/hub/login").status == 200
