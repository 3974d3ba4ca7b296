"""Volumes that only a container can read, with the real Docker. Only the driver `local` is available here."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.backup import helper_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER

import jupyterhub_backup
from hosts.run import name as run_name
from support.factories import images, tree
from support.long_runs import Times
from support.modules import run

HUB = run_name("helper")
IMAGE = f"{HUB}-image:1"
OPTIONS = {"bind": {"type": "none", "o": "bind"}, "tmpfs": {"type": "tmpfs", "device": "tmpfs"}}


class OptionsSite:
    """A hub with only a name and an image, and volumes with options."""

    def __init__(self, folder: Path) -> None:
        self.client: Any = docker.APIClient(version="auto")
        self.folder = folder
        self.directory = folder / "backups"
        self.source = folder / "source"
        self.source.mkdir()
        images.make(self.client, IMAGE, {})
        self.client.create_container(IMAGE, "/bin/sh", name=HUB)

    def volume(self, kind: str) -> str:
        name = f"{HUB}-user-{kind}"
        options = {**OPTIONS[kind], **({"device": str(self.source)} if kind == "bind" else {})}
        self.client.create_volume(name, labels={LABEL_HUB: HUB, LABEL_USER: kind}, driver_opts=options)
        return name

    def run(self, **more: Any) -> dict[str, Any]:
        return run(jupyterhub_backup, name=HUB, directory=str(self.directory), hub_state=False, **more)

    def helpers(self) -> list[Any]:
        return list(self.client.containers(all=True, filters={"label": f"{helper_container.LABEL}={HUB}"}))

    def remove(self) -> None:
        for one in self.client.containers(all=True, filters={"name": HUB}):  # the helpers' names start with it, too
            # Docker may be removing one whose input has ended.
            with contextlib.suppress(docker.errors.APIError):
                self.client.remove_container(one["Id"], force=True)
        until_gone(self)
        for one in self.client.volumes(filters={"name": HUB})["Volumes"] or []:
            self.client.remove_volume(one["Name"])
        self.client.remove_image(IMAGE, force=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[OptionsSite]:
    made = OptionsSite(tmp_path)
    try:
        yield made
    finally:
        made.remove()


def until_gone(site: OptionsSite) -> None:
    deadline = time.monotonic() + 15
    while site.helpers():
        assert time.monotonic() < deadline, "a helper stays"
        time.sleep(0.05)


def test_a_volume_with_a_mount_is_backed_up_and_then_unchanged(site: OptionsSite, tmp_path: Path) -> None:
    tree.make(site.source)
    name = site.volume("bind")
    before = tree.describe(site.source)
    time.sleep(2.1)  # the scan of a file that has just changed would not be trusted
    assert site.run(check=True)["results"][0]["action"] == "backed_up"
    assert not site.helpers()

    (result,) = site.run()["results"]

    assert (result["name"], result["members"], result["sockets"]) == (name, len(before), ["./socket"])
    back = tmp_path / "back"
    back.mkdir()
    options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    subprocess.run(["tar", "-C", back, *options, "-xpf", result["backup"]], check=True)
    assert tree.describe(back) == before
    assert tree.describe(site.source) == before
    until_gone(site)
    assert site.run()["results"][0]["action"] == "unchanged"
    until_gone(site)


def test_a_volume_in_memory_is_read_while_its_container_runs(site: OptionsSite) -> None:
    name = site.volume("tmpfs")
    holder = site.client.create_container(
        IMAGE, ["sh", "-c", "echo text > /data/file; echo written; read x"],
        name=f"{HUB}-holder", stdin_open=True, user="0",
        host_config=site.client.create_host_config(binds=[f"{name}:/data"]),
    )  # fmt: skip
    site.client.start(holder)
    assert next(site.client.logs(holder, stream=True, follow=True)) == b"written\n"

    (result,) = site.run(consistency="paused")["results"]

    listed = subprocess.run(["tar", "-xOf", result["backup"], "./file"], check=True, capture_output=True).stdout
    assert listed == b"text\n"
    assert (result["consistency"], result["paused"]) == ("paused", [f"{HUB}-holder"])


def test_the_helper_has_no_privileges(site: OptionsSite) -> None:
    name = site.volume("bind")
    with helper_container.hold_volume(site.client, HUB, name) as path:
        (one,) = site.helpers()
        found = site.client.inspect_container(one["Id"])
        config = found["HostConfig"]
        assert (config["NetworkMode"], config["ReadonlyRootfs"], config["CapDrop"]) == ("none", True, ["ALL"])
        assert found["Config"]["User"] == "65534:65534"
        with pytest.raises(OSError, match="Read-only file system"):
            Path(path, "new").touch()
    until_gone(site)


def test_a_failed_mount_is_reported(site: OptionsSite) -> None:
    site.volume("bind")
    site.source.rmdir()
    with pytest.raises(Exception, match=r"only a container can read it, and that fails: .*no such file or directory"):
        site.run()
    until_gone(site)


def test_no_helper_outlives_a_kill(site: OptionsSite, times: Times) -> None:
    (site.source / "file").write_bytes(os.urandom(8 << 20))
    site.volume("bind")
    moments = random.Random(5)
    kills, with_helper = 0, 0
    while kills < times(3, 10) or not with_helper:
        kills += 1
        assert kills < 50
        child = os.fork()
        if not child:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            try:
                site.run(force=True)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0.05, 1.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with_helper += bool(site.helpers())
        deadline = time.monotonic() + 10
        while any(one["State"] == "running" for one in site.helpers()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_helper_that_was_never_started_is_removed_by_the_next_run(site: OptionsSite) -> None:
    # It has no input that could end: the run was killed between creating and starting it.
    labels = {helper_container.LABEL: HUB}
    site.client.create_container(IMAGE, "/bin/sh", name=f"{HUB}-backup-left", labels=labels)

    assert site.run()["cleaned"] == [f"container {HUB}-backup-left, which held a volume"]

    assert not site.helpers()
