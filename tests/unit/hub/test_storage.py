"""Where a hub keeps its data by its own report, and what of it backups and deletions do not cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import storage
from ansible.module_utils.jupyterhub_deploy.hub.storage import Storage

from jupyterhub_deploy_hub import container_settings
from jupyterhub_deploy_hub import storage as reported

CONFIG = "c.JupyterHub.db_url = 'sqlite:////data/other.sqlite'\n"
USERS = "lab-user-{username}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Docker's description of a hub that has just written its report."""
    (tmp_path / "data").mkdir()
    (tmp_path / "config").mkdir()
    config = tmp_path / "config" / "jupyterhub_config.py"
    config.write_text(CONFIG)
    config.with_name("settings.json").write_text("{}")
    described = {"database": "sqlite:////data/other.sqlite", "volumes": ["/srv/homes/{username}"]}
    monkeypatch.setattr(reported, "load_config", lambda path: {})
    monkeypatch.setattr(reported, "describe", lambda config: dict(described))
    reported.write(config, tmp_path / "data" / storage.FILE)
    mounts = {"/data": tmp_path / "data", "/etc/jupyterhub/config": tmp_path / "config"}
    return {
        "Name": "/lab",
        "Mounts": [{"Destination": target, "Source": str(source)} for target, source in mounts.items()],
    }


def test_the_host_reads_what_the_hub_has_written(hub: dict[str, Any]) -> None:
    assert reported.STORAGE_FILE.name == storage.FILE
    assert storage.read(hub) == Storage("sqlite:////data/other.sqlite", ["/srv/homes/{username}"])


@pytest.mark.parametrize("case", ["no file", "not JSON", "another configuration", "other settings", "no mounts"])
def test_what_is_not_known_is_not_guessed(hub: dict[str, Any], tmp_path: Path, case: str) -> None:
    file = tmp_path / "data" / storage.FILE
    if case == "no file":
        file.unlink()
    elif case == "not JSON":
        file.write_text("{")
    elif case == "another configuration":
        (tmp_path / "config" / "jupyterhub_config.py").write_text("")
    elif case == "other settings":
        (tmp_path / "config" / "settings.json").write_text('{"volume_prefix": "x"}')
    else:
        hub["Mounts"] = []
    with pytest.raises(
        DeployError,
        match=r"^the hub lab does not report where its data are: .*upgrade` replaces it. If .* restart the container$",
    ):
        storage.read(hub)


@pytest.mark.parametrize(
    "url",
    ["sqlite:////data/other.sqlite", "sqlite:///jupyterhub.sqlite", "postgresql://hub:***@db/hub", "sqlite://"],
)
def test_any_other_database_is_a_problem(url: str, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "read", lambda container: Storage(url, []))
    with pytest.raises(DeployError) as error:
        storage.check_database(hub)
    assert str(error.value).startswith(f"the hub's database is {url} (c.JupyterHub.db_url), and only ")


@pytest.mark.parametrize("url", [storage.DATABASE_URL, f"{storage.DATABASE_URL}?timeout=30"])
def test_the_deployments_own_database_is_none(url: str, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "read", lambda container: Storage(url, []))
    storage.check_database(hub)


def test_a_hub_that_does_not_say_which_database_it_uses_is_not_refused(hub: dict[str, Any]) -> None:
    storage.check_database({**hub, "Mounts": []})
    storage.check_database(None)


def test_directories_and_shared_volumes_are_not_backed_up() -> None:
    where = Storage("", [USERS, "/srv/homes/{username}", "/srv/data", "shared", "saved", "lab-work-{raw_username}"])
    found = storage.not_backed_up(where, {"saved", "lab-user-alice"})
    assert found == ["/srv/homes/{username}", "/srv/data", "shared"]
    assert storage.not_backed_up_message(found) == [
        "NOT BACKED UP, although servers use it: directory /srv/homes/{username}, directory /srv/data, volume shared; "
        "see docs/how-to/backup.md#what-is-not-backed-up"
    ]
    assert storage.not_backed_up_message(storage.not_backed_up(Storage("", [USERS]), [])) == []


@pytest.mark.parametrize(
    ("template", "user", "directory"),
    [
        ("homes/{username}", "bob", "homes/bob"),
        ("homes/{username}/", "bob", "homes/bob"),
        ("homes/{username}", "b.b", "homes/b-2eb"),
        ("homes/{username}", "b.b", "homes/b.b"),
        ("{raw_username}/work", "bob", "bob/work"),
        ("{safe_username}", "bob", "bob"),
        ("{raw_username}", "b*b", "b*b"),
        ("homes [1]/{username}", "bob", "homes [1]/bob"),
        ("{{homes}}/{username}", "bob", "{homes}/bob"),
        ("homes/{username}/{servername}", "bob", "homes/bob"),
        ("homes/{username}/{servername}", "bob", "homes/bob/course"),
        ("homes/{username}-{servername}", "bob", "homes/bob-"),
        ("{raw_servername}/{username}", "bob", ".course/bob"),
        ("{imagename}/{username}/{servername}", "bob", "notebook-1/bob/course"),
        ("{prefix}/{username}", "bob", "jupyter/bob"),
        ("{username[0]}/{username}", "bob", "b/bob"),
    ],
)
def test_the_directory_of_a_user(tmp_path: Path, template: str, user: str, directory: str) -> None:
    where = Storage("", [USERS, str(tmp_path), f"{tmp_path}/{template}"])
    for other in ("homes/alice/course", "bab", "notebook-1/alice"):
        (tmp_path / other).mkdir(parents=True)
    assert storage.directories_of(where, user) == []
    (tmp_path / directory).mkdir(parents=True)
    assert str(tmp_path / directory) in storage.directories_of(where, user)
    assert storage.directories_of(where, "carol") == []


def test_a_template_that_dockerspawner_does_not_fill_in_is_no_users() -> None:
    assert storage.directories_of(Storage("", ["/{username}/{"]), "bob") == []


class Spawner:
    """Stands for the classes of the hub image, which are not installed here."""


class DockerSpawner(Spawner):
    pass


class HubSpawner(DockerSpawner):
    pass


class Lazy:
    """``c.HubSpawner.volumes.update(…)``: traitlets applies it to the value of c.DockerSpawner.volumes."""

    def get_value(self, value: dict[str, str]) -> dict[str, str]:
        return {**value, "/srv/lazy": "/x"}


@pytest.mark.parametrize(
    ("config", "sources"),
    [
        ({"DockerSpawner": {"volumes": {USERS: "/home"}}}, [USERS]),
        ({"DockerSpawner": {"volumes": {USERS: "/home"}}, "HubSpawner": {"volumes": {"/srv": "/home"}}}, ["/srv"]),
        ({"DockerSpawner": {"read_only_volumes": {"/srv/data": "/data"}}}, ["/srv/data"]),
        ({"DockerSpawner": {"mounts": [{"type": "bind", "source": "/srv/m", "target": "/m"}]}}, ["/srv/m"]),
        ({"DockerSpawner": {"mounts": [{"type": "volume", "source": "shared", "target": "/m"}]}}, ["shared"]),
        ({"DockerSpawner": {"mounts": [{"type": "tmpfs", "source": "", "target": "/m"}]}}, []),
        ({"DockerSpawner": {"extra_host_config": {"binds": ["/srv/b:/b:ro"]}}}, ["/srv/b"]),
        ({"DockerSpawner": {"extra_host_config": {"binds": {"/srv/b": {"bind": "/b"}}}}}, ["/srv/b"]),
        ({"DockerSpawner": {"extra_host_config": {"mounts": [{"Type": "bind", "Source": "/srv/m"}]}}}, ["/srv/m"]),
        ({"DockerSpawner": {"volumes": Lazy()}}, ["/srv/lazy"]),
        ({"DockerSpawner": {"volumes": {USERS: "/home"}}, "HubSpawner": {"volumes": Lazy()}}, [USERS, "/srv/lazy"]),
        ({"DockerSpawner": {"extra_host_config": lambda spawner: {}}}, []),
        ({}, []),
    ],
)
def test_all_ways_to_give_servers_a_directory_are_reported(config: dict[str, Any], sources: list[str]) -> None:
    assert [source for _, source in container_settings.sources(config, HubSpawner)] == sources


def test_a_disk_that_refuses_the_report_does_not_stop_the_hub(
    hub: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported.write(tmp_path / "config" / "jupyterhub_config.py", tmp_path / "missing" / "storage.json")
    assert "storage.json cannot be written" in capsys.readouterr().err
    assert json.loads((tmp_path / "data" / storage.FILE).read_text())["volumes"]
