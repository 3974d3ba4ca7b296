"""`make test` leaves out long tests and repetitions, and nothing else; `make test-all` runs all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = """
import pytest

@pytest.fixture
def machine():
    print("machine created")

@pytest.mark.long
def test_soak(machine):
    print("soak")

def test_plain(times):
    print(f"{times(2, 50)} repetitions")
"""


@pytest.mark.parametrize(
    ("options", "summary", "printed"),
    [
        ([], "1 passed, 1 skipped", {"2 repetitions"}),
        (["--long"], "2 passed", {"machine created", "soak", "50 repetitions"}),
    ],
)
def test_only_long_tests_and_repetitions_are_left_out(
    tmp_path: Path, options: list[str], summary: str, printed: set[str]
) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "support.long_runs", "--capture=no", "--strict-markers", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", tmp_path, "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert f"= {summary} in" in done.stdout
    assert {line for line in printed if line in done.stdout} == printed
    assert ("machine created" in done.stdout) == bool(options)


def commands(target: str) -> list[str]:
    """Return the commands of a target of the Makefile."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_ci_runs_all_directories_and_test_all_the_long_tests_too() -> None:
    assert "make test 2>&1" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    (test,), (test_all,) = (
        [line.split() for line in commands(target) if "tests/integration" in line] for target in ("test", "test-all")
    )
    assert [word for word in test_all if word not in test] == ["--long"]
    assert not {word for word in test if word.startswith(("-m", "-k", "--deselect", "--ignore"))}
    directories = {word for line in commands("test") for word in line.split() if word.startswith("tests/")}
    tested = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in (ROOT / "tests").rglob("test_*.py")}
    assert tested <= directories
