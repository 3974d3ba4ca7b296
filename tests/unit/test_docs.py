"""What the pages say exists: links, settings, make targets; and nothing was left to be filled in."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("bench/*.md")),
]
PLACEHOLDER = "\0"
# Names in the pages that look like settings and are something else: roles, modules, results, our Python package.
NO_SETTINGS = re.compile(
    r"^(jupyterhub_(images|images_result|config|hub|image|old_images|backup|backup_(?:last_run|last_success|late_after|newest|archives|stored)\w*|secrets|host_info|deploy\w*)|docker_(engine\w*|\w+_info))$"
)


def settings() -> set[str]:
    """Return the names of all settings of all roles."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found |= set(spec.get("options") or {})
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_and_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name.rstrip("_") for name in re.findall(r"(?<![\w./-])(?:jupyterhub|docker)_[a-z_]+(?![\w.(])", text)}
    unknown = {name for name in named - settings() - {"jupyterhub_prot"} if not NO_SETTINGS.match(name)}
    if page.name != "modules.md":  # a module's options and results have names of their own
        assert unknown == set()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_is_finished_and_names_nobody(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert "@@" not in text
    assert "/work/" not in text
    assert "/tmp/" not in text
    assert text.startswith("# ") or page.parent.name == "reference"
    assert text.count("```") % 2 == 0


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index)}
    pages = set((ROOT / "docs").glob("**/*.md")) - {ROOT / "docs/README.md"}

    assert sorted(str(page) for page in pages - linked) == []


def windows(text: str) -> set[tuple[str, ...]]:
    """Return each three words in a row, without punctuation; a word with a placeholder is only that."""
    words = [PLACEHOLDER if PLACEHOLDER in word else word.strip(".,;:()") for word in text.split()]
    return set(zip(words, words[1:], words[2:]))


@functools.cache
def messages_in_the_code() -> set[tuple[str, ...]]:
    """Return the windows of all texts in our code."""
    found = set()
    for folder in ("library", "module_utils", "filter_plugins", "action_plugins", "callback_plugins", "roles", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values]
                    found |= windows("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= windows(node.value)
    for path in ROOT.glob("roles/**/*.html"):
        found |= windows(path.read_text(encoding="utf-8"))
    return found


def quoted_messages(page: str) -> list[str]:
    """Return the messages in the first column of a page's tables of messages, and the bold quotations."""
    tables = re.findall(r"^\| message \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return [*re.findall(r"`([^`]+)`", " ".join(cells)), *re.findall(r'^\*\*"([^"]+)"', page, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_messages_are_in_the_code(page: Path) -> None:
    """Words in angle brackets, numbers, and … for what is left out, stand for any text."""
    unknown = {
        (message, " ".join(window))
        for message in quoted_messages(page.read_text(encoding="utf-8"))
        for part in re.split(r"…|\S*<[^>]+>\S*|\b\d+\b", message)
        for window in windows(part)
        if not {window, *((*window[:n], PLACEHOLDER, *window[n + 1 :]) for n in range(3))} & messages_in_the_code()
    }
    assert unknown == set()


def test_messages_are_found_in_the_tables() -> None:
    assert len(quoted_messages((ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"))) > 50
    page = "| message | solution |\n| --- | --- |\n| `a <b>`, `c` | `d` |\n\n| `e` | `f` |\n"
    assert quoted_messages(page) == ["a <b>", "c"]


def test_every_command_and_playbook_is_documented() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    developers = (ROOT / "docs/development.md").read_text(encoding="utf-8")
    for target in re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"make {target}\b", text + developers), target
    for playbook in [*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml")]:
        plays = yaml.safe_load(playbook.read_text(encoding="utf-8"))
        if not isinstance(plays, list) or playbook.name.startswith("."):
            continue  # not a playbook
        name = str(playbook.relative_to(ROOT))
        assert f"`{name}`" in text, name
        for parameter in re.findall(r"\{\{ \(?([a-z_]+)(?: \| default\(| \}\})", playbook.read_text(encoding="utf-8")):
            assert f"`{parameter}=" in text, f"{name}: {parameter}"
