"""tools/language.py rejects the listed phrases and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import language


def phrases(text: str) -> list[str]:
    """Return the rejected phrases of a text, in lower case."""
    return [finding.phrase.lower() for finding in language.findings(text, "x")]


@pytest.mark.parametrize(
    "text",
    [
        "Please mend these settings:",
        "a fault that upstream has mended",
        "the archive is judged before anything is written",
        "def judge_members(archive):",
        "whoever fills in the form",
        "the person whom it names",
        "the hub is started anew",
        "the successor stands by",
        "if stands_by(container):",
        "To have it done at the end of each run:",
        "# What came of it.",
        "it lies in the directory of backups",
        "the setting stands under `vars:`",
        "a change that nobody notices",
        "- name: Care for declared users",
        "readable by root alone",
        "See that it is there.",
        "- name: Say where the hub is",
        "TASK [jupyterhub : Say where the hub is] ***",
        '"""Tell a volume from a directory."""',
        '"""Look for faults."""',
        "- name: Have the host back up by itself",
        "users = self.look(name)",
        "that is no public key",
        "members that are no directories",
    ],
)
def test_phrase_is_rejected(text: str) -> None:
    assert phrases(text)


@pytest.mark.parametrize(
    "text",
    [
        "We recommend to amend the commended settings.",
        "the hub is no longer reachable; there are no backups, and is there no other way",
        "there is no public key",
        "# so that there\n# is no backup of it",
        "This server has no limit.",
        "stands for your own value; stand still",
        "everything that the hub has put there; have it all",
        "leaves the running servers alone",
        "When you see that the hub is up, sign in.",
        "Look at the logs, say, with docker logs, and tell alice.",
        "- name: Saying nothing",
        "looks = line.strip()",
        "the hub relies on it; underlies; a care label",
        "for lie in lies:",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert phrases(text) == []


def test_a_phrase_is_found_across_a_line_break_in_a_comment() -> None:
    found = language.findings("first\n    # the container is\n    # no server\n", "a.py")

    assert [str(finding) for finding in found] == ['a.py:2: "is # no server": write "is not a …" or "has no …"']


def test_finding_names_place_and_replacement() -> None:
    (finding,) = language.findings("one\nMend that.\n", "docs/page.md")

    assert str(finding) == 'docs/page.md:2: "Mend": write "fix" or "repair"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in ("a.md", "docs/b.md", "docs/upstream-faq.md", "requirements/test.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("judge\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff judge")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "untracked.md").write_text("judge\n", encoding="utf-8")
    return tmp_path


def test_tracked_text_files_are_checked(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert language.main([], checkout) == 1
    assert [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()] == ["a.md:1:", "docs/b.md:1:"]


def test_only_named_files_are_checked(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert language.main(["docs"], checkout) == 1
    assert capsys.readouterr().out == 'docs/b.md:1: "judge": write "check" or "validate"\n'


def test_a_clean_checkout_passes(checkout: Path) -> None:
    for name in ("a.md", "docs/b.md"):
        (checkout / name).write_text("Fix the settings.\n", encoding="utf-8")

    assert language.main([], checkout) == 0
