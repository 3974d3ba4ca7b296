"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import files

HOLD = """import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]))
print(1, flush=True)
input()
"""


@contextmanager
def held(path: Path, kind: int) -> Iterator[subprocess.Popen[str]]:
    """Hold a lock in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(kind)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "1\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomically(str(path), "old")
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / ".file.partial").write_text("left by a killed run")
    files.write_atomically(str(path), b"new", 0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o644)
    assert os.listdir(tmp_path) == ["file"]
    assert files.read_text(str(path)) == "new"
    assert files.read_text(str(tmp_path / "none")) is None


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(files.NotTextError, match=rf"{path} is not text in UTF-8 \(byte 3\)"):
        files.read_text(str(path))


def test_a_file_can_keep_its_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomically(str(path), "first", 0o644, keep=True)
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    before = path.stat()
    files.write_atomically(str(path), "second", 0o644, keep=True)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert path.read_text() == "second"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_atomically(str(path), "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=rf"No space left.*'{path}'"):
        files.write_atomically(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("what", ["file", "directory"])
def test_one_process_at_a_time_holds_a_lock(tmp_path: Path, what: str) -> None:
    path = tmp_path / "lock" if what == "file" else tmp_path
    with files.locked(str(path)):
        assert files.is_locked(str(path))
        with pytest.raises(files.LockedError, match="another process has locked"), files.locked(str(path)):
            raise AssertionError
    assert not files.is_locked(str(path))
    with held(path, 1):
        assert not files.is_locked(str(path))
        with files.locked(str(path), shared=True):
            pass
        with pytest.raises(files.LockedError), files.locked(str(path)):
            raise AssertionError


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    waits = threading.Event()
    with held(tmp_path, 2) as holder:

        def release() -> None:
            waits.wait()
            holder.kill()

        threading.Thread(target=release).start()
        with files.locked(str(tmp_path), wait=True, on_wait=waits.set):
            assert holder.wait() != 0


def test_waiting_for_a_lock_has_an_end(tmp_path: Path) -> None:
    waits: list[int] = []
    with (
        held(tmp_path, 2),
        pytest.raises(files.LockedError),
        files.locked(str(tmp_path), wait=True, on_wait=lambda: waits.append(1), timeout=0.3),
    ):
        raise AssertionError
    assert waits == [1]
    with files.locked(str(tmp_path), wait=True, timeout=0):
        pass


def test_what_cannot_be_examined_is_not_called_unlocked(tmp_path: Path) -> None:
    assert not files.is_locked(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.is_locked(str(tmp_path / "file" / "below"))
