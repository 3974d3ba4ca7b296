"""The archive of the base image that is built before Docker is installed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy import files, processes
from ansible.module_utils.jupyterhub_deploy.images import base_archive, bootstrap
from ansible.module_utils.jupyterhub_deploy.images.parallel import StoppedError
from ansible.module_utils.jupyterhub_deploy.images.plan import BOOTSTRAP, LABEL, Image
from ansible.module_utils.jupyterhub_deploy.progress import Reporter


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(base_archive, "DIRECTORY", str(tmp_path / "base-image"))
    return tmp_path / "base-image"


def shell(script: str) -> Callable[[str], list[str]]:
    return lambda temporary: ["sh", "-c", script, "sh", temporary]


def build(script: str, digest: str = "digest") -> None:
    """Start a build and wait until it has ended."""
    assert base_archive.start(digest, shell(script))
    assert processes.wait_until(lambda: not base_archive.is_running(), 30)


def archived(digest: str = "digest") -> str | None:
    """Return the content of the archive, which is removed then."""
    with base_archive.finished(digest) as path:
        return Path(path).read_text(encoding="ascii") if path else None


class TestBuild:
    def test_ends_with_an_archive_and_a_log(self, directory: Path) -> None:
        build("echo I: done >&2; touch $1/file; printf content")

        assert base_archive.log() == ["I: done"]
        assert sorted(os.listdir(directory)) == ["digest.tar", "lock", "log"]
        assert archived() == "content"
        assert not directory.exists()

    def test_is_independent_of_the_run_that_starts_it(self, directory: Path) -> None:
        build("cut -d ' ' -f 6 /proc/$$/stat")
        assert int(archived() or 0) not in (0, os.getsid(0))

    @pytest.mark.parametrize("end", ["exit 1", "kill -9 $PPID"], ids=["failed", "killed"])
    def test_leaves_no_archive_when(self, directory: Path, end: str) -> None:
        build(f"printf part; {end}")
        assert archived() is None
        assert not directory.exists()

    def test_is_not_started_twice(self, directory: Path) -> None:
        os.mkfifo(directory.parent / "gate")
        gate = str(directory.parent / "gate")
        assert base_archive.start("digest", shell(f"cat {gate}"))
        assert base_archive.is_running()

        assert not base_archive.start("digest", shell("printf second"))

        Path(gate).write_text("first", encoding="ascii")
        assert processes.wait_until(lambda: not base_archive.is_running(), 30)
        assert archived() == "first"

    def test_removes_what_a_killed_one_left(self, directory: Path) -> None:
        build("mkdir $1/root; printf old; kill -9 $PPID", "old")
        assert {"partial", "tmp"} <= set(os.listdir(directory))

        build("printf new")

        assert sorted(os.listdir(directory)) == ["digest.tar", "lock", "log"]


class TestFinished:
    @pytest.mark.parametrize("age", [0, base_archive.MAXIMUM_AGE + 60])
    def test_an_old_archive_is_removed(self, directory: Path, age: int) -> None:
        build("printf content")
        now = os.stat(directory / "digest.tar").st_mtime
        os.utime(directory / "digest.tar", (now - age, now - age))

        assert archived() == (None if age else "content")
        assert not directory.exists()

    def test_an_archive_with_other_packages_is_removed(self, directory: Path) -> None:
        build("printf content", "another")
        assert archived() is None
        assert not directory.exists()

    def test_a_host_without_an_earlier_build(self, directory: Path) -> None:
        assert not base_archive.is_running()
        assert archived() is None


class Client:
    """Docker, as far as an import needs it."""

    def __init__(self) -> None:
        self.imported: dict[str, Any] = {}

    def import_image_from_stream(self, stream: Iterable[bytes], **options: Any) -> None:
        self.imported = {"content": b"".join(stream), **options}

    def inspect_image(self, name: str) -> dict[str, str]:
        return {"Id": f"id of {name}"}


IMAGE = Image("base", "example/base:bookworm", BOOTSTRAP, "digest", {"suite": "bookworm", "packages": "tini"})


class TestImport:
    def test_a_build_is_waited_for_and_shown(
        self, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "STOP_INTERVAL", 0.01)
        monkeypatch.setattr(bootstrap, "make_command", lambda *_: pytest.fail("was built a second time"))
        os.mkfifo(tmp_path / "gate")
        assert base_archive.start(
            "digest", shell(f"(echo I: extracting archives...; echo other) >&2; cat {tmp_path / 'gate'}")
        )
        assert processes.wait_until(lambda: len(base_archive.log()) == 2, 30)
        progress, client, lines = (
            Reporter(str(tmp_path / "progress"), clock=iter(range(0, 10**9, 3)).__next__),
            Client(),
            [],
        )

        def end_build() -> None:
            # Without an assertion: the build has to end in any case.
            processes.wait_until(lambda: "extracting" in (files.read_text(str(tmp_path / "progress")) or ""), 30)
            time.sleep(0.1)  # the same line must not be reported again
            (tmp_path / "gate").write_bytes(b"root file system")

        thread = threading.Timer(0.1, end_build)
        thread.start()
        assert bootstrap.bootstrap(client, IMAGE, progress, threading.Event()) == "id of example/base:bookworm"
        thread.join()

        lines = (tmp_path / "progress").read_text(encoding="utf-8").splitlines()
        assert lines == ["base image: bookworm from the distribution's packages", "base image: extracting archives"]
        assert client.imported["content"] == b"root file system"
        assert client.imported["repository"] == "example/base"
        assert f"LABEL {LABEL}=digest" in client.imported["changes"]
        assert not directory.exists()

    def test_a_step_that_failed_ends_the_wait(
        self, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "_run", lambda *_: pytest.fail("did not wait"))
        os.mkfifo(tmp_path / "gate")
        assert base_archive.start("digest", shell(f"cat {tmp_path / 'gate'}"))
        stop = threading.Event()
        stop.set()
        with pytest.raises(StoppedError):
            bootstrap.bootstrap(Client(), IMAGE, Reporter(None), stop)
        (tmp_path / "gate").write_bytes(b"")
        assert processes.wait_until(lambda: not base_archive.is_running(), 30)

    def test_without_an_archive_it_is_built(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "make_command", lambda *_: ["printf", "built now"])
        client = Client()
        bootstrap.bootstrap(client, IMAGE, Reporter(None), threading.Event())
        assert client.imported["content"] == b"built now"
