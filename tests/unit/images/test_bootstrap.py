"""The command that makes a base image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.images import bootstrap


def test_command_writes_a_tarball_to_standard_output() -> None:
    sources = ["deb http://mirror.example.com/debian bookworm main"]
    parts = bootstrap.command("bookworm", "python3,tini", sources, ["--aptopt=x"])
    assert parts[0] == "mmdebstrap"
    assert parts[-3:] == ["bookworm", "-", *sources]
    assert "--include=python3,tini" in parts
    assert "--aptopt=x" in parts


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
