"""What tar writes extracts to the same."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import archive as backup_archive
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support.factories import tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and modes are root's to make")


def extract(archive: Path, target: Path) -> Path:
    target.mkdir()
    subprocess.run(
        ["tar", "-C", target, "--xattrs", "--xattrs-include=*", "--acls", "-xpf", archive, "--numeric-owner"],
        check=True,
    )
    return target


@needs_root
@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_every_oddity_comes_back_by_plain_tar(tmp_path: Path, compression: str) -> None:
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    tree.make(source)
    packed = backup_archive.pack(str(source), str(archive), compression)
    before = tree.describe(source)

    assert tree.describe(extract(archive, tmp_path / "back")) == before
    assert packed.members == len(before)
    assert packed.sockets == ["./socket"]
    assert packed.changed == []
    assert (packed.size, packed.sha256) == (archive.stat().st_size, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert packed.content_size < 10 << 20  # the sparse file is 100 MiB
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600


def test_an_empty_volume_is_an_archive_with_one_member(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    packed = backup_archive.pack(str(tmp_path / "source"), str(tmp_path / "archive"), "none")

    assert packed.members == 1
    assert packed.content_size == packed.size


def test_files_that_change_while_they_are_read_are_named_and_the_archive_is_good(tmp_path: Path) -> None:
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    for name in ("grows", "shrinks"):
        (source / name).write_bytes(os.urandom(1 << 20) * 100)
    for number in range(500):
        (source / f"vanishes{number}").write_bytes(b"x")
        (source / f"replaced{number}").write_bytes(b"x")
    done = threading.Event()

    def disturb() -> None:
        number = 0
        while not done.is_set():
            with open(source / "grows", "ab") as file:
                file.write(b"more")
            os.truncate(source / "shrinks", max(0, os.path.getsize(source / "shrinks") - (1 << 20)))
            if number < 500:
                (source / f"vanishes{number}").unlink()
                (source / "new").write_bytes(b"")
                os.replace(source / "new", source / f"replaced{number}")
            number += 1
            time.sleep(0.001)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        # On a busy machine tar can read a file between two changes of it.
        for _ in range(20):
            archive.unlink(missing_ok=True)
            with (source / "shrinks").open("ab") as file:
                file.truncate(100 << 20)
            packed = backup_archive.pack(str(source), str(archive), "zstd")
            if {"./grows", "./shrinks"} <= set(packed.changed):
                break
    finally:
        done.set()
        thread.join()

    assert {"./grows", "./shrinks"} <= set(packed.changed)
    back = extract(archive, tmp_path / "back")
    assert packed.members == len(os.listdir(back)) + 1


def failing_program(folder: Path, name: str, script: str) -> str:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("what", "script", "expected"),
    [
        ("compressor", "head -c 100000 > /dev/null; kill -9 $$", "was ended by signal 9"),
        ("compressor", "echo no memory >&2; exit 1", "failed: no memory"),
        ("tar", "head -c 100000 /dev/zero; kill -9 $$", "tar was killed by signal 9"),
        ("tar", 'echo "tar: ./x: Cannot read: Input/output error" >&2; exit 2', "tar failed: tar: ./x: Cannot read"),
    ],
)
def test_a_program_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, script: str, expected: str
) -> None:
    program = failing_program(tmp_path, "program", script)
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(5 << 20))
    if what == "tar":
        monkeypatch.setattr(backup_archive, "TAR", [program])
    else:
        monkeypatch.setitem(backup_archive.COMPRESS, "zstd", [program])
    with pytest.raises(DeployError) as error:
        backup_archive.pack(str(source), str(archive), "zstd")

    assert str(error.value).startswith(f"{source} cannot be packed: ")
    assert expected in str(error.value)
    assert not archive.exists()


def test_a_volume_that_vanishes_while_it_is_read_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    packing = backup_archive._pack

    def vanishing(*args):
        packed = packing(*args)
        source.rmdir()
        source.with_name("another").mkdir()
        return packed

    monkeypatch.setattr(backup_archive, "_pack", vanishing)
    with pytest.raises(DeployError, match=rf"^{source} vanished while it was read; unless somebody removed"):
        backup_archive.pack(str(source), str(archive), "none")
    assert not archive.exists()
    with pytest.raises(DeployError, match=r"cannot be written .*: No such file or directory"):
        backup_archive.pack(str(source), str(archive), "none")


@needs_root
def test_a_full_disk_is_one_clear_error_and_no_file(tmp_path: Path) -> None:
    source, small = tmp_path / "source", tmp_path / "small"
    source.mkdir()
    small.mkdir()
    (source / "file").write_bytes(os.urandom(8 << 20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        with pytest.raises(DeployError) as error:
            backup_archive.pack(str(source), str(small / "archive"), "zstd")
        assert str(error.value) == (
            f"{source} cannot be written to {small}/archive: No space left on device; make room in {small}"
        )
        assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_signal_to_us_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(os.urandom(1 << 20))
    started = []
    start = backup_archive.start

    def remembered(*args, **more):
        started.append(start(*args, **more))
        return started[-1]

    monkeypatch.setattr(backup_archive, "start", remembered)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_archive, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backup_archive.pack(str(tmp_path / "source"), str(tmp_path / "archive"), "zstd")

    assert [process.returncode is not None for process in started] == [True, True]
    assert os.listdir(tmp_path) == ["source"]
