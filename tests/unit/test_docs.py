"""What the pages say exists: links, settings, make targets; and nothing was left to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("bench/*.md")),
]
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
    assert not re.search("(?<!jovyan)(?<!~)/work/", text)
    assert "/tmp/" not in text
    assert text.startswith("# ") or page.parent.name == "reference"
    assert text.count("```") % 2 == 0


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index)}
    pages = set((ROOT / "docs").glob("**/*.md")) - {ROOT / "docs/README.md"}

    assert sorted(str(page) for page in pages - linked) == []


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
