"""The command that makes a base image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import apt_sources, bootstrap


def test_command_writes_a_tarball_to_standard_output() -> None:
    sources = ["deb http://mirror.example.com/debian bookworm main"]
    parts = bootstrap.command("bookworm", "python3,tini", sources, ["--aptopt=x"])
    assert parts[0] == "mmdebstrap"
    assert parts[-3:] == ["bookworm", "-", *sources]
    assert "--include=python3,tini" in parts
    assert "--aptopt=x" in parts


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("", "apt on this host has no package list of the suite bookworm with the component main"),
        (
            "file:/srv/mirror/ bookworm bookworm main /etc/apt/sources.list:1 Debian\n",
            r"apt on this host gets the suite bookworm from file:/srv/mirror/, which an image cannot use; add a source",
        ),
    ],
)
def test_a_host_without_sources_for_an_image(targets: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/mmdebstrap")
    monkeypatch.setattr(apt_sources, "index_targets", lambda: targets)
    monkeypatch.setattr(files, "read_text", {"/etc/apt/sources.list": "deb file:/srv/mirror bookworm main\n"}.get)
    with pytest.raises(DeployError, match=message):
        bootstrap.make_command("/tmp", {"suite": "bookworm", "packages": "python3"})


class TestInMemory:
    def test_a_tmpfs_exists_only_for_the_command(self, tmp_path: Path) -> None:
        prefix = bootstrap.in_memory(str(tmp_path))
        if not prefix:
            pytest.skip("this user cannot mount, or this machine has too little memory")
        command = [*prefix, "sh", "-c", f"touch {tmp_path}/a; stat --file-system --format=%T {tmp_path}"]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "tmpfs\n"
        assert list(tmp_path.iterdir()) == []

    def test_a_host_with_little_memory_uses_its_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "read_text", {"/proc/meminfo": "MemAvailable:    1900000 kB\n"}.get)
        assert bootstrap.in_memory(str(tmp_path)) == []

    def test_a_host_that_refuses_the_mount_uses_its_disk(self, tmp_path: Path) -> None:
        assert bootstrap.in_memory(str(tmp_path / "missing")) == []
