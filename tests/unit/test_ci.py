"""The last lines and the exit status of `.ci/run`, with a `make` that only pretends to test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
A, B = "tests/integration/a/test_a.py::test_one[x y]", "tests/e2e/test_b.py::test_two"
UNIT = "tests/unit/test_c.py::test_three"


class Clone:
    """A directory with `.ci/run` and a Makefile of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.last_failed = directory / ".pytest_cache/v/cache/lastfailed"
        for file in (".ci/run", "tests/failed_files.py"):
            (directory / file).parent.mkdir()
            shutil.copy(ROOT / file, directory / file)
        (directory / ".venv/bin").mkdir(parents=True)
        (directory / ".venv/bin/python").symlink_to(sys.executable)

    def run(self, first: str, failed: list[str], second: str = "") -> subprocess.CompletedProcess[str]:
        """Run it with two summaries of pytest; one that names failed tests fails. The first run leaves `failed`."""
        if failed:
            (self.directory / "failed.json").write_text(json.dumps(dict.fromkeys(failed, True)), encoding="utf-8")
        record = "mkdir -p .pytest_cache/v/cache; mv failed.json .pytest_cache/v/cache/lastfailed"
        targets = {"test": (first, record if failed else "true"), "again": (second, "true")}
        lines = [
            f"{target}:\n\t@{command}; echo '{summary}'; {'false' if 'failed' in summary else 'true'}\n"
            for target, (summary, command) in targets.items()
        ]
        (self.directory / "Makefile").write_text("\n".join(lines), encoding="utf-8")
        # `make check` may run this: its options are not for the make in here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            ["bash", ".ci/run"], cwd=self.directory, env=environment, text=True, capture_output=True, check=False
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_a_run_without_failures_ends_with_the_summary_of_pytest(clone: Clone) -> None:
    done = clone.run("=== 5 passed in 3.0s ===", [])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["Tests that needed a second run: 0", "=== 5 passed in 3.0s ==="]


def test_tests_that_pass_in_the_second_run_are_named(clone: Clone) -> None:
    done = clone.run("=== 2 failed, 3 passed in 3.0s ===", [A, B], "=== 4 passed in 1.0s ===")
    assert done.returncode == 0, done.stderr
    end = ["Tests that needed a second run: 2", f"  {B}", f"  {A}", "=== 4 passed in 1.0s ==="]
    assert done.stdout.splitlines()[-4:] == end


def test_a_second_run_that_fails_is_a_failure(clone: Clone) -> None:
    done = clone.run("=== 2 failed, 3 passed in 3.0s ===", [A, B], "=== 1 failed, 3 passed in 1.0s ===")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "=== 1 failed, 3 passed in 1.0s ==="


def test_a_failed_unit_test_gets_no_second_run(clone: Clone) -> None:
    done = clone.run("=== 1 failed, 3 passed in 3.0s ===", [UNIT], "=== 4 passed in 1.0s ===")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-2:] == [
        "Tests that needed a second run: 0",
        "=== 1 failed, 3 passed in 3.0s ===",
    ]


def test_failures_of_an_earlier_run_do_not_hide_a_failed_check(clone: Clone) -> None:
    """`make test` ends before pytest, so what an earlier run left is still there."""
    clone.last_failed.parent.mkdir(parents=True)
    clone.last_failed.write_text(json.dumps({A: True}), encoding="utf-8")
    done = clone.run("ruff failed", [], "=== 4 passed in 1.0s ===")
    assert done.returncode != 0
    assert "passed" not in done.stdout
