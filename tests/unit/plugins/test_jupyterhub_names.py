"""Names and paths are checked before a run: wrong ones would change directories of others, or hide an image's."""

from __future__ import annotations

from typing import Any

import pytest

from jupyterhub_names import FilterModule

(FILTER,) = FilterModule().filters().values()
GOOD = {
    "name": "jupyterhub",
    "front_name": "jupyterhub-front",
    "notebook_dir": "/home/jovyan/work",
    "config_dir": "/etc/jupyterhub",
    "backup_dir": "/var/backups/jupyterhub",
    "backup_config_dir": "/etc/jupyterhub",
    "backup_metrics_dir": "/var/lib/prometheus/node-exporter",
    "ca_bundle": "",
    "backup_fetch_to": "",
}
OWN = ("config_dir", "backup_dir", "backup_config_dir")


def problems(**changes: Any) -> list[str]:
    return FILTER({**GOOD, **changes})


def test_good_names_and_paths() -> None:
    assert problems() == []
    assert problems(ca_bundle="/etc/ssl/own.pem", backup_fetch_to="~/copies", backup_metrics_dir="/metrics") == []
    assert FILTER({}) == []


@pytest.mark.parametrize("setting", OWN)
@pytest.mark.parametrize(
    "value", ["/srv/lab", "/backups", "/etc/lab/", "//opt//lab", "/mnt/disk/../backups", "/tmp/a/b"]
)
def test_directories_of_their_own(setting: str, value: str) -> None:
    assert problems(**{setting: value}) == []


@pytest.mark.parametrize("setting", OWN)
@pytest.mark.parametrize(
    "value",
    ["/", "//", "/etc", "/etc/", "//etc", "/etc/.", "/srv/lab/..", "/opt/../etc", "/srv", "/usr/lib/", "/proc/1/a"],
)
def test_directories_that_others_use(setting: str, value: str) -> None:
    (problem,) = problems(**{setting: value})
    assert problem.startswith(
        f"jupyterhub_{setting} is {value!r}, and only root could enter that directory afterwards; use a directory for"
    )
    example = "/var/backups/jupyterhub" if setting == "backup_dir" else "/etc/jupyterhub"
    assert problem.endswith(f"use a directory for this alone, such as {example}")


def test_the_directory_of_the_hub_is_named_once() -> None:
    (problem,) = problems(config_dir="/etc", backup_config_dir="/etc")
    assert problem.startswith("jupyterhub_config_dir is '/etc'")


@pytest.mark.parametrize("value", ["/work", "/srv", "/home/jovyan", "/usr/src/app", "/opt/work"])
def test_directories_for_files_of_users(value: str) -> None:
    assert problems(notebook_dir=value) == []


@pytest.mark.parametrize(
    "value",
    ["/", "/usr", "/etc/", "//bin", "/opt", "/opt/conda", "/home", "/home/jovyan/..", "/usr/local/bin", "/lib/a"],
)
def test_a_volume_would_hide_programs(value: str) -> None:
    (problem,) = problems(notebook_dir=value)
    assert problem.startswith(f"jupyterhub_notebook_dir is {value!r}, where a user's volume would hide programs")
    assert problem.endswith("such as /home/jovyan/work")


@pytest.mark.parametrize("setting", [*OWN, "notebook_dir", "backup_metrics_dir", "ca_bundle"])
def test_paths_that_docker_cannot_mount(setting: str) -> None:
    (problem,) = problems(**{setting: "work"})
    assert problem == f"jupyterhub_{setting} is 'work'; use an absolute path"
    for value in ("/srv/a:ro", "/srv/a\nb", "/srv/a\x7f"):
        (problem,) = problems(**{setting: value})
        assert problem.startswith(f"jupyterhub_{setting} is {value!r}; use a path without colons and control char")


@pytest.mark.parametrize("setting", ["config_dir", "backup_dir"])
@pytest.mark.parametrize(
    ("value", "relation"),
    [
        ("/etc/jupyterhub-front/", "is /etc/jupyterhub-front, the directory of the front"),
        ("/etc/../etc/jupyterhub-front/lab", "is in /etc/jupyterhub-front, the directory of the front"),
        ("/etc/jupyterhub-deploy", "is /etc/jupyterhub-deploy, with records of this project"),
        ("/var/lib/jupyterhub-deploy/lab", "is in /var/lib/jupyterhub-deploy, with data of this project"),
    ],
)
def test_directories_of_this_project(setting: str, value: str, relation: str) -> None:
    (problem,) = problems(**{setting: value})
    assert problem == f"jupyterhub_{setting} is {value!r}, which {relation}; use a directory for this alone"


@pytest.mark.parametrize(
    ("value", "relation"), [("/srv/lab", "is"), ("/srv/lab/backups", "is in"), ("/srv/lab/../lab", "is")]
)
def test_backups_are_not_in_the_directory_of_the_hub(value: str, relation: str) -> None:
    (problem,) = problems(config_dir="/srv/lab", backup_config_dir="/srv/lab", backup_dir=value)
    assert problem.startswith(f"jupyterhub_backup_dir is {value!r}, which {relation} /srv/lab, which is jupyterhub_con")
    other = {"backup_config_dir": "/srv/lab", "backup_dir": value}  # in playbooks that do not have the others
    assert FILTER(other) == [problem]


def test_directories_side_by_side_and_one_around_another() -> None:
    assert problems(config_dir="/srv/lab", backup_config_dir="/srv/lab", backup_dir="/srv/lab-backups") == []
    assert problems(name="lab", config_dir="/etc/lab", front_name="lab-f", backup_dir="/etc/lab-f2") == []
    (problem,) = problems(config_dir="/data/hub/etc", backup_config_dir="/data/hub/etc", backup_dir="/data/hub")
    assert problem.startswith("jupyterhub_backup_dir is '/data/hub', which contains /data/hub/etc, which is")


def test_where_copies_go() -> None:
    (problem,) = problems(backup_fetch_to="copies")
    assert problem == "jupyterhub_backup_fetch_to is 'copies'; use an absolute path on the machine that runs Ansible"


@pytest.mark.parametrize("setting", ["name", "front_name"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Lab_1", "; use at most 40 lower-case letters, digits and dashes, a letter first"),
        ("", "; use at most 40 lower-case letters, digits and dashes, a letter first"),
        (".", "; use at most 40 lower-case letters, digits and dashes, a letter first"),
        ("jupyter-ann", ", which servers or volumes of another hub's users may have; leave out jupyter and user"),
        ("lab-user", ", which servers or volumes of another hub's users may have; leave out jupyter and user"),
    ],
)
def test_names_of_hubs_and_fronts(setting: str, value: str, reason: str) -> None:
    assert problems(**{setting: value}) == [f"jupyterhub_{setting} is {value!r}{reason}"]


@pytest.mark.parametrize("front", ["lab", "lab-proxy"])
def test_a_front_with_a_name_of_the_hub(front: str) -> None:
    (problem,) = problems(name="lab", front_name=front)
    assert problem.startswith(f"jupyterhub_front_name is {front!r}, the name of a container of the hub; use another")
