"""A volume's data brought back on real files: what arrives, what is kept, and what a kill at any step leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import extract, swap

from support.factories import tree as odd_tree
from support.factories.backups import ROOT, joined, member, put, put_tree
from support.kills import Step, killed_after


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A place like that of a Docker volume, with old data in it."""
    path = tmp_path / "volume"
    (path / "_data").mkdir(parents=True)
    (path / "_data" / "old").write_text("old")
    yield path
    subprocess.run(["rm", "-rf", path], check=True)  # pytest's own way of removing does not manage deep paths


def restore(backup: Backup, home: Path, keep_old: bool = True) -> str | None:
    """Do all steps, as the module does."""
    with reader.opened(backup) as archive, swap.locked(str(home)) as lock:
        swap.recover(str(home))
        extract.check_space(str(home), backup)
        try:
            content = extract.extract(archive, backup, str(home), lock)
            with swap.synced(str(home)):
                extract.compare(str(home), content)
            swap.swap(str(home))
        except BaseException:
            swap.recover(str(home))
            raise
        return swap.finish(str(home), keep_old)


def names(home: Path) -> list[str]:
    return sorted(os.listdir(home))


def is_old(home: Path) -> bool:
    return (home / "_data" / "old").exists() and (home / "_data" / "old").read_text() == "old"


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_everything_comes_back_as_it_was(compression: str, home: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    odd_tree.make(tree)
    before = odd_tree.describe(tree)
    backup = put_tree(tmp_path / "backups", tree, compression=compression)

    kept = restore(backup, home)

    assert odd_tree.describe(home / "_data") == before
    assert kept is not None
    assert Path(kept, "old").read_text() == "old"
    assert names(home) == ["_data", Path(kept).parent.name]
    assert stat.S_IMODE(Path(kept).parent.stat().st_mode) == 0o700
    subprocess.run(["rm", "-rf", tree], check=True)


def test_an_empty_volume_comes_back_empty(home: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    os.chown(tree, 1000, 100)
    os.chmod(tree, 0o2770)
    before = odd_tree.describe(tree)

    restore(put_tree(tmp_path / "backups", tree), home)

    assert odd_tree.describe(home / "_data") == before


def test_owners_are_numbers_whatever_names_an_archive_has(home: Path, tmp_path: Path) -> None:
    parts = [ROOT, member(b"./a", owners=b"root".ljust(32, b"\0") * 2)]

    restore(put(tmp_path, joined(parts), 2), home)

    assert ((home / "_data" / "a").stat().st_uid, (home / "_data" / "a").stat().st_gid) == (1000, 100)


def test_old_data_are_removed_when_they_are_not_to_be_kept(home: Path, tmp_path: Path) -> None:
    assert restore(put(tmp_path, joined([ROOT]), 1), home, keep_old=False) is None
    assert names(home) == ["_data"]


def test_a_removal_that_is_cut_short_is_finished_and_never_taken_for_old_data(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "_data" / "more").touch()

    def cut_short(path: str) -> None:
        for found in Path(path).rglob("old"):
            found.unlink()
            raise DeployError("cut short")

    with monkeypatch.context() as patched:
        patched.setattr(swap, "_remove", cut_short)
        with pytest.raises(DeployError, match="cut short"):
            restore(put(tmp_path, joined([ROOT]), 1), home, keep_old=False)

    assert swap.recover(str(home)) is None
    assert names(home) == ["_data"]


def test_two_restores_in_one_second_keep_both(home: Path, tmp_path: Path) -> None:
    backup = put(tmp_path, joined([ROOT, member(b"./new", b"new")]), 2)

    kept = {restore(backup, home) for _ in range(3)}

    assert len(kept) == 3
    assert sorted(swap.kept_directories(str(home))) == sorted(str(Path(str(path)).parent) for path in kept)


def test_two_renames_do_where_there_is_no_exchange(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)

    kept = restore(put(tmp_path, joined([ROOT, member(b"./new", b"new")]), 2), home)

    assert (home / "_data" / "new").read_text() == "new"
    assert kept is not None
    assert Path(kept, "old").read_text() == "old"


def test_a_file_system_without_exchange_is_noticed(home: Path) -> None:
    # /proc has no rename at all; what counts is that an error is not taken for "cannot exchange", and the other way.
    assert swap.exchange(str(home / "_data"), str(home / "_data")) is True
    with pytest.raises(OSError, match="No such file"):
        swap.exchange(str(home / "_data"), str(home / "missing"))


@pytest.mark.parametrize("exchange", [True, False])
def test_a_swap_can_be_undone(exchange: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    backup = put(tmp_path, joined([ROOT, member(b"./new", b"new")]), 2)
    with reader.opened(backup) as archive:
        extract.extract(archive, backup, str(home))
    with swap.synced(str(home)):
        pass
    swap.swap(str(home))
    assert not is_old(home)

    swap.swap_back(str(home))

    assert is_old(home)
    assert swap.recover(str(home)) is None
    assert names(home) == ["_data"]


def test_a_second_restore_of_the_same_volume_is_refused(home: Path) -> None:
    with (
        swap.locked(str(home)),
        pytest.raises(DeployError, match="another run is restoring to"),
        swap.locked(str(home)),
    ):
        pass


def test_space_and_inodes_are_counted_before(home: Path, tmp_path: Path) -> None:
    free = os.statvfs(home)
    too_much = 2 * free.f_bavail * free.f_frsize  # others may remove files meanwhile
    one = put(tmp_path, joined([ROOT]), 1)

    def sized(content_size: int, members: int = 1) -> Backup:
        return replace(one, manifest=replace(one.manifest, content_size=content_size, members=members))

    extract.check_space(str(home), one)
    with pytest.raises(DeployError, match="MB free, and"):
        extract.check_space(str(home), sized(too_much))
    with pytest.raises(DeployError, match="MB free, and"):
        extract.check_space(str(home), one, reserve=too_much)
    if free.f_files:
        most = 2 * free.f_favail
        with pytest.raises(DeployError, match="more files and directories"):
            extract.check_space(str(home), sized(-most * 4096, most))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB with a volume on it."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], check=True)
    try:
        (mount / "volume" / "_data").mkdir(parents=True)
        (mount / "volume" / "_data" / "old").write_text("old")
        yield mount / "volume"
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_disk_that_fills_up_leaves_the_old_data(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = put(tmp_path, joined([ROOT, member(b"./a", b"x"), member(b"./big", os.urandom(8 << 20))]), 3)

    with pytest.raises(DeployError, match="MB free, and"):
        restore(backup, small_disk)
    monkeypatch.setattr(extract, "check_space", lambda *_: None)  # as when somebody else fills it meanwhile
    with pytest.raises(DeployError, match=r"tar failed with exit code 2 .*; 0 MB are free there"):
        restore(backup, small_disk)

    assert is_old(small_disk)
    assert names(small_disk) == ["_data"]


def test_a_tar_that_is_killed_leaves_the_old_data(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "EXTRACT", ["sh", "-c", "head -c 2000 >/dev/null; kill -9 $$", "tar"])
    backup = put(tmp_path, joined([ROOT, member(b"./big", bytes(8 << 20))]), 2)

    with pytest.raises(DeployError, match="tar was killed by signal 9"):
        restore(backup, home)

    assert is_old(home)
    assert names(home) == ["_data"]


def test_what_tar_leaves_out_is_noticed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = put(tmp_path, joined([ROOT, member(b"./a", b"x"), member(b"./b", b"x")]), 3)
    monkeypatch.setattr(extract, "EXTRACT", [*extract.EXTRACT, "--exclude=./b"])

    with pytest.raises(DeployError, match=r"tar restored 2 entries .* instead of 3"):
        restore(backup, home)

    assert is_old(home)


# Every step that changes something on the disk.
STEPS: list[Step] = [
    *((os, name) for name in ("mkdir", "symlink", "rename", "replace", "fsync", "unlink")),
    *((swap, "exchange"), (swap, "_remove"), (reader, "validate"), (subprocess, "Popen")),
]


@pytest.mark.parametrize("keep_old", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_after_any_step_loses_nothing(
    exchange: bool, keep_old: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    backup = put(tmp_path, joined([ROOT, member(b"./new", b"new"), member(b"./big", bytes(1 << 20))]), 3)
    step, swapped = 0, 0
    while True:
        step += 1
        subprocess.run(["rm", "-rf", home], check=True)
        (home / "_data").mkdir(parents=True)
        (home / "_data" / "old").write_text("old")
        if not killed_after(step, STEPS, lambda: restore(backup, home, keep_old)):
            break
        kept = recovered(home)
        if is_old(home):
            assert kept is None
            assert names(home) == ["_data"], step
        else:
            swapped += 1
            assert (home / "_data" / "new").read_text() == "new"
            assert (home / "_data" / "big").stat().st_size == 1 << 20
            trees = [f"{path}/_data" for path in swap.kept_directories(str(home))]
            # With keep_old=false the old data may be gone, but never in part.
            assert len(trees) == 1 or not keep_old, step
            assert all(Path(tree, "old").read_text() == "old" for tree in trees), step
            assert kept in (None, *trees)
            assert set(names(home)) == {"_data", *(Path(tree).parent.name for tree in trees)}, step
    assert step > 10
    assert swapped >= 3


def recovered(home: Path) -> str | None:
    """Do what the next run does first, once an orphaned tar has let go of the volume."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with swap.locked(str(home)):
                return swap.recover(str(home))
        except DeployError as error:
            if "another run" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def test_data_that_came_between_two_renames_are_not_overwritten(home: Path) -> None:
    (home / ".restoring").mkdir()
    (home / ".restoring" / "new").write_text('{"inode": 1}')
    os.rename(home / "_data", home / ".restoring" / "old")
    (home / "_data").mkdir()

    (home / "_data" / "somebody's").touch()
    with pytest.raises(DeployError, match="look at both"):
        swap.recover(str(home))
    (home / "_data" / "somebody's").unlink()
    swap.recover(str(home))

    assert is_old(home)
