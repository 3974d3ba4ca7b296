"""The environment that make prepares: two commands at once in one clone share it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Like `uv pip sync`, it removes what is not in the set; slowest where two at once would leave the tests' set in part.
UV = """#!/bin/sh
case "$*" in
  --version) sed -n 's/^uv==\\([0-9.]*\\).*/uv \\1/p' requirements/uv.txt ;;
  *control.txt) sleep 1; echo control >> log; rm -f .venv/bin/mkdocs ;;
  *test.txt) sleep 0.3; echo test >> log; cp .venv/bin/python .venv/bin/mkdocs ;;
esac
"""


def make(clone: Path, verb: str) -> subprocess.Popen[str]:
    """Start a command, with an inventory that is not copied from the example."""
    ignored = ("MAKE", "ARGS", "ANSIBLE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    return subprocess.Popen(
        ["make", verb], cwd=clone, env={**environment, "ANSIBLE_INVENTORY": "elsewhere"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what make needs, with programs that do nothing, and an installer that only adds or removes mkdocs."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "ansible-playbook"):
        (programs / name).write_text('#!/bin/sh\necho "$ANSIBLE_CONFIG" > config\n')
    (programs / "uv").write_text(UV)
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


def test_two_commands_at_once_leave_an_environment_with_all_that_its_stamps_say(clone: Path) -> None:
    both = [make(clone, verb) for verb in ("docs", "backup")]
    outputs = [one.communicate()[0] for one in both]

    assert [one.returncode for one in both] == [0, 0], outputs
    assert {path.name for path in (clone / ".venv").glob(".made-*")} == {".made-control", ".made-test"}
    assert (clone / ".venv/bin/mkdocs").exists()


def test_commands_for_operators_use_the_configuration_in_any_directory(clone: Path) -> None:
    # Ansible ignores an ansible.cfg in a directory that everyone can write to, unless it is named.
    assert make(clone, "backup").wait() == 0
    assert (clone / "config").read_text() == f"{clone}/ansible.cfg\n"


def test_a_set_that_is_current_is_not_installed_again(clone: Path) -> None:
    for verb in ("docs", "backup", "docs"):
        assert make(clone, verb).wait() == 0
    subprocess.run(["sh", "requirements/venv.sh", "control"], cwd=clone, check=True)
    assert (clone / "log").read_text() == "test\n"

    os.utime(clone / ".venv/.made-control", (1, 1))
    assert make(clone, "backup").wait() == 0
    assert (clone / "log").read_text() == "test\ncontrol\n"
    assert not (clone / ".venv/.made-test").exists()
