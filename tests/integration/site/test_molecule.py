"""The same over SSH, with the images from a private registry: Molecule's whole sequence.

On Debian 13; in long runs, on Debian 12, too.

Its servers are then used once more, by tests that depend on none before them: their Docker restarts, the servers
themselves restart, and they back themselves up.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import support.molecule
from hosts.fixtures import BareSite
from hosts.hosts import ROOT, Host
from hosts.registry import Registry
from support.hub_http import HubSession
from support.long_runs import Times
from support.mixins.host import HostTests, new_user
from support.mixins.schedule import RECORD, SERVICE, TIMER, ScheduleTests
from support.mixins.site import PASSWORD, SECRETS_DIR, Site, inspect, secrets_of
from support.mixins.site import environment as environment_of
from support.molecule import environment, molecule
from support.notebook_run import NOTEBOOK, run_notebook

#: In `make test` the first only; its Docker is the newer one. test_make_site.py has Debian 12, without systemd.
SERVERS = ("debian13", "debian12")
ODD = Path("/var/lib/docker/volumes/jupyterhub-user-odd")
EMPTY = ODD.with_name("jupyterhub-user-empty")


@pytest.fixture(scope="module")
def filled_registry(bare_site: BareSite, registry: Registry) -> Registry:
    """Return the registry with the images that the bare machine built, pushed from there as a site's CI would."""
    host = bare_site.host
    host.write(f"/etc/docker/certs.d/{registry.server}/ca.crt", registry.certificate)
    host.run(
        ["docker", "login", "--username", registry.username, "--password-stdin", registry.server],
        stdin=registry.password,
    )
    images = {
        "hub": inspect(host, "jupyterhub")["Config"]["Image"],
        "proxy": inspect(host, "jupyterhub-proxy")["Config"]["Image"],
        "front": inspect(host, "jupyterhub-front")["Config"]["Image"],
        "notebook": environment_of(host, "jupyterhub")["DOCKER_NOTEBOOK_IMAGE"],
    }
    for purpose, image in images.items():
        target = f"{registry.server}/{purpose}:test"
        host.run(f"docker tag {image} {target} && docker push --quiet {target} && docker rmi {target}")
    return registry


@pytest.fixture(scope="module")
def servers(times: Times) -> tuple[str, ...]:
    """Return the servers that Molecule makes."""
    return SERVERS[: times(1, len(SERVERS))]


@pytest.fixture(scope="module")
def molecule_environment(
    filled_registry: Registry, servers: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return the environment for Molecule; the servers are gone afterwards, even when it was stopped half-way."""
    environ = environment(filled_registry, tmp_path_factory.mktemp("ansible"))
    environ["JHD_SERVERS"] = " ".join(servers)
    yield environ
    for scenario in ("default", "disaster_recovery"):
        molecule(Path(os.devnull), {"JHD_BACKUPS": "", **environ}, scenario, "destroy", fails=None)


@pytest.fixture(scope="module")
def sequence(
    molecule_environment: dict[str, str], servers: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Run Molecule's whole sequence, keep the servers, and return what it printed."""
    log = tmp_path_factory.mktemp("molecule") / "molecule.log"
    only = [] if servers == SERVERS else ["--platform-name", *servers]
    return molecule(log, molecule_environment, "default", "test", "--destroy=never", *only)


def site_on(server: str) -> Site:
    """Return the site that Molecule made on one of its servers."""
    host = Host.find(f"molecule-{server}")
    return Site(host, f"http://{host.address}:8000", "admin", host.read(f"{SECRETS_DIR}/admin_password").strip())


def test_whole_sequence(filled_registry: Registry, servers: tuple[str, ...], sequence: str) -> None:
    assert filled_registry.password not in sequence
    for server in servers:
        for file, secret in secrets_of(Host.find(f"molecule-{server}")).items():
            assert secret not in sequence, f"{file} of {server} is in Molecule's output"


@pytest.mark.long
class TestDebian12(ScheduleTests, HostTests):
    """Docker of 2022, and a server that is shut down."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, sequence: str) -> Site:
        return site_on("debian12")


class TestDebian13(ScheduleTests, HostTests):
    """Docker of 2024, and a server that loses its power."""

    power_cut = True

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, sequence: str) -> Site:
        return site_on("debian13")


@pytest.fixture
def play(
    sequence: str, servers: tuple[str, ...], molecule_environment: dict[str, str], tmp_path: Path
) -> Callable[..., str]:
    """Return a function that runs a playbook against the servers as they are now, and returns what it printed."""
    hosts = {server: Host.find(f"molecule-{server}").inventory() for server in servers}
    (tmp_path / "hosts.yml").write_text(json.dumps({"jupyterhub": {"hosts": hosts}}), encoding="utf-8")
    (tmp_path / "group_vars").symlink_to(ROOT / "molecule/default/group_vars")

    return functools.partial(support.molecule.play, molecule_environment, tmp_path)


def run_scheduled_backups(servers: tuple[str, ...]) -> None:
    for server in servers:
        Host.find(f"molecule-{server}").run(f"systemctl start {SERVICE}")


@pytest.mark.long
def test_another_run_changes_nothing(play: Callable[..., str]) -> None:
    # The servers have restarted, and without a slice of systemd a run sets the limit of all servers again.
    changed = re.findall(r"^TASK \[([^]]+)] \*+\n(?:ok: .*\n)*changed: ", play("site.yml"), flags=re.MULTILINE)
    assert {*changed} <= {"jupyterhub : Create networks, volume and secrets"}
    output = play("site.yml")
    assert output.count("changed=0 ") == len(SERVERS), output


def test_status_says_how_scheduled_backups_went(play: Callable[..., str], servers: tuple[str, ...]) -> None:
    run_scheduled_backups(servers)
    output = play("status.yml")
    assert output.count("scheduled backups: *-*-01 04:17; the last run went well, ") == len(servers), output


@pytest.mark.long
def test_a_backup_keeps_every_oddity(play: Callable[..., str]) -> None:
    """All that a volume can hold, 50,000 tiny files among it, and a volume that holds nothing."""
    program = (ROOT / "tests/support/factories/tree.py").read_text(encoding="utf-8")

    def described(host: Host) -> list[str]:
        return [host.run(f"python3 /root/odd_tree.py describe {volume}/_data").stdout for volume in (ODD, EMPTY)]

    before: dict[str, list[str]] = {}
    for server in SERVERS:
        host = Host.find(f"molecule-{server}")
        host.write("/root/odd_tree.py", program)
        for volume, user in ((ODD, "odd"), (EMPTY, "empty")):
            labels = f"--label org.jupyterhub.deploy.hub=jupyterhub --label org.jupyterhub.deploy.user={user}"
            host.run(f"docker volume create {labels} {volume.name}")
        host.run(f"python3 /root/odd_tree.py make {ODD}/_data 1100 50000 && chown 1000:100 {EMPTY}/_data")
        host.run(f"chmod 2711 {EMPTY}/_data && touch -d 2001-09-09T01:46:40.123456789Z {EMPTY}/_data")
        before[server] = described(host)
    play("backup.yml")
    for server in SERVERS:
        host = Host.find(f"molecule-{server}")
        host.run(f"rm -rf {ODD}/_data/* && chmod 700 {EMPTY}/_data && touch {EMPTY}/_data/new")
        assert described(host) != before[server]
    for server in SERVERS:
        told = play("restore.yml", "-e", "user=odd,empty", "-e", "keep_old=false", "--limit", server)
        assert told.count("without sockets, which no archive can hold: ./socket") == 1
        host = Host.find(f"molecule-{server}")
        odd, empty = described(host)
        assert odd.count("\n") > 51_000
        assert empty.count("\n") == 1
        assert [odd, empty] == before[server]
        for volume in (ODD, EMPTY):
            host.run(f"docker volume rm {volume.name} && rm -r /var/backups/jupyterhub/{volume.name}")


@pytest.mark.long
def test_a_lost_hub_comes_back_on_a_fresh_server(
    play: Callable[..., str], molecule_environment: dict[str, str], tmp_path: Path
) -> None:
    lost = site_on("debian12")
    name, alice = new_user(lost)
    alice.spawn(name)
    alice.contents("PUT", name, "answer.ipynb", json={"type": "notebook", "content": NOTEBOOK})
    alice.stop(name)
    cookie = alice.cookies["jupyterhub-hub-login"]
    play("backup.yml", "--limit", "debian12")
    play("playbooks/fetch_backups.yml", "--limit", "debian12", "-e", f"to={tmp_path / 'copies'}")
    copy = tmp_path / "copies" / "debian12"

    # Where there is a hub, nothing is restored over it.
    refused = play("playbooks/recover.yml", "--limit", "debian12", "-e", f"from={copy}", fails=True)
    assert "there is a hub container jupyterhub on this host already" in " ".join(refused.split())

    # A backup that is damaged stops it before there is a hub; the next run goes on without that.
    damaged = copy / "jupyterhub-user-bob"
    shutil.copytree(copy / f"jupyterhub-user-{name}", damaged)
    for path in damaged.glob("*Z.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest.update(volume=damaged.name, user="bob", sha256="0" * 64)
        path.write_text(json.dumps(manifest), encoding="utf-8")
    environ = {**molecule_environment, "JHD_BACKUPS": str(copy)}
    log, scenario = tmp_path / "molecule.log", "disaster_recovery"
    stopped = " ".join(molecule(log, environ, scenario, "converge", fails=True).split())
    assert "volumes could not be restored" in stopped
    host = Host.find("molecule-recovered")
    assert host.run("docker ps --all --quiet").stdout == ""
    # The copy that the host has got is damaged, too.
    host.run(f"rm -r /var/backups/jupyterhub/{damaged.name}")
    shutil.rmtree(damaged)
    output = molecule(log, environ, scenario, "converge")
    for file, secret in secrets_of(host).items():
        assert secret not in output, f"{file} is in Molecule's output"

    url = f"http://{host.address}:8000"
    assert HubSession(url).sign_in("admin", lost.password)
    there = HubSession(url)
    there.cookies.set("jupyterhub-hub-login", cookie, path="/hub/")
    assert (there.me() or {}).get("name") == name  # by the cookie of the hub that was lost
    again = HubSession(url)
    assert again.sign_in(name, PASSWORD)
    assert run_notebook(again, name, "answer.ipynb") == "42"
    again.stop(name)


def test_a_schedule_that_is_emptied_is_gone(play: Callable[..., str], servers: tuple[str, ...]) -> None:
    run_scheduled_backups(servers)
    output = play("site.yml", "--tags", "backup", "-e", "jupyterhub_backup_schedule=")
    assert output.count("changed=1 ") == len(servers), output
    for server in servers:
        host = Host.find(f"molecule-{server}")
        assert TIMER not in host.run("systemctl list-unit-files --no-legend").stdout
        places = "/etc /usr/local /var/lib/jupyterhub-deploy /var/lib/systemd"
        left = host.run(f"find {places} -path '*jupyterhub*backup*'").stdout
        assert left == "", left
        assert host.run(f"test -e {RECORD}", check=False).returncode
        assert host.run("ls /var/backups/jupyterhub/hub").stdout, "the backups stay"
    play("site.yml", "--tags", "backup")
    for server in servers:
        assert Host.find(f"molecule-{server}").run(f"systemctl is-active {TIMER}").stdout == "active\n"
