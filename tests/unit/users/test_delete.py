"""What stops the deletion of a user's volume (tests/integration/users/test_delete.py deletes users on a real hub)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.storage import Storage
from ansible.module_utils.jupyterhub_deploy.users import delete
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal

import jupyterhub_user
from support.factories.backups import ROOT, joined, member, pax, put

VOLUME = Volume("lab-user-bob", "bob", "local", {}, {}, "/volumes/lab-user-bob/_data")
BY_NAME = {"Type": "volume", "Name": VOLUME.name, "Source": VOLUME.mountpoint}
BY_PATH = {"Type": "bind", "Source": VOLUME.mountpoint}
BELOW = {"Type": "bind", "Source": f"{VOLUME.mountpoint}/course"}
BESIDE = {"Type": "bind", "Source": f"{VOLUME.mountpoint}-2"}


class Client:
    """As much of a Docker client as the check uses."""

    def __init__(self, *containers: dict[str, Any]) -> None:
        self.listed = containers

    def containers(self, filters: dict[str, Any] | None = None, **_: Any) -> list[dict[str, Any]]:
        """Docker finds the containers of a volume by its name only."""
        name = (filters or {}).get("volume")
        return [one for one in self.listed if not name or any(mount.get("Name") == name for mount in one["Mounts"])]


def removal(state: str, mount: dict[str, Any]) -> Removal:
    made = object.__new__(Removal)
    made.user = "bob"
    made.client = Client({"Id": "1", "Names": ["/other"], "State": state, "Mounts": [mount], "Labels": {}})
    return made


@pytest.mark.parametrize("mount", [BY_NAME, BY_PATH, BELOW], ids=["by name", "by path", "a part of it"])
@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_a_volume_in_use_is_not_deleted(state: str, mount: dict[str, Any]) -> None:
    with pytest.raises(DeployError, match=r"^volume lab-user-bob is in use by container other; nothing of bob was"):
        removal(state, mount).check_unused(VOLUME)


@pytest.mark.parametrize(("state", "mount"), [("exited", BY_NAME), ("created", BY_PATH), ("running", BESIDE)])
def test_an_unused_volume_may_be_deleted(state: str, mount: dict[str, Any]) -> None:
    removal(state, mount).check_unused(VOLUME)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([member(b"./null", kind=b"3")], "it is a character device"),
        ([pax((b"comment", b"hello")), member(b"./a", b"text")], "its extended header has comment"),
    ],
)
def test_a_backup_that_a_restore_would_refuse_keeps_the_user(parts: list[bytes], why: str, tmp_path: Path) -> None:
    backup = put(tmp_path, joined([ROOT, *parts]), 2)
    made = object.__new__(Removal)
    made.user, made.directory = "bob", str(tmp_path)
    volume = VOLUME._replace(name=str(backup.manifest.volume), mountpoint=str(tmp_path))

    with pytest.raises(DeployError, match=f"{why}.*; nothing of bob was deleted"):
        made.check_backup(volume)


def test_backups_are_read_before_the_volumes_are_compared_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes minutes, in which a user may start the server again and save a file."""
    volumes, done = [VOLUME, VOLUME._replace(name="lab-other")], list[str]()
    made = object.__new__(Removal)
    monkeypatch.setattr(made, "volumes", lambda: volumes)
    monkeypatch.setattr(made, "archive_backups", list)
    for step in ("check_directories", "check_stopped", "delete_at_hub"):
        monkeypatch.setattr(made, step, lambda: None)
    for step in ("check_backup", "check_unused", "check_backed_up", "remove_volume"):
        monkeypatch.setattr(made, step, lambda volume, step=step: done.append(step))
    made.delete()
    assert done == [*["check_backup"] * 2, *["check_unused", "check_backed_up"] * 2, *["remove_volume"] * 2]


def test_a_directory_that_the_next_user_would_get_keeps_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Storage("", [f"{tmp_path}/{{username}}", "lab-user-{username}"])
    monkeypatch.setattr(delete, "inspect_container", lambda client, name: {"Name": f"/{name}"})
    monkeypatch.setattr(delete.storage, "read", lambda container: where)
    made = object.__new__(Removal)
    made.client, made.hub, made.user, made.keep_directories = None, "lab", "bob.b", False
    made.check_directories()

    home = tmp_path / "bob-2eb"
    home.mkdir()
    for action in (made.check_directories, made.stop, made.delete):
        with pytest.raises(DeployError, match=f"bob.b has the directory {home}, .* nothing of bob.b was deleted; move"):
            action()
    made.keep_directories = True
    made.check_directories()


class Nobody(Removal):
    """A user who is not at a hub that has others."""

    def __init__(self, user: str, users: list[str], accounts: list[str]) -> None:
        self.hub, self.user = "lab", user
        self.api: Any = SimpleNamespace(users=lambda state: iter([{"name": name} for name in users]))
        self.accounts: Any = SimpleNamespace(request=lambda action, name: {"exists": name in accounts})

    def exists(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("user", "users", "accounts", "similar"),
    [
        ("Alice", ["bob"], ["alice", "bob"], "alice"),  # she signed up, and never signed in
        (" alice", ["bob", "alice"], [], "alice"),
        ("github:alice", ["github:Alice"], [], "github:Alice"),
    ],
)
def test_a_name_in_another_spelling_is_an_error(user: str, users: list[str], accounts: list[str], similar: str) -> None:
    message = f"^hub lab has no user '{user}', but {similar}; nothing was deleted; .* pass -e user={similar}$"
    for check_mode in (False, True):
        with pytest.raises(DeployError, match=message):
            jupyterhub_user.delete(Nobody(user, users, accounts), "/nowhere", check_mode)


def test_a_user_who_is_deleted_already_is_not_an_error() -> None:
    done = jupyterhub_user.delete(Nobody("alice", ["bob", "alice2"], ["bob"]), "/nowhere", check_mode=False)
    assert done["changed"] is False
    assert "hub lab has no user alice, and there are no volumes" in done["messages"][0]
