"""A hub with HTTPS over SSH on Debian 13: Molecule's scenario, and the recovery of the hub with its certificate.

The images are those of this machine, in a private registry. In `make test`, tests/e2e/test_https.py has the
certificates by ACME, and test_molecule.py the hosts over SSH.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.front import acme

from hosts.fixtures import MakeHost
from hosts.hosts import ROOT, Host
from hosts.registry import Registry
from support.acme import AcmeHost
from support.hub_http import HubSession
from support.mixins.host import new_user
from support.mixins.site import PASSWORD, SECRETS_DIR, Site, secrets_of
from support.molecule import environment, molecule, play, state
from support.molecule_acme import DOMAIN, Known, known
from support.names import resolve

pytestmark = pytest.mark.long

URL = f"https://{DOMAIN}"
NOTE = {"type": "file", "format": "text", "content": "42"}
#: Paths of pebble's API for a new account and a new certificate.
ACCOUNT, ORDER = "sign-me-up", "order-plz"


@pytest.fixture(scope="module")
def environ(image_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment for Molecule; the servers are gone afterwards."""
    made = environment(image_registry, tmp_path_factory.mktemp("ansible"))
    yield made
    molecule(Path(os.devnull), made, "https", "destroy", fails=None)


@pytest.fixture(scope="module")
def sequence(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run Molecule's whole sequence, keep the servers, and return what it printed."""
    log = tmp_path_factory.mktemp("molecule") / "molecule.log"
    return molecule(log, environ, "https", "test", "--destroy=never")


@pytest.fixture
def server(sequence: str, environ: dict[str, str]) -> Known:
    """What is known of the ACME server."""
    return known(str(state(environ, "https")))


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Callable[..., Callable[..., str]]:
    """Return a function from a host to one that runs a playbook on it, with the settings of the scenario."""

    def on(host: Host) -> Callable[..., str]:
        directory = tmp_path / host.name
        directory.mkdir()
        inventory = {"jupyterhub": {"hosts": {host.name: host.inventory()}}}
        (directory / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        (directory / "group_vars").symlink_to(ROOT / "molecule/https/group_vars")
        with_state = {**environ, "MOLECULE_EPHEMERAL_DIRECTORY": str(state(environ, "https"))}
        return functools.partial(play, with_state, directory)

    return on


def visit(host: Host, server: Known, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Let the hub's name lead to a host, for the ACME server and for this process; return the certificate there."""
    AcmeHost(Host.find("molecule-acme")).set_address(DOMAIN, host.address)
    bundle = folder / "root.pem"
    bundle.write_text(server.root, encoding="utf-8")
    resolve(monkeypatch, DOMAIN, host.address, bundle)
    return ssl.get_server_certificate((DOMAIN, 443), ca_certs=str(bundle), timeout=30)


def test_whole_sequence(image_registry: Registry, sequence: str) -> None:
    assert image_registry.password not in sequence
    for file, secret in secrets_of(Host.find("molecule-https")).items():
        assert secret not in sequence, f"{file} is in Molecule's output"


def test_a_lost_hub_comes_back_with_its_certificate(
    server: Known, run: Callable[..., Callable[..., str]], make_host: MakeHost, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    acme_host, lost = AcmeHost(Host.find("molecule-acme")), Host.find("molecule-https")
    asked = functools.partial(acme_host.asked, server.pebble)
    certificate = visit(lost, server, monkeypatch, tmp_path)
    admin = lost.read(f"{SECRETS_DIR}/admin_password").strip()
    name, alice = new_user(Site(lost, URL, "admin", admin))
    alice.spawn(name)
    alice.contents("PUT", name, "answer.txt", json=NOTE)
    alice.stop(name)
    play_on = run(lost)
    play_on("backup.yml")
    play_on("playbooks/fetch_backups.yml", "-e", f"to={tmp_path / 'copies'}")
    before = [asked(ACCOUNT), asked(ORDER)]
    assert before == [1, 1]
    lost.destroy()

    found = make_host("debian13")
    play_on = run(found)
    output = play_on("playbooks/disaster_recovery.yml", "-e", f"from={tmp_path / 'copies' / lost.name}")
    assert "the hub's certificate and its account at the ACME server: restored" in output
    assert f"certificate for {DOMAIN} from Pebble Intermediate CA" in " ".join(output.split())
    assert visit(found, server, monkeypatch, tmp_path) == certificate
    session = HubSession(URL)
    assert session.sign_in(name, PASSWORD)
    session.spawn(name)
    assert session.contents("GET", name, "answer.txt")["content"] == NOTE["content"]
    session.stop(name)
    assert HubSession(URL).sign_in("admin", admin)
    assert "changed=0 " in play_on("site.yml")
    assert [asked(ACCOUNT), asked(ORDER)] == before

    # The account can renew the certificate.
    settings = acme.AcmeSettings(server=server.url, ca_bundle=server.authority)
    found.run(["docker", "exec", "jupyterhub-front", *acme.certonly("jupyterhub", [DOMAIN], settings, force=True)])
    assert [asked(ACCOUNT), asked(ORDER)] == [1, 2]
