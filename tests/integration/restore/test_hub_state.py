"""The hub's own state restored onto a real hub with real servers.

Alice is in the backup, with her server running; carol and dave come after it, so that the restored hub does not know
them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.processes import wait_until
from ansible.module_utils.jupyterhub_deploy.restore import hub_files
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

import jupyterhub_backup
import jupyterhub_hub_state
import jupyterhub_restore
from hosts.run import name as run_name
from support.factories.backups import put_tree
from support.factories.certbot import put as put_certificate
from support.hub_http import HubSession
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError, run
from support.notebook_run import NOTEBOOK, run_notebook

NAME = run_name("state")
#: Names of backups that are newer than all others, however long the tests take. More than a day ahead is refused.
NEWER = [store.stem_of(datetime.now(timezone.utc) + timedelta(hours=hours)) for hours in (20, 21, 22)]
PASSWORD = "a-long-enough-passphrase-of-the-test"


class Hub:
    """The hub, its backups, and who is signed in."""

    def __init__(self, site: ModuleSite, directory: Path) -> None:
        self.site, self.directory = site, directory
        self.users: dict[str, HubSession] = {}
        volume = site.client.volumes.get(f"{NAME}-data")
        self.data = Path(volume.attrs["Mountpoint"])

    def join(self, name: str) -> HubSession:
        session = HubSession(self.site.url)
        session.sign_up(name, PASSWORD)
        assert session.sign_in(name, PASSWORD)
        self.users[name] = session
        return session

    def arguments(self, **more: Any) -> dict[str, Any]:
        given = {"name": NAME, "directory": str(self.directory), "config_dir": self.site.config_dir}
        given["front_dir"] = f"{self.directory}-front"
        return {**given, "health_timeout": 60, **more}

    def restore(self, check: bool = False, **more: Any) -> dict[str, Any]:
        return run(jupyterhub_hub_state, check=check, **self.arguments(**more))

    def refusal(self, **more: Any) -> str:
        """Return the error of a restore after which the hub is as it was, and was not restarted."""
        before = self.site.observe(), self.secrets(), sorted(self.left())
        with pytest.raises(ModuleError) as error:
            self.restore(**more)
        assert (self.site.observe(), self.secrets(), sorted(self.left())) == before
        return str(error.value)

    def accounts(self) -> list[str]:
        """Return the names of the users in the database."""
        with contextlib.closing(sqlite3.connect(self.data / "jupyterhub.sqlite")) as database:
            return [name for (name,) in database.execute("SELECT name FROM users ORDER BY id")]

    def secrets(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in Path(self.site.config_dir, "secrets").iterdir()}

    def left(self) -> list[str]:
        """Return what is beside the data and the secrets."""
        beside = {path.name for path in self.data.parent.iterdir()} | {
            path.name for path in Path(self.site.config_dir).iterdir()
        }
        return [name for name in beside - {"_data", "secrets"} if not name.startswith("config-")]

    def put(self, tree: Path, stem: str) -> None:
        """Write a backup of the hub's state from a directory."""
        manifest = {"kind": "hub", "folder": "hub", "volume": None, "user": None, "hub": NAME, "driver": None}
        put_tree(self.directory, tree, stem=stem, **manifest)

    def state_with(self, tmp_path: Path, statement: str) -> Path:
        """Return a directory with the hub's state as it is, but for what an SQL statement does."""
        tree = tmp_path / "tree"
        tree.mkdir()
        shutil.copytree(Path(self.site.config_dir, "secrets"), tree / "secrets")
        source = sqlite3.connect(self.data / "jupyterhub.sqlite")
        copy = sqlite3.connect(tree / "jupyterhub.sqlite")
        source.backup(copy)
        copy.execute(statement)
        copy.commit()
        copy.close()
        source.close()
        return tree


@pytest.fixture(scope="module")
def backed_up(
    hub_image: Callable[[str], str],
    proxy_image: str,
    notebook_image: Callable[[str], str],
    front_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hub]:
    """A hub that was backed up while alice's server ran."""
    directory = str(tmp_path_factory.mktemp("etc"))
    site = ModuleSite(NAME, hub_image("5.5.4"), proxy_image, notebook_image("5.5.4"), front_image, directory)
    site.destroy()
    try:
        site.prepare()
        site.run_proxy()
        site.run_hub()
        made = Hub(site, tmp_path_factory.mktemp("backups"))
        alice = made.join("alice")
        alice.spawn("alice")
        alice.contents("PUT", "alice", "answer.ipynb", json={"type": "notebook", "content": NOTEBOOK})
        backup: dict[str, Any] = {"name": NAME, "directory": str(made.directory), "config_dir": directory}
        run(jupyterhub_backup, **backup)
        yield made
    finally:
        site.destroy()


@pytest.fixture
def working(backed_up: Hub) -> Hub:
    """The hub while the servers of alice and carol run."""
    for name in ("alice", "carol"):
        backed_up.join(name).spawn(name)
    return backed_up


@pytest.fixture
def hub(backed_up: Hub) -> Hub:
    """The hub while no server runs."""
    for name, session in backed_up.users.items():
        if session.me():
            session.stop(name)
    return backed_up


def test_a_hub_that_uses_another_database_is_refused(hub: Hub) -> None:
    file = hub.data / "storage.json"
    text = file.read_text()
    file.write_text(json.dumps({**json.loads(text), "database": "postgresql://db.example.com/hub"}))
    try:
        message = hub.refusal()
    finally:
        file.write_text(text)
    assert message.startswith("the hub's database is postgresql://db.example.com/hub (c.JupyterHub.db_url), and only")


def test_nothing_is_restored_while_servers_run(working: Hub) -> None:
    message = working.refusal()

    assert (
        f"servers are running that the restored hub would not know: {NAME}-jupyter-alice, {NAME}-jupyter-carol"
        in message
    )
    assert "or run `make restore ARGS='-e hub_state=true -e stop_servers=true'`, which stops them" in message


def test_nor_is_a_volume_whose_server_runs(working: Hub) -> None:
    backups = str(working.directory)
    arguments: dict[str, Any] = {"name": NAME, "directory": backups, "state": "restored", "users": ["alice"]}
    with pytest.raises(ModuleError, match=f"volume {NAME}-user-alice is in use by container {NAME}-jupyter-alice"):
        run(jupyterhub_restore, **arguments)


def test_check_mode_says_so_and_touches_nothing(working: Hub) -> None:
    before = working.site.observe(), working.left()
    result = working.restore(check=True, stop_servers=True)

    assert "would be restored from backup" in result["messages"][0]
    assert (working.site.observe(), working.left()) == before


def test_the_hub_of_the_backup_comes_back(working: Hub) -> None:
    hub, left = working, working.left()
    proxy, (container, started, _) = hub.site.observe("proxy"), hub.site.observe()
    before = hub.secrets()
    Path(hub.site.config_dir, "secrets", "cookie_secret").write_text("another\n" * 8)
    result = hub.restore(stop_servers=True)

    assert result["stopped_servers"] == [f"{NAME}-jupyter-alice", f"{NAME}-jupyter-carol"]
    assert hub.site.observe()[0] == container
    assert hub.site.observe()[1] != started
    assert hub.site.observe("proxy") == proxy
    assert hub.secrets() == before
    assert hub.site.names() == ["", "-proxy"]
    # Who signed in before the backup is signed in still; who came after it is not known.
    me = hub.users["alice"].me()
    assert me is not None
    assert me["servers"] == {}
    assert hub.users["carol"].me() is None
    assert not HubSession(hub.site.url).sign_in("carol", PASSWORD)
    assert HubSession(hub.site.url).sign_in("alice", PASSWORD)
    old = Path(result["old_state"])
    assert (old / "secrets" / "cookie_secret").read_text().startswith("another")
    found = sqlite3.connect(old / "jupyterhub.sqlite").execute("SELECT name FROM users ORDER BY name").fetchall()
    assert found == [("admin",), ("alice",), ("carol",)]
    assert set(hub.left()) - set(left) == {old.name}
    assert result["messages"] == [
        f"the hub's state: restored from backup {result['backup']}, made of a hub with image {hub.site.image}; "
        f"servers stopped: {NAME}-jupyter-alice, {NAME}-jupyter-carol; what was there before is in {old} until you "
        "remove it"
    ]


def test_the_notebook_of_a_restored_volume_runs_in_the_spawned_server(hub: Hub) -> None:
    data = Path(hub.site.client.volumes.get(f"{NAME}-user-alice").attrs["Mountpoint"])
    (data / "answer.ipynb").unlink()
    arguments: dict[str, Any] = {"name": NAME, "directory": str(hub.directory), "state": "restored", "users": ["alice"]}
    run(jupyterhub_restore, **arguments)

    hub.users["alice"].spawn("alice")
    try:
        assert run_notebook(hub.users["alice"], "alice", "answer.ipynb") == "42"
    finally:
        hub.users["alice"].stop("alice")


def test_a_user_that_the_restored_hub_does_not_know_gets_the_volume_by_the_operator_only(hub: Hub) -> None:
    dave = hub.join("dave")
    dave.spawn("dave")
    dave.stop("dave")
    hub.restore()
    assert dave.me() is None
    stranger = hub.join("dave")
    with pytest.raises(AssertionError, match=r"spawning for dave: 500|the server of dave failed to start"):
        stranger.spawn("dave")
    refusal = f"The volume {NAME}-user-dave belongs to an earlier user of this name, who was added after the restored"
    assert refusal in hub.site.client.containers.get(NAME).logs().decode()

    # What user.yml does: the account is the operator's then.
    account = {"name": "dave", "new": False, "authorized": True, "password": None, "end": None}
    Accounts(hub.site.client.api, NAME).request("write", accounts=[account], token_of=["admin"])
    stranger.spawn("dave")
    stranger.stop("dave")


def test_a_database_of_a_newer_jupyterhub_is_refused(hub: Hub, tmp_path: Path) -> None:
    tree = hub.state_with(tmp_path, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    hub.put(tree, NEWER[0])
    try:
        message = hub.refusal()
    finally:
        shutil.rmtree(hub.directory / "hub" / f"{NEWER[0]}.tar", ignore_errors=True)
        (hub.directory / "hub" / f"{NEWER[0]}.json").unlink()
    assert "does not fit the hub's image, nothing was restored" in message
    assert "has schema fedcba987654, which is newer than this JupyterHub's" in message


def test_a_hub_that_does_not_start_gets_its_own_state_back(hub: Hub, tmp_path: Path) -> None:
    tree = hub.state_with(tmp_path, "ALTER TABLE users RENAME COLUMN name TO title")
    (tree / "secrets" / "cookie_secret").write_text("another\n" * 8)
    hub.put(tree, NEWER[1])
    secrets, left = hub.secrets(), hub.left()
    try:
        with pytest.raises(ModuleError, match="fails with the restored state, so the old one was put back"):
            hub.restore(backup=NEWER[1])
    finally:
        (hub.directory / "hub" / f"{NEWER[1]}.json").unlink()
    assert hub.users["alice"].me() is not None
    assert (hub.secrets(), hub.left()) == (secrets, left)


@pytest.mark.long
def test_killed_between_any_two_steps_the_next_run_ends_it(hub: Hub, tmp_path: Path) -> None:
    steps = 0
    while killed_run("jupyterhub_hub_state", f"{steps + 1}", hub.arguments(keep_old=False), tmp_path):
        steps += 1
        assert HubSession(hub.site.url).get(f"{hub.site.url}/hub/health", timeout=10).status_code in (200, 503)
        container = hub.site.client.containers.get(NAME)
        if container.status != "running":  # as site.yml would
            container.start()
    assert steps >= 3
    assert requests.get(f"{hub.site.url}/hub/health", timeout=10).status_code == 200
    assert hub.users["alice"].me() is not None
    assert [name for name in hub.left() if not name.startswith("before-")] == []


def test_site_yml_keeps_a_restored_state_with_which_the_hub_works(hub: Hub, tmp_path: Path) -> None:
    """The restore was killed after it had replaced everything."""
    hub.join("eve")  # unknown to the backup
    mark = hub.data.parent / ".restoring" / "mark"
    for step in itertools.count(1):
        assert killed_run("jupyterhub_hub_state", f"{step}", hub.arguments(keep_old=False), tmp_path)
        if os.path.lexists(mark):
            break
    assert hub.site.run_hub(check=True)["changed"] is True
    assert os.path.lexists(mark)
    assert wait_until(lambda: requests.get(f"{hub.site.url}/hub/health", timeout=10).status_code == 200, 60)
    (reason,) = hub.site.run_hub()["reasons"]
    assert reason.startswith("removed what a killed restore of the hub's state left; the old state is in ")
    shutil.rmtree(reason.rpartition(" ")[2])
    assert "eve" not in hub.accounts()
    assert hub.site.run_hub()["changed"] is False


def test_a_hub_is_not_started_with_files_of_two_states(hub: Hub, tmp_path: Path) -> None:
    """The restore was killed after it had replaced the secrets, and before the database."""
    hub.join("eve")
    places = hub_files.Places(str(hub.data.parent), hub.site.config_dir)
    secrets, left = hub.secrets(), sorted(hub.left())
    tree = hub.state_with(tmp_path, "DELETE FROM users WHERE name = 'eve'")
    (tree / "secrets" / "cookie_secret").write_text("0" * 64)
    hub.site.client.containers.get(NAME).stop()
    shutil.copytree(tree, places.new_tree)
    hub_files.prepare(places)
    if os.fork() == 0:
        replace = os.replace

        def killed(source: str, target: str) -> None:
            if Path(target) == places.database:
                os._exit(9)
            replace(source, target)

        os.replace = killed  # type: ignore[assignment]
        try:
            hub_files.put_in_place(places, datetime.now(timezone.utc))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
    assert hub.secrets() != secrets

    result = hub.site.run_hub()
    assert result["reasons"][0] == "a restore of the hub's state was killed; the old state was put back"
    assert (hub.secrets(), sorted(hub.left())) == (secrets, left)
    assert "eve" in hub.accounts()
    assert requests.get(f"{hub.site.url}/hub/health", timeout=10).status_code == 200
    assert hub.site.run_hub()["changed"] is False


def test_a_certificate_from_acme_comes_back(hub: Hub) -> None:
    front = Path(f"{hub.directory}-front")
    put_certificate(front, NAME, 2)
    backup: dict[str, Any] = {"name": NAME, "directory": str(hub.directory), "config_dir": hub.site.config_dir}
    run(jupyterhub_backup, **backup, front_dir=str(front))
    shutil.rmtree(front)

    message = "the hub's certificate and its account at the ACME server: restored"
    assert message in hub.restore()["messages"]
    assert (front / "acme/live" / NAME / "privkey.pem").read_text() == "privkey 2"
    assert message not in hub.restore()["messages"]  # the host has one
    shutil.rmtree(front)


def test_a_host_with_a_hub_is_not_recovered(hub: Hub) -> None:
    refusal = hub.refusal(state="recovered")
    assert f"there is a hub container {NAME} on this host already, and nothing was restored over it" in refusal
    assert "to bring an older state back: `make restore ARGS='-e hub_state=true'`" in refusal


def test_an_unfinished_change_of_the_hub_is_finished_first(hub: Hub) -> None:
    client = hub.site.client
    left = client.containers.create(hub.site.image, name=f"{NAME}-previous")
    try:
        assert f"an earlier change of hub {NAME} did not finish; run make site first" in hub.refusal()
    finally:
        left.remove()


def test_a_backup_that_is_not_there_is_named(hub: Hub) -> None:
    assert "there is no backup 20200101T000000Z of the hub's state in" in hub.refusal(backup="20200101T000000Z")
    damaged = hub.directory / "hub" / f"{NEWER[2]}.json"
    damaged.write_text(json.dumps({"format": 1}))
    try:
        assert "name another backup of the hub" in hub.refusal()
    finally:
        damaged.unlink()


def test_places_are_those_of_the_volume(hub: Hub) -> None:
    places = hub_files.Places(str(hub.data.parent), hub.site.config_dir)
    assert places.database.exists()
    assert not hub_files.unfinished(places)
