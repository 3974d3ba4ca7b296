"""The site that `make docs` builds: complete, without broken links, and readable without any other host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import docs_site

ROOT = Path(__file__).resolve().parents[2]


def build(root: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout as `make check` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=root, capture_output=True, text=True
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what the site is built from."""
    for name in ("mkdocs.yml", "tools/docs_site.py", *docs_site.OUTSIDE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def append(page: Path, text: str) -> None:
    """Add a paragraph to a page."""
    page.write_text(f"{page.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")


def test_site_is_complete_and_loads_nothing_from_other_hosts(checkout: Path) -> None:
    built = build(checkout)

    assert built.returncode == 0, built.stderr
    site = checkout / ".cache/site"
    first_page = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="images/notebook.png"' in first_page
    assert (site / "search/search_index.json").stat().st_size > 100_000
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*src=\"([^\"]*)\"|<link[^>]*href=\"([^\"]*)\"", text)
        assert [name for pair in loaded for name in pair if re.match("(?:https?:)?//", name)] == [], page


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("docs/tutorial.md", "[broken](how-to/no-such-page.md)"),
        ("docs/tutorial.md", "[broken](how-to/restore.md#no-such-heading)"),
        ("docs/tutorial.md", "[not in the site](../Makefile)"),
        ("bench/README.md", "[broken](../docs/no-such-page.md)"),
    ],
)
def test_broken_link_stops_the_build(checkout: Path, page: str, text: str) -> None:
    append(checkout / page, text)

    built = build(checkout)

    assert built.returncode != 0
    assert "contains a" in built.stderr


def test_page_outside_the_navigation_stops_the_build(checkout: Path) -> None:
    (checkout / "docs/how-to/orphan.md").write_text("# Orphan\n", encoding="utf-8")

    built = build(checkout)

    assert built.returncode != 0
    assert "how-to/orphan.md" in built.stderr


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("docs/how-to/restore.md", "../../CHANGELOG.md", "../changes.md"),
        ("docs/development.md", "../bench/README.md#the-images", "measurements.md#the-images"),
        ("bench/README.md", "../docs/how-to/restore.md", "how-to/restore.md"),
        ("CHANGELOG.md", "docs/images/login.png", "images/login.png"),
        ("docs/how-to/restore.md", "backup.md", "backup.md"),
        ("docs/tutorial.md", "https://example.com/docs/x.md", "https://example.com/docs/x.md"),
        ("docs/tutorial.md", "#next", "#next"),
        ("docs/tutorial.md", "../Makefile", "../Makefile"),
    ],
)
def test_link_leads_to_the_same_page_on_the_site(page: str, link: str, expected: str) -> None:
    assert docs_site.rewrite_links(f"See [it]({link}).", page) == f"See [it]({expected})."
