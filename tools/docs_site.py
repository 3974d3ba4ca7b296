"""MkDocs hook: make the site from pages that also read well on a code host.

Some pages are outside ``docs/`` because readers of the repository expect them there. This hook copies them into the
site and rewrites the links between them and ``docs/``. It leaves a link to any other file outside ``docs/`` as it is,
and MkDocs then reports that link as broken.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "bench/README.md": "measurements.md",
}
"""Pages outside ``docs/`` that the site has too: path in the repository -> path in the site."""

LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")


def site_path(path: str) -> str | None:
    """Return where the site has a file of the repository, or ``None`` when it is not part of the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return OUTSIDE.get(path)


def rewrite_links(text: str, page: str) -> str:
    """Return a page with its links to files outside ``docs/`` changed to where the site has them.

    Args:
        text: the page in Markdown.
        page: the page's path in the repository.
    """
    here = site_path(page) or page

    def rewritten(match: re.Match[str]) -> str:
        target = site_path(normpath(str(PurePosixPath(page).parent / match[2])))
        if target is None:
            return match[0]
        return f"{match[1]}{relpath(target, str(PurePosixPath(here).parent))}{match[3]}"

    return LINK.sub(rewritten, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that code hosts give them, so that one link works on both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside ``docs/``."""
    root = Path(config.config_file_path).parent
    for path, target in OUTSIDE.items():
        files.append(File.generated(config, target, content=(root / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    outside = {target: path for path, target in OUTSIDE.items()}
    return rewrite_links(markdown, outside.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
