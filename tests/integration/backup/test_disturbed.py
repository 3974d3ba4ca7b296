"""Backups during disturbances: changing files, a full disk, a second run, and SIGKILL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import archive, store, verify

import jupyterhub_restore
from support import modules
from support.backup_site import ALICE, BOB, HUB, Site, actions
from support.long_runs import Times

MEGABYTE = 1 << 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.remove()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that installs a callback, run once after tar has written 2 MiB."""
    copy = archive._copy

    class Held:
        def __init__(self, stream: Any, disturb: Callable[[], object]) -> None:
            self.stream, self.disturb, self.done = stream, disturb, 0

        def read1(self, size: int) -> bytes:
            chunk = bytes(self.stream.read1(size))
            before, self.done = self.done, self.done + len(chunk)
            if before < 2 * MEGABYTE <= self.done:
                self.disturb()
            return chunk

    def do(disturb: Callable[[], object]) -> None:
        monkeypatch.setattr(archive, "_copy", lambda stream, file: copy(Held(stream, disturb), file))

    return do


def cut_off(file: Path) -> None:
    os.truncate(file, 8 * MEGABYTE)


def grow(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(bytes(MEGABYTE))


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"another")
    os.replace(other, file)


@pytest.mark.parametrize("disturb", [grow, cut_off, replace, remove])
def test_a_file_that_changes_while_it_is_read_is_named_and_the_backup_is_good(
    site: Site, meanwhile: Callable[[Callable[[], object]], None], disturb: Callable[[Path], object]
) -> None:
    data = site.volume(ALICE, "alice")
    content = os.urandom(16 * MEGABYTE)
    (data / "file").write_bytes(content)
    meanwhile(lambda: disturb(data / "file"))

    (result,) = site.run(hub_state=False, compression="none")["results"]

    assert result["action"] == "backed_up"
    assert "./file" in result["changed_files"]
    (backup,) = site.backups(ALICE)
    assert backup.manifest.changed == result["changed_files"]
    assert verify.verify(backup).good
    restore(site)
    back = (data / "file").read_bytes()
    assert len(back) == len(content)  # as large as it was when tar started to read it
    assert back[: 8 * MEGABYTE] == content[: 8 * MEGABYTE]
    assert disturb is cut_off or back == content
    assert actions(site.run(hub_state=False)) == {ALICE: "backed_up"}


def test_files_that_vanish_before_they_are_read_are_named_and_the_backup_is_good(
    site: Site, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    data = site.volume(ALICE, "alice")
    for number in range(100):
        (data / f"{number}").write_bytes(os.urandom(MEGABYTE // 8))
    meanwhile(lambda: subprocess.run(["find", data, "-type", "f", "-delete"], check=True))

    (result,) = site.run(hub_state=False, compression="none")["results"]

    gone = {name for name in result["changed_files"] if name != "."}
    assert len(gone) > 50
    assert result["members"] + len(gone) >= 101  # each was read, or is named
    assert verify.verify(site.backups(ALICE)[0]).good


def restore(site: Site) -> None:
    asked: dict[str, Any] = {"name": HUB, "directory": str(site.directory), "state": "restored", "users": ["alice"]}
    modules.run(jupyterhub_restore, keep_old=False, **asked)


def test_only_the_volume_that_is_removed_while_it_is_read_fails(
    site: Site, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    data = site.volume(ALICE, "alice")
    (data / "file").write_bytes(os.urandom(16 * MEGABYTE))
    site.volume(BOB, "bob")
    site.run(compression="none")
    before = site.backups(ALICE)
    meanwhile(lambda: site.client.remove_volume(ALICE))

    with pytest.raises(modules.ModuleError, match=rf"^1 of 3 backups failed, 2 are .*{ALICE}: {data} vanished while"):
        site.run(force=True, compression="none")

    assert site.backups(ALICE) == before
    assert len(site.backups(BOB)) == 2
    assert len(os.listdir(site.directory / ALICE)) == 2
    restore(site)
    assert (data / "file").stat().st_size == 16 * MEGABYTE


def in_another_process(work: Callable[[], object]) -> int:
    """Start a function in a forked process, which is faster than a new interpreter; return the process ID."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


def test_a_second_run_at_the_same_time_is_refused_and_the_first_continues(
    site: Site, meanwhile: Callable[[Callable[[], object]], None], tmp_path: Path
) -> None:
    (site.volume(ALICE, "alice") / "file").write_bytes(os.urandom(16 * MEGABYTE))
    message = tmp_path / "message"

    def second() -> None:
        try:
            site.run(force=True)
        except modules.ModuleError as error:
            message.write_text(str(error), encoding="utf-8")

    meanwhile(lambda: os.waitpid(in_another_process(second), 0))
    result = site.run(compression="none")

    assert message.read_text(encoding="utf-8") == (
        f"another run (process {os.getpid()}) is using the backups in {site.directory}; wait until it has ended, then "
        "try again"
    )
    assert set(actions(result).values()) == {"backed_up"}
    for folder in (ALICE, "hub"):
        (backup,) = site.backups(folder)
        assert verify.verify(backup).good
        assert len(os.listdir(site.directory / folder)) == 2


def test_a_full_disk_leaves_the_last_good_backup(site: Site) -> None:
    mountpoint = site.volume(ALICE, "alice")
    (mountpoint / "file").write_bytes(b"small")
    site.directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", site.directory], check=True)
    try:
        site.run()
        before = site.backups(ALICE)
        (mountpoint / "file").write_bytes(os.urandom(8 << 20))
        # Without the hub's state, which is written at the same time, and may find the disk full, too.
        with pytest.raises(modules.ModuleError, match=rf"^1 of 1 backups failed, .*{ALICE}: .*No space left on device"):
            site.run(hub_state=False)
        assert site.backups(ALICE) == before
        assert len(os.listdir(site.directory / ALICE)) == 2
        assert verify.verify(before[0]).good
        subprocess.run(["mount", "-o", "remount,ro", site.directory], check=True)
        with pytest.raises(modules.ModuleError, match="Read-only file system"):
            site.run()
        assert site.backups(ALICE) == before
    finally:
        subprocess.run(["umount", site.directory], check=True)


def test_a_kill_at_any_moment_leaves_only_complete_backups(site: Site, times: Times) -> None:
    mountpoint = site.volume(ALICE, "alice")
    content = os.urandom(6 * MEGABYTE)
    (mountpoint / "file").write_bytes(content)
    site.run()
    began = time.monotonic()
    site.run(force=True)
    whole = time.monotonic() - began
    moments = random.Random(4)
    left = 0
    killed = 0
    kills = times(10, 50)
    while killed < kills or left <= 5:  # fewer kills in the middle of an archive would test nothing
        assert killed < 200
        before = store.every_backup(str(site.directory))
        child = in_another_process(lambda: site.run(force=True, keep={"last": 2}))
        time.sleep(moments.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])  # or it had ended before the kill
        found = store.every_backup(str(site.directory))
        for folder, backups in found.items():
            assert store.list_backups(str(site.directory), folder)[1] == []
            assert before[folder][-1] in backups  # the last good one still exists
            for backup in backups:
                assert verify.verify(backup).good
        left += any(name.endswith(".partial") for name in os.listdir(site.directory / ALICE))

    restore(site)  # with the files that the kills have left
    assert (mountpoint / "file").read_bytes() == content
    site.run(force=True, keep={"last": 2})
    for folder in (ALICE, "hub"):
        names = os.listdir(site.directory / folder)
        assert len([name for name in names if not name.endswith(store.VERIFIED)]) == 4
