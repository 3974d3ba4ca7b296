"""A scan detects every change of a volume, and reports when it cannot be trusted."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import scan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The files of a test are less than two seconds old.
    monkeypatch.setattr(scan, "QUIET", -(10**12))
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "c").mkdir()
    (root / "a" / "b" / "file").write_bytes(b"content")
    (root / "a" / "other").write_bytes(b"content")
    (root / os.fsdecode(b"new\nline \xff")).write_bytes(b"")
    (root / "link").symlink_to("/etc")
    os.mkfifo(root / "fifo")
    return root


def same_time(path: Path, change: Callable[[Path], object]) -> None:
    """Change a file and put its modification time back, as a hostile or careless user may."""
    info = path.stat()
    change(path)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def swap_names(tree: Path) -> None:
    os.rename(tree / "a" / "b", tree / "a" / "x")
    os.rename(tree / "a" / "c", tree / "a" / "b")
    os.rename(tree / "a" / "x", tree / "a" / "c")


def turn_link(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("/usr")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content of the same size at the same time": lambda tree: same_time(
        tree / "a/b/file", lambda path: path.write_bytes(b"CONTENT")
    ),
    "size": lambda tree: (tree / "a/b/file").write_bytes(b""),
    "mode": lambda tree: os.chmod(tree / "a/b/file", 0o600),
    "mode of the volume": lambda tree: os.chmod(tree, 0o701),
    "new file": lambda tree: (tree / "a/c/new").write_bytes(b""),
    "removed file": lambda tree: (tree / "a/other").unlink(),
    "renamed": lambda tree: os.rename(tree / "a/other", tree / "a/another"),
    "moved": lambda tree: os.rename(tree / "a/other", tree / "a/c/other"),
    "two directories change places": swap_names,
    "hard link": lambda tree: os.link(tree / "a/other", tree / "a/c/link"),
    "link": turn_link,
    "xattr": lambda tree: os.setxattr(tree / "a/other", "user.note", b"x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_detected(tree: Path, change: Callable[[Path], object]) -> None:
    before = scan.scan(str(tree))
    assert before.digest
    assert scan.scan(str(tree)) == before
    change(tree)

    assert scan.scan(str(tree)).digest != before.digest


def test_a_scan_counts_and_stays_inside(tree: Path) -> None:
    assert scan.scan(str(tree))[1:] == (9, 14)


def test_reading_does_not_count_as_a_change(tree: Path) -> None:
    before = scan.scan(str(tree))
    (tree / "a/b/file").read_bytes()

    assert scan.scan(str(tree)) == before


def test_a_change_just_before_the_scan_makes_the_scan_untrusted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "QUIET", 2_000_000_000)

    assert scan.scan(str(tree)).digest is None


def test_a_modification_time_in_the_future_does_not_count_as_recent(tree: Path) -> None:
    os.utime(tree / "a/other", (2**33, 2**33))

    assert scan.scan(str(tree)).digest


@pytest.mark.parametrize("moment", [-(10**9) * 3600, 2**63 - 1, 2**63, 13 * 10**18])
def test_any_time_that_a_file_system_can_store_can_be_scanned(moment: int) -> None:
    """A user can set one of the year 2300."""
    walk, found = scan._Walk(), os.stat("/")
    fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
    walk.add(b"key", b"name", SimpleNamespace(**{**fields, "st_mtime_ns": moment}))  # type: ignore[arg-type]
    assert walk.total


@pytest.mark.parametrize("what", ["vanishes", "becomes a link", "is moved away"])
def test_a_directory_that_is_moved_makes_the_scan_untrusted(
    tree: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    entered = scan._Walk.enter

    def enter(self, descriptor, key):
        found = entered(self, descriptor, key)
        if b"b" in found.pending and what != "is moved away":
            shutil.rmtree(tree / "a/b")
            if what == "becomes a link":
                (tree / "a/b").symlink_to("/etc")
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/a/b") and what == "is moved away":
            os.rename(tree / "a/b", tree.parent / "elsewhere")
        return found

    monkeypatch.setattr(scan._Walk, "enter", enter)
    found = scan.scan(str(tree))

    assert found.digest is None
    assert found.entries <= 9  # nothing in /etc was read


def test_a_tree_deeper_than_a_path_can_be_is_walked_with_few_open_files(tree: Path) -> None:
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 20, dir_fd=descriptor)
        following = os.open("d" * 20, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = following
    os.close(descriptor)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limit[1]))
    try:
        found = scan.scan(str(tree))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        subprocess.run(["rm", "-rf", tree], check=True)  # pytest's own way to remove it is recursive

    assert found.digest
    assert found.entries == 1509


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=rf"^directory {tmp_path}/none cannot be read: "):
        scan.scan(str(tmp_path / "none"))
