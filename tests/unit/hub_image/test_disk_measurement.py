"""Which directories are measured, and what the output of the command says of each user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jupyterhub_deploy_hub import disk_measurement
from jupyterhub_deploy_hub.disk_measurement import Measurement, command, directories, sums


def volume(user: str | None, path: str, **more: Any) -> dict[str, Any]:
    labels = {"org.jupyterhub.deploy.hub": "lab", **({"org.jupyterhub.deploy.user": user} if user else {})}
    return {"Labels": labels, "Driver": "local", "Options": None, "Mountpoint": path, **more}


def test_the_plain_volumes_of_the_users_are_measured() -> None:
    found = [
        volume("alice", "/a"),
        volume("alice", "/a2", Options={"size": "10G"}),
        volume("alice", "/a3", Options={"type": "nfs", "device": ":/x"}),
        volume("alice", "/a4", Driver="other"),
        volume("bob", "/b"),
        volume(None, "/n"),
        volume("alice", "/l", Labels=None),
    ]
    assert directories(found, ["alice", "carol"]) == {"alice": ["/a", "/a2"], "carol": []}


def test_the_command_prints_the_allocated_bytes_of_each_directory(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0/full").write_bytes(bytes(1 << 20))
    (tmp_path / "1").mkdir()
    with (tmp_path / "1/sparse").open("wb") as file:
        file.truncate(1 << 30)
    arguments = [one.replace("/volumes", str(tmp_path)) for one in command(2, 10, 5)]
    output = subprocess.run(arguments, capture_output=True, check=True).stdout.replace(
        str(tmp_path).encode(), b"/volumes"
    )

    found = sums({"alice": ["/a"], "bob": ["/b"]}, output)

    assert 1 << 20 <= found["alice"] < 1 << 21
    assert found["bob"] < 1 << 16


def test_a_directory_that_takes_too_long_leaves_out_its_user_only(tmp_path: Path) -> None:
    du = tmp_path / "du"
    du.write_text('#!/bin/sh\ncase $3 in */1) exec sleep 60;; esac\nprintf "5\\t%s\\n" "$3"\n')
    du.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    output = subprocess.run(command(3, 30, 1), capture_output=True, check=False, env=environment).stdout
    assert sums({"alice": ["/a"], "bob": ["/b"], "carol": ["/c"]}, output) == {"alice": 5, "carol": 5}


def test_a_user_has_the_sum_of_all_volumes_and_none_of_which_is_unknown() -> None:
    places = {"alice": ["/a", "/a2"], "bob": ["/b"], "carol": [], "dora": ["/d"]}
    output = b"5\t/volumes/0\n7\t/volumes/1\ndu: cannot read\n9\t/volumes/3\n"
    assert sums(places, output) == {"alice": 12, "carol": 0, "dora": 9}


class Docker:
    """Docker whose containers fail as `fault` says."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.created, self.removed = fault, [], []  # type: ignore[var-annotated]

    def volumes(self, filters: dict[str, list[str]]) -> dict[str, Any]:
        assert filters == {"label": ["org.jupyterhub.deploy.hub=lab", "org.jupyterhub.deploy.user"]}
        return {"Volumes": [volume("alice", "/docker/volumes/a/_data")]}

    def containers(self, **options: Any) -> list[dict[str, str]]:
        labels = {"label": "org.jupyterhub.deploy.measures=lab", "status": "created"}
        assert options == {"all": True, "filters": labels}
        return [{"Id": "left"}]

    def inspect_container(self, name: str) -> dict[str, str]:
        assert name == "lab"
        return {"Image": "sha256:1"}

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, image: str, arguments: list[str], **options: Any) -> dict[str, str]:
        self.created.append((image, arguments, options))
        return {"Id": "new"}

    def attach(self, *_: Any, **__: Any) -> list[bytes]:
        return [b"12\t/vol", b"umes/0\n"]

    def start(self, container: str) -> None:
        if self.fault:
            raise OSError(self.fault)

    def remove_container(self, container: str, force: bool) -> None:
        self.removed.append(container)


def test_the_container_can_only_read_the_volumes(monkeypatch: Any) -> None:
    fake = Docker()
    monkeypatch.setattr(disk_measurement.docker, "APIClient", lambda: fake)
    measure = Measurement("lab")

    assert measure(["alice"], 4, 3) == measure(["alice"], 4, 3) == {"alice": 12}
    assert measure(["bob"], 4, 3) == {"bob": 0}, "a new user has no volume"

    image, arguments, options = fake.created[0]
    host = options["host_config"]
    assert (len(fake.created), fake.removed, image) == (2, ["left"], "sha256:1")
    assert [options["entrypoint"], *arguments] == [["timeout"], *command(1, 4, 3)[1:]]
    assert [(mount["Source"], mount["Type"], mount["ReadOnly"]) for mount in host["mounts"]] == [
        ("/docker/volumes/a/_data", "bind", True)
    ]
    assert (host["network_mode"], host["read_only"], host["auto_remove"]) == ("none", True, True)
    assert (host["cap_drop"], host["cap_add"]) == (["ALL"], ["DAC_READ_SEARCH"])
    assert options["labels"]["org.jupyterhub.deploy.hub"] == "lab"


def test_a_container_that_does_not_start_is_removed(monkeypatch: Any) -> None:
    fake = Docker("no such directory")
    monkeypatch.setattr(disk_measurement.docker, "APIClient", lambda: fake)
    with pytest.raises(OSError, match="no such directory"):
        Measurement("lab")(["alice"], 4, 3)
    assert fake.removed == ["left", "new"]
