"""The restore module on real Docker volumes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.backup import reader, store
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import LONGEST_NAME
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, users_volumes
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.restore import extract as restore_tree
from ansible.module_utils.jupyterhub_deploy.restore import swap as restore_swap
from ansible.module_utils.jupyterhub_deploy.restore.host import Host
from ansible.module_utils.jupyterhub_deploy.restore.select import Job
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers

import jupyterhub_backup
import jupyterhub_backup_verify
import jupyterhub_old_data
import jupyterhub_restore
from hosts.run import name as run_name
from support.factories import images
from support.factories import tree as odd_tree
from support.factories.backups import ROOT, joined, member, padded, pax, put, put_tree, record
from support.long_runs import Times
from support.modules import ModuleError, run

ROOT_OF_PROJECT = Path(__file__).resolve().parents[3]
OLDER, NEWER = "20261122T014440Z", "20261123T014440Z"


class RestoreSite:
    """A hub's volumes on real Docker, and its directory of backups. No hub runs."""

    def __init__(self, directory: Path) -> None:
        self.client: Any = docker.APIClient(version="auto")
        self.hub = run_name(f"restore-{secrets.token_hex(2)}")
        self.directory = directory / "backups"
        self.directory.mkdir()

    def name(self, user: str = "alice") -> str:
        return f"{self.hub}-user-{user}"

    def volume(self, user: str = "alice", **more: Any) -> Path:
        """Make a user's volume with old data in it; return where they are."""
        labels = more.pop("labels", {LABEL_HUB: self.hub, LABEL_USER: user})
        data = Path(self.client.create_volume(self.name(user), labels=labels, **more)["Mountpoint"])
        (data / "old").write_text("old")
        return data

    def put(self, text: bytes = b"new", user: str = "alice", **more: Any) -> Any:
        """Write a backup of a volume with one file."""
        content = joined([ROOT, member(b"./file", text)])
        return put(self.directory, content, 2, hub=self.hub, user=user, **{"volume": self.name(user), **more})

    def run(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run(jupyterhub_restore, check=check, **{"name": self.hub, "directory": str(self.directory), **arguments})

    def restore(self, **arguments: Any) -> dict[str, Any]:
        return self.run(**{"state": "restored", "users": ["alice"], **arguments})

    def volumes(self) -> list[str]:
        """Return the names of the volumes that look like those of the hub's users."""
        found = self.client.volumes(filters={"name": self.hub})["Volumes"] or []
        return [one.name for one in users_volumes(self.hub, [Volume.of(one) for one in found])]

    def clean(self) -> None:
        for one in self.client.containers(all=True, filters={"name": self.hub}):
            self.client.remove_container(one["Id"], force=True)
        for one in self.client.volumes(filters={"name": self.hub})["Volumes"] or []:
            self.client.remove_volume(one["Name"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RestoreSite]:
    made = RestoreSite(tmp_path)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    client: Any = docker.APIClient(version="auto")
    name = run_name("restore-image:1")
    images.make(client, name, {})
    yield name
    client.remove_image(name, force=True)


def start(site: RestoreSite, image: str, volume: str, name: str = "holder") -> str:
    """Start a container that has a volume and waits."""
    host_config = site.client.create_host_config(binds=[f"{volume}:/data"])
    made = f"{site.hub}-{name}"
    site.client.create_container(
        image, ["sh", "-c", "read x"], name=made, stdin_open=True, host_config=host_config, user="0"
    )
    site.client.start(made)
    return made


def test_all_oddities_come_back_to_a_volume(site: RestoreSite, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    odd_tree.make(tree)
    data = site.volume()
    put_tree(site.directory, tree, compression="zstd", hub=site.hub, volume=site.name())

    result = site.restore()

    assert odd_tree.describe(data) == odd_tree.describe(tree)
    (done,) = result["restored"]
    assert Path(done["old_data"], "old").read_text() == "old"
    assert done["old_data"] in result["messages"][0]
    assert result["changed"] is True
    subprocess.run(["rm", "-rf", tree], check=True)


def test_docker_does_not_mind_what_lies_beside_the_data(site: RestoreSite, image: str) -> None:
    site.volume()
    site.put()
    before = site.client.inspect_volume(site.name())
    site.restore()

    # Docker 20.10 takes the time of the directory for that of its making.
    assert {**site.client.inspect_volume(site.name()), "CreatedAt": ""} == {**before, "CreatedAt": ""}
    assert [one["Name"] for one in site.client.volumes(filters={"name": site.hub})["Volumes"]] == [site.name()]
    container = start(site, image, site.name())
    code = site.client.exec_create(container, ["sh", "-c", 'read x < /data/file; test "$x" = new'])
    site.client.exec_start(code)
    assert site.client.exec_inspect(code)["ExitCode"] == 0
    site.client.remove_container(container, force=True)
    home = Path(before["Mountpoint"]).parent
    site.client.remove_volume(site.name())
    assert not home.exists()


def test_a_volume_that_is_not_there_is_made_with_its_labels(site: RestoreSite) -> None:
    site.put(labels={"other": "kept"})

    (done,) = site.restore()["restored"]

    found = site.client.inspect_volume(site.name())
    assert found["Labels"] == {LABEL_HUB: site.hub, LABEL_USER: "alice", "other": "kept"}
    assert done["created"] is True
    assert done["old_data"] is None
    assert os.listdir(Path(found["Mountpoint"]).parent) == ["_data"]


def test_another_user_can_get_the_data(site: RestoreSite) -> None:
    site.put()
    mine = site.volume()

    (done,) = site.restore(to_user="bob.b")["restored"]

    assert done["volume"] == f"{site.hub}-user-bob-2eb"
    assert site.client.inspect_volume(done["volume"])["Labels"][LABEL_USER] == "bob.b"
    assert os.listdir(mine) == ["old"]


def test_a_volume_from_before_this_deployment_is_its_users_by_its_name(site: RestoreSite) -> None:
    """It has no labels, and Docker cannot give it any; lost and restored, it is still backed up and found."""
    data = site.volume(labels={})
    backup: dict[str, Any] = {"name": site.hub, "directory": str(site.directory), "hub_state": False}
    for _ in range(2):
        (made,) = run(jupyterhub_backup, **backup)["results"]
        assert (made["name"], made["action"]) == (site.name(), "backed_up")
        assert [one["volume"] for one in site.run(users=["alice"])["backups"]]
        assert [
            one["backup"]
            for one in run(jupyterhub_backup_verify, name=site.hub, directory=str(site.directory), users=["alice"])[
                "results"
            ]
        ]
        site.client.remove_volume(site.name())
        (done,) = site.restore()["restored"]
        assert (done["volume"], done["created"]) == (site.name(), True)
        assert os.listdir(data) == ["old"]
    kept = site.restore()["restored"][0]["old_data"]
    (old,) = run(jupyterhub_old_data, name=site.hub, users=["alice"])["old_data"]
    assert kept == f"{old['path']}/_data"
    assert run(jupyterhub_old_data, name=site.hub, users=["bob"])["old_data"] == []


def test_a_disk_that_is_mounted_read_only_can_be_restored_from(site: RestoreSite) -> None:
    data = site.volume()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", site.directory], check=True)
    try:
        site.put()
        subprocess.run(["mount", "-o", "remount,ro", site.directory], check=True)
        assert [one["backup"] for one in site.run()["backups"]] == [NEWER]
        site.restore()
    finally:
        subprocess.run(["umount", site.directory], check=True)
    assert (data / "file").read_text() == "new"


def test_the_newest_or_a_named_backup_is_taken(site: RestoreSite) -> None:
    data = site.volume()
    site.put(b"newer", stem=NEWER)
    site.put(b"older", stem=OLDER)

    site.restore()
    assert (data / "file").read_text() == "newer"
    site.restore(backup=OLDER)
    assert (data / "file").read_text() == "older"
    with pytest.raises(ModuleError, match="there is no backup 20261121T014440Z of volume"):
        site.restore(backup="20261121T014440Z")


def test_a_newest_backup_that_is_damaged_is_not_passed_over(site: RestoreSite) -> None:
    data = site.volume()
    site.put(b"older", stem=OLDER)
    newest = site.put(b"newer", stem=NEWER)
    Path(newest.archive_path).write_bytes(b"short")

    with pytest.raises(ModuleError, match=rf"has 5 bytes instead of \d+; name another backup of {site.name()}"):
        site.restore()

    assert os.listdir(data) == ["old"]


@pytest.mark.parametrize("check", [True, False])
def test_a_volume_in_use_is_refused(site: RestoreSite, image: str, check: bool) -> None:
    data = site.volume()
    site.put()
    container = start(site, image, site.name())

    with pytest.raises(ModuleError, match=rf"{site.name()} is in use by container {container}; ") as refused:
        site.restore(check=check)
    assert "or run `make restore ARGS='-e user=alice -e stop_servers=true'`, which stops it" in str(refused.value)
    site.client.pause(container)
    with pytest.raises(ModuleError, match="is in use by container"):
        site.restore(check=check)
    site.client.unpause(container)
    assert os.listdir(data) == ["old"]

    site.client.kill(container)
    site.restore()
    assert (data / "file").read_text() == "new"


def test_servers_are_stopped_through_the_hub_when_asked(
    site: RestoreSite, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the hub does then is tried in test_servers.py; here only who is stopped, and what follows.
    data = site.volume()
    site.put()
    container, other = start(site, image, site.name()), start(site, image, f"{site.hub}-other", "other")
    stopped = []

    def stop(api: object, server: dict[str, str], timeout: float) -> None:
        stopped.append(server["container"])
        if server["container"] == container:
            site.client.kill(container)

    both = [{"container": container, "user": "alice"}, {"container": other, "user": "bob"}]
    monkeypatch.setattr(hub_api, "connect", lambda client, hub, token_file: (hub, token_file))
    monkeypatch.setattr(servers, "observe", lambda client, api, hub, current: both)
    monkeypatch.setattr(servers, "recheck", lambda client, api, server, policy, idle: (server, True, ""))
    monkeypatch.setattr(servers, "stop", stop)

    assert site.restore(check=True, stop_servers=True, token_file="/x")["changed"] is True
    assert stopped == []
    result = site.restore(stop_servers=True, token_file="/x")
    assert result["changed"] is True
    assert "; stopped the server of alice; start it again on the hub's page" in result["messages"][0]
    assert stopped == [container]
    assert (data / "file").read_text() == "new"

    site.client.start(container)
    monkeypatch.setattr(servers, "observe", lambda client, api, hub, current: [])
    with pytest.raises(ModuleError, match=f"in use by container {container}; .*stop it yourself"):
        site.restore(stop_servers=True, token_file="/x")


def test_a_mount_of_the_same_files_by_their_path_counts_too(site: RestoreSite, image: str) -> None:
    data = site.volume()
    site.put()
    (data / "sub").mkdir()
    start(site, image, str(data / "sub"))

    with pytest.raises(ModuleError, match="is in use by container"):
        site.restore()


def test_a_container_that_starts_while_tar_extracts_is_refused(
    site: RestoreSite, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = site.volume()
    site.put()
    extract = restore_tree.extract

    def slow(*arguments: Any) -> Content:
        start(site, image, site.name())
        return extract(*arguments)

    monkeypatch.setattr(restore_tree, "extract", slow)
    with pytest.raises(ModuleError, match="it was started meanwhile"):
        site.restore()

    assert os.listdir(data) == ["old"]
    assert os.listdir(data.parent) == ["_data"]


def test_a_container_that_starts_in_the_moment_of_the_swap_keeps_its_files(
    site: RestoreSite, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = site.volume()
    site.put()
    swap = restore_swap.swap

    def slow(home: str) -> None:
        start(site, image, site.name())
        swap(home)

    monkeypatch.setattr(restore_swap, "swap", slow)
    with pytest.raises(ModuleError, match=r"began to use volume .* in the moment of the swap"):
        site.restore()

    assert os.listdir(data) == ["old"]
    assert os.listdir(data.parent) == ["_data"]


def test_a_container_that_starts_after_the_swap_does_not_matter(
    site: RestoreSite, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = site.volume()
    site.put()
    swap = restore_swap.swap

    def quick(home: str) -> None:
        swap(home)
        start(site, image, site.name())

    monkeypatch.setattr(restore_swap, "swap", quick)
    site.restore()

    assert os.listdir(data) == ["file"]


def test_a_volume_of_somebody_else_is_not_touched(site: RestoreSite) -> None:
    data = site.volume(labels={LABEL_HUB: site.hub, LABEL_USER: "bob"})
    site.put()

    with pytest.raises(ModuleError, match=f"{site.name()} belongs to bob .*, not to alice"):
        site.restore()

    assert os.listdir(data) == ["old"]


def test_a_volume_with_options_is_refused(site: RestoreSite, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    options = {"type": "none", "o": "bind", "device": str(tmp_path / "there")}
    site.client.create_volume(site.name(), driver_opts=options)
    site.put()

    with pytest.raises(ModuleError, match="only volumes of driver local without options"):
        site.restore()


def test_old_data_are_kept_until_told_otherwise(site: RestoreSite) -> None:
    data = site.volume()
    site.put()

    (done,) = site.restore(keep_old=False)["restored"]

    assert done["old_data"] is None
    assert os.listdir(data.parent) == ["_data"]


def test_one_failure_does_not_stop_the_others(site: RestoreSite) -> None:
    site.put(user="alice")
    site.put(user="bob", damage=lambda archive: archive[:-1] + b"x")

    with pytest.raises(ModuleError, match=r"2 of 3 volumes could not be restored: .*user carol.*checksum") as failed:
        site.restore(users=["alice", "bob", "carol"])

    assert [one["user"] for one in failed.value.result["restored"]] == ["alice"]
    # A volume that was made for a restore that failed is gone again.
    assert [one["Name"] for one in site.client.volumes(filters={"name": site.hub})["Volumes"]] == [site.name()]


def test_two_are_restored_at_the_same_time(site: RestoreSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("alice", "bob"):
        site.put(user=user)
    both, extract = threading.Barrier(2), restore_tree.extract

    def together(*arguments: Any) -> Content:
        both.wait(30)
        return extract(*arguments)

    monkeypatch.setattr(restore_tree, "extract", together)
    done = site.restore(users=["bob", "alice"])["restored"]
    assert [one["user"] for one in done] == ["alice", "bob"]
    with pytest.raises(ModuleError, match="parallel is 0; set it to 1 or more"):
        site.restore(parallel=0)


def test_a_volume_that_was_made_for_a_restore_that_fails_is_removed(
    site: RestoreSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    monkeypatch.setattr(restore_tree, "EXTRACT", ["false"])

    with pytest.raises(ModuleError, match="tar failed with exit code 1"):
        site.restore()

    assert not site.client.volumes(filters={"name": site.hub})["Volumes"]


@pytest.fixture
def killing_tar(tmp_path: Path) -> Path:
    """A directory with a program ``tar`` that kills the process that starts it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tar").write_text("#!/bin/sh\nkill -9 $PPID\n")
    (folder / "tar").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("tar", "nothing"),
        ("create_volume:1", "nothing"),  # of the staging volume
        ("create_volume:2", "an empty volume"),
        ("containers:2", "the data"),  # after the swap
    ],
)
def test_a_killed_restore_to_a_new_volume_leaves_nothing_that_looks_like_a_users_volume(
    step: str, left: str, site: RestoreSite, tmp_path: Path, killing_tar: Path
) -> None:
    site.put()
    given = tmp_path / "arguments.json"
    given.write_text(
        json.dumps({"name": site.hub, "directory": str(site.directory), "state": "restored", "users": ["alice"]})
    )
    program, path = ROOT_OF_PROJECT / "tests/support/killed_run.py", os.environ["PATH"]
    command = [sys.executable, str(program), "jupyterhub_restore", "99" if step == "tar" else step, str(given)]
    environment = {**os.environ, "PATH": f"{killing_tar}:{path}" if step == "tar" else path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert site.volumes() == ([] if left == "nothing" else [site.name()])
    other = tmp_path / "other"  # site.directory has a backup of the volume

    def back_up() -> list[str]:
        made = run(jupyterhub_backup, name=site.hub, directory=str(other), hub_state=False)
        return [str(one["action"]) for one in made["results"]]

    if left == "an empty volume":
        with pytest.raises(ModuleError, match="is empty, because its restore was interrupted; restore it again, or"):
            back_up()
    else:
        assert back_up() == ([] if left == "nothing" else ["backed_up"])

    result = site.restore()

    assert result["restored"][0]["created"] is (left != "the data")
    assert site.volumes() == [site.name()]
    assert "removed after an interrupted restore" in result["messages"][0]
    found = site.client.inspect_volume(site.name())
    assert Path(found["Mountpoint"], "file").read_text() == "new"
    assert found["Labels"] == {LABEL_HUB: site.hub, LABEL_USER: "alice"}
    assert [one["Name"] for one in site.client.volumes(filters={"name": site.hub})["Volumes"]] == [site.name()]
    assert back_up() == ["backed_up"]


def test_a_volume_that_is_created_during_its_restore_is_not_replaced(
    site: RestoreSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    extract = restore_tree.extract

    def with_a_new_volume(*arguments: Any) -> Content:
        site.volume()
        return extract(*arguments)

    monkeypatch.setattr(restore_tree, "extract", with_a_new_volume)
    with pytest.raises(ModuleError, match="was created meanwhile; nothing was restored to it; try again"):
        site.restore()

    (found,) = site.client.volumes(filters={"name": site.hub})["Volumes"]
    assert os.listdir(found["Mountpoint"]) == ["old"]


def test_a_restore_in_progress_keeps_its_staging_volume(site: RestoreSite, tmp_path: Path) -> None:
    site.put(user="alice")
    site.put(user="bob")
    host = Host(site.client, site.hub)
    (backup,) = store.backups_in(str(site.directory), site.name())
    with host.staging_volume(Job(backup, site.name(), "alice")) as (home, _):
        site.restore(users=["bob"])
        assert os.path.isdir(home)
    assert not os.path.exists(home)


def test_every_volume_has_to_be_said(site: RestoreSite) -> None:
    site.put(user="alice")
    site.put(user="bob")

    with pytest.raises(ModuleError, match="every_volume=true"):
        site.restore(users=[])
    assert len(site.restore(users=[], every_volume=True)["restored"]) == 2
    assert len(site.restore(users=[], volumes=[site.name("bob")])["restored"]) == 1


def test_check_mode_writes_nothing(site: RestoreSite) -> None:
    data = site.volume()
    site.put()
    site.put(user="bob")
    before = sorted(site.directory.rglob("*"))

    result = site.restore(check=True, users=["alice", "bob"])

    assert result["changed"] is True
    assert [one["created"] for one in result["restored"]] == [False, True]
    assert "would be restored" in result["messages"][0]
    assert os.listdir(data) == ["old"]
    assert os.listdir(data.parent) == ["_data"]
    assert len(site.client.volumes(filters={"name": site.hub})["Volumes"]) == 1
    assert sorted(site.directory.rglob("*")) == before


def test_the_list_says_what_can_be_restored(site: RestoreSite) -> None:
    site.put(stem=OLDER)
    site.put(stem=NEWER, damage=lambda archive: archive[:-1] + b"x")
    (site.directory / site.name() / "20261124T014440Z.json").write_text("{")

    found = site.run(verify=True)

    assert [(one["backup"], one["user"], one["verified"]) for one in found["backups"]] == [
        (OLDER, "alice", True),
        (NEWER, "alice", False),
    ]
    assert "checksum" in found["backups"][1]["fault"]
    assert found["backups"][0]["time"] == "2026-11-22T01:44:40+00:00"
    assert "is not JSON" in found["faults"][0]
    assert site.run(users=["bob"])["backups"] == []
    assert site.run()["backups"][0]["verified"] is None
    assert not (site.directory / ".lock").exists()
    with pytest.raises(ModuleError):
        run(jupyterhub_backup_verify, name=site.hub, directory=str(site.directory))
    for known in (found, site.run()):
        good, bad = (one["message"].split("  ", 3) for one in known["backups"])
        assert good == ["alice", OLDER, site.name(), "good"]
        assert bad[3].startswith("NOT GOOD: archive ")


def test_backups_on_a_disk_that_is_mounted_read_only_are_verified_and_restored(site: RestoreSite) -> None:
    site.put()
    directory = str(site.directory)
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (site.directory / "file").touch()
        verified = run(jupyterhub_backup_verify, name=site.hub, directory=directory)
        assert (verified["totals"]["good"], verified["changed"]) == (1, True)
        (done,) = site.restore()["restored"]
    finally:
        subprocess.run(["umount", directory], check=True)
    assert done["volume"] == site.name()
    assert not list(site.directory.rglob("*.verified"))


def cut(size: int) -> Any:
    return lambda archive: archive[:size]


def test_what_the_backup_module_makes_can_be_restored(site: RestoreSite) -> None:
    data = site.volume()
    odd_tree.make(data)
    before = odd_tree.describe(data)
    arguments: dict[str, Any] = {"name": site.hub, "directory": str(site.directory), "hub_state": False}
    for compression in ("none", "gzip", "zstd"):
        run(jupyterhub_backup, **arguments, compression=compression, force=True)
        (data / "later").touch()

        (done,) = site.restore(keep_old=False)["restored"]

        assert odd_tree.describe(data) == before
        assert done["entries"] == len(before)


def test_thousands_of_files_and_a_path_of_a_thousand_levels_come_back(site: RestoreSite, times: Times) -> None:
    data = site.volume()
    files = times(5_000, 50_000)
    odd_tree.make(data, levels=1200, tiny=files)
    before = odd_tree.describe(data)
    assert len(before) > files + 1200
    run(jupyterhub_backup, name=site.hub, directory=str(site.directory), hub_state=False)
    assert any(site.directory.rglob("*.json"))

    (done,) = site.restore(keep_old=False)["restored"]

    assert odd_tree.describe(data) == before
    assert done["sockets"] == ["./socket"]
    assert "; without sockets, which no archive can hold: ./socket" in done["message"]


def test_a_path_that_no_tar_can_extract_does_not_keep_the_rest_from_coming_back(site: RestoreSite) -> None:
    data = site.volume()
    part = b"p" * 200
    odd_tree.make_deep(bytes(data), [part] * 20, b"e" * (LONGEST_NAME - 2 - 20 * 201))
    odd_tree.make_deep(bytes(Path(data, *["p" * 200] * 10)), [b"q" * 200] * 12)
    (data / "zz").write_text("after it")
    before = odd_tree.describe(data)
    arguments: dict[str, Any] = {"name": site.hub, "directory": str(site.directory), "hub_state": False}
    (made,) = run(jupyterhub_backup, **arguments)["results"]
    (name,) = made["unrestorable"]
    assert name.startswith("./ppp")
    assert name.endswith("… (4223 bytes)")
    (manifest,) = site.directory.rglob("*.json")
    assert json.loads(manifest.read_text())["unrestorable"] == [name]
    (data / "zz").write_text("to be replaced")

    (done,) = site.restore(keep_old=False)["restored"]

    (left_out,) = done["left_out"]
    assert left_out.startswith("./ppp")
    assert "; without 3 entries with paths too long for any tar to extract: ./ppp" in done["message"]
    after = odd_tree.describe(data)
    assert after == {path: facts for path, facts in before.items() if len(path) <= LONGEST_NAME}
    assert len(before) - len(after) == 3


def described(home: Path) -> dict[bytes, Any]:
    """Describe a volume's directory, except the time of change that a staging directory leaves when it is removed."""
    found = odd_tree.describe(home)
    del found[b"."]["mtime"]
    return found


WRONG: dict[str, dict[str, Any]] = {
    "cut at a member": {"damage": cut(512)},
    "cut in a member": {"damage": cut(1100)},
    "a bit flipped": {"damage": lambda archive: archive[:600] + bytes([archive[600] ^ 1]) + archive[601:]},
    "another checksum": {"sha256": "0" * 64},
    "another size": {"size": 1},
    "another count": {"members": 5},
    "another content size": {"content_size": 1 << 40},
    "another archive": {"archive": "20261122T014440Z.tar"},
    "a path": {"archive": "../../etc/20261123T014440Z.tar"},
    "another volume": {"volume_": "another-volume"},
    "another compression": {"compression_": "gzip"},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_damaged_archive_or_a_wrong_manifest_leaves_the_volume(case: str, site: RestoreSite) -> None:
    data = site.volume()
    wrong = dict(WRONG[case])
    damage = wrong.pop("damage", lambda archive: archive)
    backup = site.put()
    manifest = json.loads(Path(backup.manifest_path).read_text())
    manifest.update({key.rstrip("_"): value for key, value in wrong.items()})
    Path(backup.manifest_path).write_text(json.dumps(manifest))
    Path(backup.archive_path).write_bytes(damage(Path(backup.archive_path).read_bytes()))
    before = described(data.parent)

    with pytest.raises(ModuleError, match="could not be restored"):
        site.restore(users=[], volumes=[site.name()])

    assert described(data.parent) == before


def hostile(canary: bytes) -> dict[str, list[bytes]]:
    """Return archives that would write to a directory outside of the volume, or take something from it."""
    link = member(b"./s", kind=b"2", target=canary)
    return {
        "absolute": [member(canary + b"/x", b"x")],
        "up": [member(b"./../../../../../../../.." + canary + b"/x", b"x")],
        "up in pax": [pax((b"path", b"./../../../../../../../.." + canary + b"/x")), member(b"./x", b"x")],
        "through a link": [link, member(b"./s/x", b"x")],
        "hard link": [member(b"./h", kind=b"1", target=canary + b"/secret")],
        "hard link through a link": [link, member(b"./h", kind=b"1", target=b"./s/secret")],
        "hard link, then written": [member(b"./h", kind=b"1", target=canary + b"/secret"), member(b"./h", b"x")],
        "long name of GNU": [member(b"././@LongLink", canary + b"/x\0", kind=b"L"), member(b"./x", b"x")],
        "global header": [member(b"./g", record(b"path", canary + b"/x"), kind=b"g"), member(b"./x", b"x")],
        "device": [member(b"./d", kind=b"3", device=b"0000001\x000000003\0")],
        "sparse name": [
            pax(
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.name", canary + b"/x"),
                (b"GNU.sparse.realsize", b"1"),
            ),
            member(b"./GNUSparseFile.0/x", padded(b"1\n0\n1\n") + b"x"),
        ],
    }


@pytest.fixture
def canary(site: RestoreSite) -> Iterator[Path]:
    """A directory outside of all volumes, with a file that no archive may reach."""
    path = Path("/tmp", f"{site.hub}-canary")
    path.mkdir()
    (path / "secret").write_text("secret")
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.mark.parametrize("case", hostile(b"/c"))
def test_a_hostile_archive_leaves_everything_as_it_was(case: str, site: RestoreSite, canary: Path) -> None:
    parts = hostile(os.fsencode(canary))[case]
    data = site.volume()
    put(site.directory, joined([ROOT, *parts]), len(parts) + 1, hub=site.hub, volume=site.name())
    before = odd_tree.describe(canary), described(data.parent)

    with pytest.raises(ModuleError, match="is refused"):
        site.restore()

    assert (odd_tree.describe(canary), described(data.parent)) == before


@pytest.mark.parametrize("case", hostile(b"/c"))
def test_even_without_validation_nothing_outside_is_written(
    case: str, site: RestoreSite, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = hostile(os.fsencode(canary))[case]
    data = site.volume()
    put(site.directory, joined([ROOT, *parts]), len(parts) + 1, hub=site.hub, volume=site.name())
    before = odd_tree.describe(canary), odd_tree.describe(data)

    def not_validated(archive: int, backup: Backup, write: Callable[[bytes], object]) -> Content:
        write(Path(backup.archive_path).read_bytes())
        return Content(9, 9, 0, 0, 0, 0, 0)

    monkeypatch.setattr(reader, "validate", not_validated)

    with pytest.raises(ModuleError, match="tar "):
        site.restore()

    assert (odd_tree.describe(canary), odd_tree.describe(data)) == before
    assert os.listdir(data.parent) == ["_data"]


def test_the_playbook_lists_and_restores(site: RestoreSite, tmp_path: Path) -> None:
    data = site.volume()
    site.put()
    inventory = tmp_path / "hosts.yml"
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "jupyterhub_name": site.hub,
        "jupyterhub_backup_dir": str(site.directory),
    }
    inventory.write_text(json.dumps({"jupyterhub": {"hosts": {"localhost": host}}}))

    def play(*arguments: str, fails: bool = False) -> str:
        command = ["ansible-playbook", "-i", str(inventory), "restore.yml", *arguments]
        done = subprocess.run(command, cwd=ROOT_OF_PROJECT, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stdout

    shown = " ".join(play().split())  # Ansible wraps a message of one line
    assert f"alice {NEWER} {site.name()} not verified yet" in shown
    assert os.listdir(data) == ["old"]
    play("-e", "user=alice", "-e", f"backup={NEWER}", "-e", "keep_old=false", "-e", "to_user=bob")
    assert os.listdir(data) == ["old"]
    assert (data.parent.parent / site.name("bob") / "_data" / "file").read_text() == "new"

    put(
        site.directory,
        joined([ROOT, member(b"../out", b"bad")]),
        2,
        hub=site.hub,
        user="carol",
        volume=site.name("carol"),
    )
    output = play("-e", "user=alice,carol", fails=True)
    shown = " ".join(output.split())
    assert f"volume {site.name()}: restored from backup" in shown
    assert f"NOT RESTORED: carol: member ../out of archive {site.directory}/{site.name('carol')}/" in shown
    end = shown.rpartition("TASK [")[2]
    assert "1 of 2 volumes could not be restored; the lines with NOT RESTORED above say why" in end
    assert "failed_volumes" not in output, "the module's result is shown as data"
    assert "left_out" not in output


class TestOldData:
    """What restores have replaced is listed, and removed when asked to."""

    def old(self, site: RestoreSite, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run(jupyterhub_old_data, check=check, name=site.hub, **arguments)

    @pytest.fixture
    def restored(self, site: RestoreSite) -> dict[str, Path]:
        """Restore two users' volumes; return where their old data are."""
        kept = {}
        for user in ("alice", "bob"):
            site.volume(user)
            site.put(user=user)
            (done,) = site.restore(users=[user])["restored"]
            kept[user] = Path(done["old_data"]).parent
        return kept

    def test_it_is_listed_with_its_size(self, site: RestoreSite, restored: dict[str, Path]) -> None:
        result = self.old(site)
        assert result["changed"] is False
        assert [(one["user"], one["path"]) for one in result["old_data"]] == [
            (user, str(path)) for user, path in restored.items()
        ]
        assert all(one["size"] > 0 for one in result["old_data"])
        assert result["messages"][0].startswith(f"kept by a restore: {restored['alice']}, ")

    def test_check_mode_removes_nothing(self, site: RestoreSite, restored: dict[str, Path]) -> None:
        result = self.old(site, check=True, state="absent")
        assert result["changed"] is True
        assert result["messages"][0].startswith(f"would be removed: {restored['alice']}, ")
        assert (restored["alice"] / "_data" / "old").exists()

    def test_one_users_is_removed_and_nothing_else(self, site: RestoreSite, restored: dict[str, Path]) -> None:
        assert self.old(site, state="absent", users=["alice"])["changed"] is True
        assert not restored["alice"].exists()
        assert (restored["alice"].parent / "_data" / "file").read_bytes() == b"new"
        assert (restored["bob"] / "_data" / "old").exists()
        assert self.old(site, state="absent", users=["alice"])["changed"] is False

    def test_the_hubs_own_is_there_too_and_other_hubs_are_not(
        self, site: RestoreSite, restored: dict[str, Path]
    ) -> None:
        other = site.volume("carol", labels={LABEL_HUB: "another", LABEL_USER: "carol"})
        (other.parent / "before-20261123T020000Z").mkdir()
        data = Path(site.client.create_volume(f"{site.hub}-data")["Mountpoint"])
        (data.parent / "before-20261123T020000Z").mkdir()
        self.old(site, state="absent")
        assert not (data.parent / "before-20261123T020000Z").exists()
        assert (other.parent / "before-20261123T020000Z").exists()
        assert not restored["bob"].exists()

    def test_a_restore_that_goes_on_keeps_its_own(self, site: RestoreSite, restored: dict[str, Path]) -> None:
        with (
            restore_swap.locked(str(restored["alice"].parent)),
            pytest.raises(ModuleError, match="another run is restoring to"),
        ):
            self.old(site, state="absent", users=["alice"])
        assert restored["alice"].exists()
