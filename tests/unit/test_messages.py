"""Each message that the documentation quotes is in the code, word for word apart from placeholders."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PLACEHOLDER = "\0"
COLUMNS = re.compile(r"message\b.*|on the page \*Accounts\*|what the user sees")
"""Headers of the columns of tables that quote messages."""

# Beginning of a quotation -> what shows it instead of this project.
ELSEWHERE = {
    "Spawn failed": "JupyterHub",
    "Kernel Restarting": "JupyterLab",
    "Server unavailable": "JupyterLab",
    "Could not match supplied host pattern": "Ansible",
    "Permission denied": "ssh",
    "Missing sudo password": "Ansible",
    "make ": "nobody; it is a command",
    "User 'github:bob' not allowed.": "JupyterHub",
    "OAuth state": "OAuthenticator",
    "No space left on device": "the operating system",
}

Names = dict[str, list[ast.expr]]


def texts(node: ast.AST, names: Names) -> list[str]:
    """Return the texts that an expression can have, with a placeholder for each value that is not known.

    :param names: what the file assigns to each variable.
    """
    if isinstance(node, ast.Constant):
        return [re.sub(r"\{\w*\}|%[rs]", PLACEHOLDER, node.value)] if isinstance(node.value, str) else [PLACEHOLDER]
    if isinstance(node, ast.FormattedValue):
        return texts(node.value, names)
    if isinstance(node, ast.Name) and node.id in names:
        others = {name: values for name, values in names.items() if name != node.id}
        return [PLACEHOLDER, *(text for value in names[node.id] for text in texts(value, others))]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body, names), *texts(node.orelse, names)]
    if isinstance(node, ast.BoolOp):
        return ["", *(text for value in node.values for text in texts(value, names))]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in itertools.product(*(texts(value, names) for value in node.values))]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return ["".join(parts) for parts in itertools.product(texts(node.left, names), texts(node.right, names))]
    return [PLACEHOLDER]


def texts_of_program(path: Path) -> Iterator[str]:
    """Yield the texts of a Python file, except its documentation."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    documentation = {node.value for node in nodes if isinstance(node, ast.Expr)}
    names: Names = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            pairs: Iterable[tuple[ast.expr, ast.expr]] = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(node.targets[0].elts, node.value.elts)
            for target, value in pairs:
                names.setdefault(getattr(target, "id", ""), []).append(value)
    for name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
        documentation.update(names.pop(name, []))
    for node in nodes:
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) and node not in documentation:
            yield from texts(node, names)


def words_of(text: str) -> list[str]:
    """Return the words of a text without punctuation, placeholders as such."""
    words = (PLACEHOLDER if PLACEHOLDER in word else word.strip(".,;:()") for word in text.split())
    words = (word.removeprefix("jupyterhub_") for word in words)  # filters add it to names of settings
    return [word for word in words if word]


@functools.cache
def code() -> list[tuple[list[str], frozenset[str]]]:
    """Return the texts of the code, in words: programs, templates, tasks and pages' scripts."""
    found: set[str] = set()
    for folder in ("library", "module_utils", "filter_plugins", "action_plugins", "callback_plugins", "roles", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            found.update(texts_of_program(path))
    for path in [*ROOT.glob("roles/**/*.html"), *ROOT.glob("roles/*/tasks/*.yml"), ROOT / "Makefile"]:
        for part in re.split(r"\n\n|<[^>]+>", path.read_text(encoding="utf-8")):
            found.add(re.sub(r"\{\{.*?\}\}", PLACEHOLDER, part, flags=re.DOTALL))
            found.update(re.findall(r'"([^"{}]+)"', part))
    for path in ROOT.glob("roles/**/static/*.js"):
        for text in re.findall(r'["`]([^"`\n]+)["`]', path.read_text(encoding="utf-8")):
            found.add(re.sub(r"\$\{.*?\}", PLACEHOLDER, text))
    # A text may be a part of a longer one.
    return [([PLACEHOLDER, *words, PLACEHOLDER], frozenset(words)) for words in map(words_of, found)]


def fits(quoted: list[str], text: list[str], hidden: int) -> bool:
    """Return whether quoted words are in a text, with at most ``hidden`` of them in the place of its values."""

    @functools.cache
    def fit(i: int, j: int, left: int) -> bool:
        if i == len(quoted):
            return True
        if quoted[i] == PLACEHOLDER:
            return any(fit(i + 1, end, left) for end in range(j, len(text) + 1))
        if j == len(text):
            return False
        if text[j] == PLACEHOLDER:
            return fit(i, j + 1, left) or (left > 0 and fit(i + 1, j, left - 1))
        return quoted[i] == text[j] and fit(i + 1, j + 1, left)

    return any(fit(0, start, hidden) for start in range(len(text)))


def is_in_the_code(message: str) -> bool:
    """Return whether a message is one of the code's texts, or each of its clauses is."""
    quoted = words_of(re.sub(r"\S*<[^>]+>|\b\d+\b|…", PLACEHOLDER, message))
    fixed = [word for word in quoted if word != PLACEHOLDER]
    hidden = len(fixed) // 3
    if any(
        sum(word in words for word in fixed) >= len(fixed) - hidden and fits(quoted, text, hidden)
        for text, words in code()
    ):
        return True
    parts = re.split(r"(?<=[:;,]) ", message)
    return len(parts) > 1 and all(map(is_in_the_code, parts))


def quotations(page: str) -> list[str]:
    """Return the messages in the columns of tables that have them, and those in bold type."""
    cells = []
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        cells += [row[n] for row in rows for n, name in enumerate(header) if COLUMNS.fullmatch(name)]
    quoted = [found[0] or found[1] for found in re.findall(r"`([^`]+)`|(?<!\*)\*([^*]+)\*(?!\*)", "\n".join(cells))]
    return [*quoted, *re.findall(r'\*\*"([^"]+)"', page), *re.findall(r"\*\*`([^`]+)`", page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_messages_are_in_the_code(page: Path) -> None:
    """Words in angle brackets, numbers, and … for what is left out, stand for any text."""
    quoted = [text for text in quotations(page.read_text(encoding="utf-8")) if not text.startswith(tuple(ELSEWHERE))]

    assert [message for message in quoted if not is_in_the_code(message)] == []


def test_quotations_are_found() -> None:
    assert len(quotations((ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"))) > 130
    tables = "| message | solution |\n| --- | --- |\n| `a <b>`, *c* | `d` |\n\n| setting |\n| --- |\n| `e` |\n"
    page = f'{tables}\n**"g"** or **"h"** `i`\n'
    assert quotations(page) == ["a <b>", "c", "g", "h"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("image <i> starts no notebook server: …", True),
        ("image example.com/a starts no notebook server", True),
        ("image <i> starts another notebook server: …", False),
        ("image <i> starts no server: …", False),
    ],
)
def test_other_words_are_not_in_the_code(message: str, expected: bool) -> None:
    assert is_in_the_code(message) == expected
