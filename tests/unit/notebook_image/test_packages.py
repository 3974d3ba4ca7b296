"""Where the packages of a user are, and what a user is told about those of another version of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_deploy_notebook import packages

VERSION = packages.VERSION
FILES = Path(packages.__file__).parents[1]


def paths(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Return the environment of a server with an empty volume, and the user's directory in the container."""
    volume, own = tmp_path / "work", tmp_path / "own"
    volume.mkdir()
    own.mkdir()
    return {"JUPYTERHUB_ROOT_DIR": str(volume), "JUPYTERHUB_USER_PACKAGES": "keep"}, own


def files_of(directory: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in directory.rglob("*")}


def install(base: Path, version: str, name: str, module: str = "", **metadata: str) -> Path:
    """Create what pip leaves of a package; return its directory of metadata."""
    site = base / version / f"lib/python{version}/site-packages"
    (site / (module or name)).mkdir(parents=True)
    info = site / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    for file, text in metadata.items():
        (info / file.replace("__", ".")).write_text(text)
    return info


def test_the_environment_in_the_volume_adds_its_packages_to_those_of_the_image(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    found = packages.prepare(environ, own)
    assert found == Path(environ["JUPYTERHUB_ROOT_DIR"], packages.HIDDEN, VERSION)
    site = found / "lib" / f"python{VERSION}" / "site-packages"
    (site / "docker.py").write_text("mine = True\n")  # also in the test's own environment
    code = "import sys, docker, requests\nprint(sys.prefix, docker.mine, requests.__file__)"
    python = own / "packages/bin/python"
    printed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed[:2] == [str(own / "packages"), "True"]
    assert printed[2].startswith(sys.prefix)
    environment = {"PATH": "/usr/bin:/bin"}
    version = subprocess.check_output([own / "packages/bin/pip", "--version"], env=environment, text=True)
    assert version.startswith("pip "), version


def test_what_is_complete_stays_unchanged(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    packages.prepare(environ, own)
    before = files_of(tmp_path)
    packages.prepare(environ, own)
    assert files_of(tmp_path) == before


def test_what_the_user_has_removed_is_created_again(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    found = packages.prepare(environ, own)
    before = set(files_of(tmp_path))
    for name in ("pyvenv.cfg", "bin/python", "bin/pip"):
        (found / name).unlink()
    packages.prepare(environ, own)
    assert set(files_of(tmp_path)) == before


def test_with_session_nothing_is_in_the_volume(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    assert packages.prepare({**environ, "JUPYTERHUB_USER_PACKAGES": "session"}, own) == own / VERSION
    assert packages.prepare({}, own) == own / VERSION
    assert os.listdir(environ["JUPYTERHUB_ROOT_DIR"]) == []


def test_a_volume_without_room_for_it_stops_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ, own = paths(tmp_path)
    Path(environ["JUPYTERHUB_ROOT_DIR"], packages.HIDDEN).write_text("a file")
    assert packages.prepare(environ, own) == own / VERSION
    assert (own / "packages").readlink() == own / VERSION
    assert "will be lost when the server stops" in capsys.readouterr().err


def test_packages_of_another_python_are_listed_and_a_failed_import_says_so(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    base = Path(environ["JUPYTERHUB_ROOT_DIR"], packages.HIDDEN)
    install(base, "3.9", "Pandas", "pandas", REQUESTED="")
    install(base, "3.9", "dependency")
    install(base, "3.9", "lab_tools", REQUESTED="", direct_url__json=json.dumps({"url": "file:///home/jovyan/work/x"}))
    packages.prepare(environ, own)
    listed = base / "requirements-3.9.txt"
    assert listed.read_text() == "# not from the package index: lab_tools 1.5\nPandas  # was 1.5\n"
    text = packages.hint("pandas.core", base)
    assert text.startswith(f"pandas was installed for Python 3.9, and this server has Python {VERSION}. Install")
    assert f"%pip install -r {listed}\n" in text
    assert packages.hint("numpy", base) == packages.hint("", base) == ""
    assert packages.hint("pandas", tmp_path) == "", "another environment of the user"


def test_a_list_is_written_again_only_when_packages_have_changed(tmp_path: Path) -> None:
    environ, own = paths(tmp_path)
    base = Path(environ["JUPYTERHUB_ROOT_DIR"], packages.HIDDEN)
    info = install(base, "3.9", "pandas", REQUESTED="")
    packages.prepare(environ, own)
    before = files_of(tmp_path)
    packages.prepare(environ, own)
    assert files_of(tmp_path) == before
    install(base, "3.9", "polars", REQUESTED="")
    os.utime(info.parent, (2**32, 2**32))
    packages.prepare(environ, own)
    assert "polars" in (base / "requirements-3.9.txt").read_text()


def test_what_could_block_the_start_is_not_read(tmp_path: Path) -> None:
    packages.prepare({"JUPYTERHUB_ROOT_DIR": str(tmp_path)}, tmp_path / "own")
    site = tmp_path / packages.HIDDEN / "3.9/lib/python3.9/site-packages"
    for name, blocked in (("pipe", "METADATA"), ("long", ""), ("other", "REQUESTED"), ("good", "")):
        info = site / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        for file in {"METADATA", "REQUESTED"} - {blocked}:
            (info / file).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        if blocked:
            os.mkfifo(info / blocked)
    (site / "none-1.dist-info").mkdir()
    os.mkfifo(site / "none-1.dist-info/PKG-INFO")
    os.mkfifo(site / "alone-1.dist-info")
    os.truncate(site / "long-1.dist-info/METADATA", 2**40)
    packages.prepare({"JUPYTERHUB_ROOT_DIR": str(tmp_path)}, tmp_path / "own")
    assert (tmp_path / packages.HIDDEN / "requirements-3.9.txt").read_text() == "good  # was 1\n"


def test_broken_metadata_are_left_out(tmp_path: Path) -> None:
    info = install(tmp_path, "3.9", "half", REQUESTED="")
    (info / "METADATA").unlink()
    assert packages.requirements(distributions(path=[str(info.parent)])) == ""


class Shell:
    """IPython's, as far as an extension uses it here."""

    def set_custom_exc(self, kinds: Any, handler: Any) -> None:
        self.kinds, self.handler = kinds, handler

    def showtraceback(self, *args: Any, **options: Any) -> None:
        print("the traceback")


def test_the_kernel_shows_the_traceback_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / packages.HIDDEN
    install(base, "3.9", "pandas")
    (base / VERSION).mkdir()
    monkeypatch.setattr(packages.sys, "prefix", str(base / VERSION))
    shell = Shell()
    packages.load_ipython_extension(shell)
    assert shell.kinds == (ModuleNotFoundError,)
    for name, told in (("pandas", True), ("numpy", False)):
        error = ModuleNotFoundError(f"No module named {name!r}", name=name)
        shell.handler(shell, type(error), error, None)
        captured = capsys.readouterr()
        assert (captured.out, "was installed for Python 3.9" in captured.err) == ("the traceback\n", told)


def test_kernels_use_the_environment_by_a_program_that_replaces_itself() -> None:
    """The server finds out by the number of the process whether a kernel was ended for memory."""
    kernel = json.loads((FILES / "kernel.json").read_text())
    assert kernel["argv"][2].startswith(". /etc/profile.d/user-packages.sh; exec python -m ipykernel_launcher ")
    assert packages.__name__ in kernel["argv"][2]
