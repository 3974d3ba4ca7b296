"""Which updates the distribution has for the packages in images."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import client as docker_client
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import apt_sources, updates

DAY = 24 * 3600
MADISON = """\
   openssl | 3.0.22-1~deb12u2 | http://deb.example.com/security bookworm-security/main amd64 Packages
   openssl | 3.0.20-1~deb12u2 | http://deb.example.com/debian bookworm/main amd64 Packages
   openssl | 9.9 | http://third.example.com/apt bookworm/main amd64 Packages
   openssl | 9.8 | http://deb.example.com/debian bookworm-backports/main amd64 Packages
      tini | 0.19.0-1+b3 | http://deb.example.com/debian bookworm/main amd64 Packages
"""
SOURCES = [("http://deb.example.com/security/", "bookworm-security"), ("http://deb.example.com/debian/", "bookworm")]
PACKAGES = {"openssl": "3.0.17-1~deb12u2", "tini": "0.19.0-1+b3", "python3-own": "1"}


def test_only_versions_of_the_distribution_count():
    assert updates.parse_madison(MADISON, SOURCES) == {
        "openssl": ["3.0.22-1~deb12u2", "3.0.20-1~deb12u2"], "tini": ["0.19.0-1+b3"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("3.0.17-1~deb12u2", {"openssl": "3.0.22-1~deb12u2"}),
        ("3.0.22-1~deb12u2", {}),
        ("3.0.22-1", {}),  # newer than what the lists of this host have
    ],
)
def test_the_newest_version_is_an_update_if_it_is_newer(installed, expected):
    available = updates.parse_madison(MADISON, SOURCES)
    assert updates.newer({**PACKAGES, "openssl": installed}, available, updates._is_newer) == expected


def test_names_are_shortened():
    assert updates.describe(["b", "a"]) == "a, b"
    assert updates.describe("dcba") == "a, b, c and 1 more package"
    assert updates.describe("edcba") == "a, b, c and 2 more packages"


def entry(**changes: Any) -> dict[str, Any]:
    return {"packages": PACKAGES, "updates": {}, "missing": {}, **changes}


@pytest.mark.parametrize(
    ("image", "max_age_days", "expected"),
    [
        (entry(), 0, ""),
        (entry(updates={"openssl": "2", "tini": "3"}), 0, "the distribution has updates for openssl, tini"),
        (entry(updates={"openssl": "2"}, missing={"openssl": "2"}), 0, ""),
        (entry(updates={"openssl": "3"}, missing={"openssl": "2"}), 0, "the distribution has updates for openssl"),
        (entry(), 9, "an image was built more than 9 days ago"),
        (entry(), 10, ""),
    ],
)
def test_the_reason_to_build_again(image, max_age_days, expected):
    state = {"images": {"a": image, "of another hub": entry(updates={"zlib1g": "2"})}}
    assert updates.reason(state, {"a": time.time() - 9.5 * DAY}, max_age_days) == expected


@pytest.mark.parametrize("text", ["", "{half", "[]", '{"images": []}'])
def test_a_damaged_file_counts_as_empty(text, tmp_path):
    path = tmp_path / "updates.json"
    path.write_text(text)
    assert updates.load(str(path)) == {"images": {}}


class Docker:
    """Images with packages; counts how often they are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []
        self.present = ["a", "b"]
        monkeypatch.setattr(updates, "_packages", self.packages)

    def packages(self, _client: Any, image_id: str) -> dict[str, str]:
        self.read.append(image_id)
        return dict(PACKAGES)

    def images(self, **_options: Any) -> list[dict[str, str]]:
        return [{"Id": one} for one in self.present]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker(monkeypatch)


class Apt:
    """Commands of apt: what they print, and which were run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.madison = MADISON
        self.lists = folder / "lists"
        self.lists.mkdir()
        self.real = subprocess.run
        monkeypatch.setattr(updates, "LISTS", str(self.lists))
        monkeypatch.setattr(updates.subprocess, "run", self.run)
        monkeypatch.setattr(apt_sources, "index_targets", str)
        monkeypatch.setattr(apt_sources, "archives", lambda _targets, _suite: SOURCES)

    def run(self, command: list[str], **options: Any) -> Any:
        if command[0] == "dpkg":
            return self.real(command, **options)
        self.commands.append(" ".join(command[:2]))
        return subprocess.CompletedProcess(command, 0, self.madison, "")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    return Apt(tmp_path, monkeypatch)


def test_images_and_lists_are_read_once(docker, apt, tmp_path):
    path = str(tmp_path / "updates.json")
    for _ in range(2):
        state = updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["a", "b"])
        assert updates.pending(state["images"]["a"]) == {"openssl": "3.0.22-1~deb12u2"}
    assert docker.read == ["a", "b"]
    assert apt.commands == ["apt-get update", "apt-cache madison"]


def test_new_lists_and_new_images_are_read(docker, apt, tmp_path):
    path = str(tmp_path / "updates.json")
    updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["a"])
    apt.madison = ""
    (apt.lists / "new").touch()
    state = updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["a"])
    assert updates.pending(state["images"]["a"]) == {}
    updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["a", "b"])
    assert docker.read == ["a", "b"]


def test_what_a_build_did_not_get_is_not_tried_again(docker, apt, tmp_path):
    path = str(tmp_path / "updates.json")
    found = updates.Updates(path, "bookworm", refresh=True)
    found.inspect(docker, ["a"])
    found.inspect(docker, ["b"], built=True)
    state = updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["b"])
    assert updates.pending(state["images"]["b"]) == {}
    apt.madison = MADISON.replace("3.0.22", "3.0.23")
    (apt.lists / "new").touch()
    state = updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["b"])
    assert updates.pending(state["images"]["b"]) == {"openssl": "3.0.23-1~deb12u2"}


def test_an_update_that_came_during_a_build_is_pending(docker, apt, tmp_path):
    path = str(tmp_path / "updates.json")
    apt.madison = ""
    found = updates.Updates(path, "bookworm", refresh=True)
    found.inspect(docker, ["a"])
    apt.madison = MADISON
    state = found.inspect(docker, ["b"], built=True)
    assert updates.pending(state["images"]["b"]) == {"openssl": "3.0.22-1~deb12u2"}


def test_a_removed_image_is_forgotten(docker, apt, tmp_path):
    path = str(tmp_path / "updates.json")
    updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["a"])
    docker.present = ["b"]
    updates.Updates(path, "bookworm", refresh=True).inspect(docker, ["b"])
    assert list(updates.load(path)["images"]) == ["b"]


def test_check_mode_changes_nothing(docker, apt, tmp_path):
    path = tmp_path / "updates.json"
    state = updates.Updates(str(path), "bookworm", refresh=False).inspect(docker, ["a"])
    assert state["images"] == {}, "it would need a container"
    assert not path.exists()
    updates.Updates(str(path), "bookworm", refresh=True).inspect(docker, ["a"])
    before = path.read_text()
    (apt.lists / "new").touch()
    apt.madison = MADISON.replace("3.0.22", "3.0.23")
    apt.commands.clear()
    state = updates.Updates(str(path), "bookworm", refresh=False).inspect(docker, ["a"])
    assert updates.pending(state["images"]["a"]) == {"openssl": "3.0.23-1~deb12u2"}
    assert (path.read_text(), apt.commands) == (before, ["apt-cache madison"])


def test_why_the_lists_are_not_refreshed_is_kept_and_not_tried_again_at_once(docker, apt, tmp_path, monkeypatch):
    path = str(tmp_path / "updates.json")
    failed = subprocess.CompletedProcess([], 100, "", "W: no\nE: no route to the mirror\n")
    monkeypatch.setattr(apt, "run", lambda command, **_: apt.commands.append(command[0]) or failed)
    monkeypatch.setattr(updates.subprocess, "run", apt.run)
    for _ in range(2):
        updates.Updates(path, "bookworm", refresh=True).inspect(docker, [])
    assert updates.load(path)["problem"] == "E: no route to the mirror"
    assert apt.commands == ["apt-get"]


class Client:
    """Docker with a container whose log is written a moment after its end, or never."""

    def __init__(self, log: bytes) -> None:
        self.log, self.asked, self.removed = log, 0, False

    def create_host_config(self, **_options: Any) -> None: ...
    def start(self, _container: str) -> None: ...

    def wait(self, _container: str, **_options: Any) -> dict[str, int]:
        return {"StatusCode": 0}

    def create_container(self, *_arguments: Any, **_options: Any) -> dict[str, str]:
        return {"Id": "c"}

    def logs(self, _container: str, **_options: Any) -> bytes:
        self.asked += 1
        return self.log if self.asked > 1 else b""

    def remove_container(self, _container: str, **_options: Any) -> None:
        self.removed = True


def test_the_log_of_the_container_may_come_later(monkeypatch):
    client = Client(b"tini 1\n")
    assert updates._packages(client, "a") == {"tini": "1"}
    assert client.removed


def test_packages_that_cannot_be_read_stop_the_run(monkeypatch):
    monkeypatch.setattr(docker_client, "LOG_DELAY", 0)
    client = Client(b"dpkg-query:-error")
    with pytest.raises(DeployError, match=r"the packages in image a cannot be read: dpkg-query:-error"):
        updates._packages(client, "a")
    assert client.removed
