"""A server that the previous version has provisioned, with a backup schedule, is upgraded while a user works."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from hosts.fixtures import MakeHost
from hosts.hosts import ROOT, Host
from support.hub_http import HubSession

# The last commit of 0.1.0, which recorded no version.
PREVIOUS = "0eda2a7647dc90104b2c00b57e2351126377c3a6"
PASSWORD = "correct horse battery"
PROGRAMS = "/usr/local/lib/jupyterhub-deploy/ansible/module_utils/jupyterhub_deploy"
VERSION = (ROOT / "VERSION").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of the previous version."""
    known = subprocess.run(["git", "cat-file", "-e", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if known.returncode:
        pytest.skip("the git history is missing: this clone is shallow")
    directory = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
    return directory


@pytest.fixture(scope="module")
def server(make_host: MakeHost) -> Host:
    return make_host("debian12")


@pytest.mark.long
def test_upgrade_of_a_server_with_a_schedule(server: Host, previous: Path, tmp_path: Path) -> None:
    settings = {"jupyterhub_image_source": "build", "jupyterhub_backup_schedule": "02:30"}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"jupyterhub": {"hosts": {"server": {**server.inventory(), **settings}}}}))

    def play(project: Path, playbook: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            ["ansible-playbook", playbook, "-i", inventory, *arguments],
            cwd=project, env={**os.environ, "ANSIBLE_CONFIG": str(project / "ansible.cfg")}, check=False,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def started(*containers: str) -> str:
        return server.run(["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *containers]).stdout

    def programs() -> set[str]:
        return set(server.run(["ls", PROGRAMS]).stdout.split())

    play(previous, "site.yml")
    assert "backup_command.py" in programs()
    hub = HubSession(f"http://{server.address}:8000")
    hub.sign_up("alice", PASSWORD)
    assert hub.sign_in("alice", PASSWORD)
    hub.spawn("alice")
    before = started("jupyter-alice")

    refused = play(ROOT, "upgrade.yml", code=2)
    assert "the hub was provisioned by an earlier version of this deployment" in refused
    assert server.run(["test", "-e", "/var/backups/jupyterhub"], check=False).returncode  # refused before the backup

    output = play(ROOT, "upgrade.yml", "-e", f"acknowledge={VERSION}")
    assert f"deployment version {VERSION}" in output
    assert "port 8000 moved from the old proxy to the front" in output
    assert started("jupyter-alice") == before
    assert (hub.me() or {})["name"] == "alice"  # still signed in
    assert not {name for name in programs() if name.startswith(("backup_", "restore_"))}
    server.run(["systemctl", "is-active", "jupyterhub-backup.timer"])
    server.run(["systemctl", "start", "jupyterhub-backup.service"])
    assert "jupyterhub-user-alice" in server.run(["jupyterhub-backup", "list"]).stdout
    assert "changed=0 " in play(ROOT, "site.yml")
    # The volume has the labels of the previous version, so its user gets it again.
    hub.stop("alice")
    hub.spawn("alice")
