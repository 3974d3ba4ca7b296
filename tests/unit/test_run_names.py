"""Names of what test runs create: runs do not meet, children of a run share its names, and leftovers are recognised."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hosts import run

TESTS = Path(run.__file__).resolve().parents[1]
PRINT = "from hosts import run; run.begin(); print(run.name('hub'))"


def name_in(environment: dict[str, str]) -> str:
    """Return the name of a hub in another process."""
    env = {**environment, "PYTHONPATH": str(TESTS)}
    return subprocess.run([sys.executable, "-c", PRINT], env=env, check=True, capture_output=True, text=True).stdout[
        :-1
    ]


def test_two_runs_have_different_names_and_workers_the_names_of_their_run() -> None:
    mine, outside = dict(os.environ), {key: value for key, value in os.environ.items() if key != run.VARIABLE}

    assert name_in(mine) == run.name("hub")
    first, second = name_in(outside), name_in(outside)
    assert len({first, second, run.name("hub")}) == 3
    assert run.is_stale(first)  # its process has ended
    assert run.is_running(run.name("hub"))
    assert not run.is_stale(run.name("hub"))


def test_hosts_to_keep_belong_to_no_run_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(run.VARIABLE)
    monkeypatch.setenv(run.KEEP, "1")
    run.begin()
    assert not run.is_stale(run.name("debian12"))
    monkeypatch.delenv(run.VARIABLE)
    assert run.name("web") == "jhd-web"


@pytest.mark.parametrize("name", ["jupyterhub", "jhd-host", "jhd-test-1x1-hub", "jhd-1-hub", "1x1-hub"])
def test_other_names_are_never_stale(name: str) -> None:
    assert not run.is_stale(name)


@pytest.mark.parametrize("name", ["{}hub-jupyter-alice", "version-{}hub.json", "{}work/notebook:one"])
def test_leftovers_of_all_kinds_are_recognised(name: str) -> None:
    assert run.is_stale(name.format("jhd-1x1-"))
    assert run.is_running(name.format(run.name("")))


def test_no_test_uses_a_fixed_name() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{number}"
        for folder in ("integration", "e2e", "support")
        for path in (TESTS / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"[\"']jhd-(?!test\")", line)
    ]
    assert found == []
