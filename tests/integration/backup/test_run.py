"""Backups of real volumes with the module, as a playbook runs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.backup import hub_state, store, verify
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import LABEL_CONFIG
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER

import jupyterhub_backup_status
from support import modules
from support.backup_site import ALICE, BOB, HUB, Site, actions
from support.factories import images, tree

ROOT = Path(__file__).resolve().parents[3]
IMAGE = f"{HUB}:1"
KEY = "age1ltmneemznvag6zs6ugu6ehtmevexx59rhzjh6mf5staq807044zshdp32w"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.remove()


def extract(archive: str, target: Path) -> Path:
    target.mkdir()
    options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    subprocess.run(["tar", "-C", target, *options, "-xpf", archive], check=True)
    return target


def report(site: Site, described: dict[str, Any]) -> None:
    """Create the hub's container, which never starts, with its report about where the data are."""
    release = site.config / "config-1"
    release.mkdir(exist_ok=True)
    texts = {"jupyterhub_config.py": b"c = 1\n", "settings.json": b"{}\n"}
    for name, text in texts.items():
        (release / name).write_bytes(text)
    digest = hashlib.sha256(b"\0".join(texts.values())).hexdigest()
    data = Path(site.client.inspect_volume(f"{HUB}-data")["Mountpoint"])
    (data / "storage.json").write_text(json.dumps({**described, "config": digest}))
    with contextlib.suppress(docker.errors.NotFound):
        site.client.remove_container(HUB)
    binds = [f"{HUB}-data:/data", f"{release}:/etc/jupyterhub/config:ro"]
    site.client.create_container(
        IMAGE, ["/bin/true"], name=HUB, labels={LABEL_HUB: HUB}, host_config=site.client.create_host_config(binds=binds)
    )


def test_what_the_configuration_moves_elsewhere_is_named(site: Site) -> None:
    site.volume(ALICE, "alice")
    images.make(site.client, IMAGE, {})
    homes = ["/srv/homes/{username}", f"{HUB}-user-{{username}}", "shared"]
    report(site, {"database": "sqlite:////data/jupyterhub.sqlite", "volumes": homes})

    named = "NOT BACKED UP, although servers use it: directory /srv/homes/{username}, volume shared; see docs/"
    for check in (True, False):
        assert site.run(check=check)["messages"][-1].startswith(named)
    status = modules.run(jupyterhub_backup_status, name=HUB, directory=str(site.directory))
    assert any(line.startswith(named) for line in status["messages"])

    report(site, {"database": "sqlite:////data/other.sqlite", "volumes": []})
    for check in (True, False):
        with pytest.raises(modules.ModuleError, match=r"hub: the hub's database is sqlite:////data/other\.sqlite"):
            site.run(check=check)
    assert set(actions(site.run(hub_state=False))) == {ALICE}

    report(site, {"volumes": []})
    assert "does not report where its data are" in site.run()["messages"][-1]


def test_a_hub_is_backed_up_and_then_unchanged(site: Site, tmp_path: Path) -> None:
    mountpoint = site.volume(ALICE, "alice")
    tree.make(mountpoint)
    site.volume(BOB, "bob")
    time.sleep(2.1)  # the scan of a file that has just changed would not be trusted
    checked = site.run(check=True)
    assert not site.directory.exists()
    assert actions(checked) == {"hub": "backed_up", ALICE: "backed_up", BOB: "backed_up"}
    assert checked["changed"]

    progress = tmp_path / "progress"
    first = site.run(progress_file=str(progress))
    assert actions(first) == actions(checked)
    assert first["totals"]["backed_up"] == 3
    lines = progress.read_text(encoding="utf-8").splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["hub", ALICE, BOB]
    (backup,) = site.backups(ALICE)
    assert verify.verify(backup).good
    assert tree.describe(extract(backup.archive_path, tmp_path / "back")) == tree.describe(mountpoint)
    manifest = backup.manifest
    assert (manifest.hub, manifest.volume, manifest.user, manifest.driver) == (HUB, ALICE, "alice", "local")
    assert manifest.labels == {LABEL_HUB: HUB, LABEL_USER: "alice"}
    assert set(manifest.versions) == {"tar", "zstd"}
    assert site.backups(BOB)[0].manifest.members == 1
    for parent, folders, names in os.walk(site.directory):
        assert [stat.S_IMODE(os.stat(Path(parent, name)).st_mode) for name in folders] == [0o700] * len(folders)
        assert [stat.S_IMODE(os.stat(Path(parent, name)).st_mode) for name in names] == [0o600] * len(names)

    for check in (True, False):
        second = site.run(check=check, hub_state=not check)
        assert set(actions(second).values()) == {"unchanged"}
        assert not second["changed"]
    assert len(site.backups(ALICE)) == len(site.backups("hub")) == 1

    assert set(actions(site.run(exclude=[ALICE, "no-such-volume"]))) == {"hub", BOB}
    assert set(actions(site.run(volumes=[ALICE, BOB], exclude=[BOB], hub_state=False))) == {ALICE}
    (mountpoint / "new").write_bytes(b"x")
    assert actions(site.run()) == {"hub": "unchanged", ALICE: "backed_up", BOB: "unchanged"}
    forced = site.run(force=True, volumes=[BOB], hub_state=False, compression="none", keep={"last": 1})
    assert actions(forced) == {BOB: "backed_up"}
    assert len(forced["removed"]) == 1
    assert [backup.manifest.compression for backup in site.backups(BOB)] == ["none"]


def seen(*places: Path) -> dict[str, tuple[int, ...]]:
    """Return all files with the metadata that changes when somebody writes to them."""
    paths = [path for place in places for path in (place, *place.rglob("*"))]
    return {
        str(path): (one.st_ino, one.st_mode, one.st_size, one.st_ctime_ns) for path in paths for one in [path.lstat()]
    }


def test_check_mode_writes_nothing(site: Site) -> None:
    (site.volume(ALICE, "alice") / "file").write_bytes(b"old")
    (site.volume(BOB, "bob") / "file").write_bytes(b"old")
    time.sleep(2.1)
    for number in range(2):
        site.run(force=True, compression="none", keep={})
        (site.directory / BOB / f".2026010{number + 1}T000000Z.archive.partial").touch()  # as after a kill
    volumes = [Path(site.client.inspect_volume(name)["Mountpoint"]) for name in site.names]
    (volumes[1] / "file").write_bytes(b"new")
    asked = {"keep": {"last": 1}, "consistency": "paused", "recipients": [KEY]}
    before = seen(site.directory, site.config, *volumes)

    checked = site.run(check=True, **{**asked, "recipients": []})
    encrypted = site.run(check=True, **asked)

    assert seen(site.directory, site.config, *volumes) == before
    assert actions(checked) == {"hub": "backed_up", ALICE: "backed_up", BOB: "unchanged"}
    assert set(actions(encrypted).values()) == {"backed_up"}  # for the first time
    assert (checked["cleaned"], checked["removed"]) == ([], [])


def test_writes_through_a_memory_map_are_always_detected(site: Site) -> None:
    array = site.volume(ALICE, "alice") / "array"
    array.write_bytes(bytes(4096))
    os.sync()
    with array.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
        for number in range(4):  # another process's sync may spoil one of them
            mapped[0] = number + 1
            time.sleep(2.1)
            site.run(hub_state=False)
            mapped[1] = number + 1  # the page is still in memory: without a sync, this write would leave no trace
            assert actions(site.run(hub_state=False)) == {ALICE: "backed_up"}


def test_the_backup_of_the_hubs_state_is_complete(site: Site, tmp_path: Path) -> None:
    for digest in ("old", "abc"):
        (site.config / f"config-{digest}").mkdir()
        (site.config / f"config-{digest}" / "jupyterhub_config.py").write_text(f"# {digest}\n", encoding="utf-8")
    image = images.make(site.client, IMAGE, {})
    environment = {"DOCKER_NOTEBOOK_IMAGE": IMAGE, "CONFIGPROXY_AUTH_TOKEN": "secret"}
    labels = {LABEL_HUB: HUB, LABEL_CONFIG: "abc"}
    site.client.create_container(IMAGE, "/bin/sh", name=HUB, labels=labels, environment=environment)
    try:
        site.run()
    finally:
        site.client.remove_container(HUB)
        site.client.remove_image(IMAGE)
    (backup,) = site.backups("hub")
    back = extract(backup.archive_path, tmp_path / "back")

    assert backup.manifest.kind == "hub"
    assert verify.verify(backup).good
    assert sorted(os.listdir(back)) == ["config", "jupyterhub.sqlite", "secrets", "state.json"]
    assert (back / "secrets" / "cookie_secret").read_text(encoding="utf-8") == "secret\n"
    assert (back / "config" / "jupyterhub_config.py").read_text(encoding="utf-8") == "# abc\n"
    with sqlite3.connect(back / "jupyterhub.sqlite") as database:
        assert database.execute("SELECT name FROM users").fetchall() == [("alice",)]
    state = json.loads((back / "state.json").read_text(encoding="utf-8"))
    assert state["environment"] == {"DOCKER_NOTEBOOK_IMAGE": IMAGE}
    assert state["images"] == {purpose: {"name": IMAGE, "id": image} for purpose in ("hub", "notebook")}
    assert (state["hub"], state["config"]) == (HUB, "abc")


# Each transaction changes pages in the whole file, including the index: a plain copy is nearly always inconsistent.
WRITER = """
import os, random, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60)
database.execute("PRAGMA synchronous = OFF")
with database:
    database.execute("CREATE TABLE load (key INTEGER PRIMARY KEY, name TEXT)")
    database.execute("CREATE INDEX names ON load (name)")
    database.executemany("INSERT INTO load (name) VALUES (?)", ((os.urandom(300).hex(),) for _ in range(5000)))
print("begins", flush=True)
while True:
    with database:
        changes = [(os.urandom(300).hex(), random.randint(1, 5000)) for _ in range(100)]
        database.executemany("UPDATE load SET name = ? WHERE key = ?", changes)
"""


def test_each_copy_of_a_database_in_use_is_consistent(site: Site, tmp_path: Path) -> None:
    source = site.client.inspect_volume(f"{HUB}-data")["Mountpoint"] + "/jupyterhub.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, source], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout
        writer.stdout.readline()
        copies = [tmp_path / f"copy{number}" for number in range(25)]
        for copy in copies:
            hub_state.copy_database(source, str(copy))
            with sqlite3.connect(copy) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert database.execute("SELECT count(*) FROM load").fetchall() == [(5000,)]
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    assert len({copy.read_bytes() for copy in copies}) > 10  # it was written to during the copies


def test_one_failure_does_not_stop_the_others_and_is_named(site: Site) -> None:
    site.volume(ALICE, "alice")
    site.volume(BOB, "bob", driver_opts={"type": "tmpfs", "device": "tmpfs"})
    os.unlink(site.client.inspect_volume(f"{HUB}-data")["Mountpoint"] + "/jupyterhub.sqlite")
    with pytest.raises(modules.ModuleError) as error:
        site.run(volumes=[ALICE, BOB, "no-such-volume"])

    assert str(error.value).startswith("3 of 4 backups failed, 1 are up to date: hub: the hub's database ")
    assert f"{BOB}: only a container can read it, and there is no hub container {HUB} on this" in str(error.value)
    assert "no-such-volume: volume no-such-volume does not exist on this host" in str(error.value)
    assert error.value.result["changed"]
    assert len(site.backups(ALICE)) == 1
    assert os.listdir(site.directory / "hub") == []


def test_the_playbook_backs_up_and_shows_each_volume_and_the_totals(site: Site, tmp_path: Path) -> None:
    (site.volume(ALICE, "alice") / "file").write_bytes(b"x")
    settings = tmp_path / "settings.json"
    asked = {"jupyterhub_name": HUB, "jupyterhub_config_dir": str(site.config), "jupyterhub_backup_keep": {"last": 1}}
    settings.write_text(json.dumps({**asked, "jupyterhub_backup_dir": str(site.directory)}), encoding="utf-8")

    def play(*arguments: str, fails: bool = False) -> str:
        command = [
            "ansible-playbook",
            "backup.yml",
            "-i",
            "examples/inventory/hosts.yml",
            "-e",
            f"@{settings}",
            *arguments,
        ]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stdout

    checked = play("--check")
    assert "would be backed up: 2, unchanged: 0" in checked
    assert not site.directory.exists()

    copies = tmp_path / "copies"
    first = play("-e", f"jupyterhub_backup_fetch_to={copies}")
    assert f"    {ALICE}: " in first
    assert f"backed up: 2, unchanged: 0, in {site.directory}" in first
    assert "changed=3 " in first
    assert f", here already: 0, in {copies}/localhost" in first
    assert "fetched: 2" in first
    assert len(store.backups_in(f"{copies}/localhost", ALICE)) == 1

    failed = play("-e", json.dumps({"jupyterhub_backup_volumes": [ALICE, "no-such-volume"]}), fails=True)
    assert "  NOT BACKED UP: volume no-such-volume: does not exist on this host; `docker volume ls` " in failed
    assert "1 of 3 backups failed; the lines with NOT BACKED UP above say why." in " ".join(failed.split())
    assert "sha256" not in failed, "the module's result is shown as data"
