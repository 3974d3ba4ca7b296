"""The end of a kernel is explained if the Linux kernel ended it for memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyterhub_deploy_notebook import memory

#: The files of a control group, of both versions: a limit of 2 GiB, and three processes that were ended.
FILES = [
    ("low 0\nhigh 0\nmax 12\noom 3\noom_kill 3\noom_group_kill 0\n", "2147483648\n"),
    ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "2147483648\n"),
]


def cgroup(folder: Path, events: str, maximum: str) -> list[tuple[Path, Path]]:
    (folder / "events").write_text(events)
    (folder / "max").write_text(maximum)
    return [(folder / "missing", folder / "missing"), (folder / "events", folder / "max")]


@pytest.mark.parametrize(("events", "maximum"), FILES)
def test_both_versions_of_control_groups_are_read(events: str, maximum: str, tmp_path: Path) -> None:
    found = cgroup(tmp_path, events, maximum)
    assert (memory.kills(found), memory.limit(found)) == (3, "2.0 GiB")


@pytest.mark.parametrize("maximum", ["max\n", "9223372036854771712\n"])
def test_a_server_without_a_limit_has_none(maximum: str, tmp_path: Path) -> None:
    assert memory.limit(cgroup(tmp_path, "", maximum)) == ""


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    nothing = [(tmp_path / "events", tmp_path / "max")]
    assert (memory.kills(nothing), memory.limit(nothing)) == (0, "")


def test_only_the_kernel_that_was_ended_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5
    monkeypatch.setattr(memory, "kills", lambda: count)
    watch = memory.Watch()
    assert not watch.was_ended(100)
    count = 6
    assert watch.was_ended(101)
    assert watch.was_ended(101), "each connection to the kernel asks"
    assert not watch.was_ended(102), "its next process was killed otherwise"
    count = 8
    assert watch.was_ended(103), "two at once"
    assert watch.was_ended(104), "two at once"
    assert not watch.was_ended(105)


def test_what_was_ended_before_was_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of a terminal, hours ago."""
    count = 0
    monkeypatch.setattr(memory, "kills", lambda: count)
    watch = memory.Watch()
    count = 2
    assert not watch.was_ended(100, before=2)
    count = 3
    assert watch.was_ended(101, before=2)


def test_the_explanation_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limit", lambda: "2.0 GiB")
    assert "This server can use 2.0 GiB, for all its notebooks and terminals together, and less" in memory.explanation()
    monkeypatch.setattr(memory, "limit", lambda: "")
    assert "The memory of this server is limited, for all its" in memory.explanation()
