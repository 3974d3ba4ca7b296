"""Write docs/reference/ from what the code says of itself: roles' argument specs and modules' documentation.

Run it after a change of either (a unit test fails otherwise)::

    python tools/reference.py            # write
    python tools/reference.py --check    # write nothing; exit 1 when a page is out of date
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent

ROLE_ORDER = ["jupyterhub", "docker", "jupyterhub_images", "jupyterhub_backup", "preflight"]
"""Roles in the order in which an operator needs them; any other comes after, by name."""

MADE = "<!-- Made by tools/reference.py. Change the source and run it again; do not edit here. -->"

# Ansible's markup in descriptions -> Markdown. https://docs.ansible.com/ansible/latest/dev_guide/ansible_markup.html
MARKUP = [
    (re.compile(r"\b(?:[CVOEMP]|RV)\(((?:[^()\\]|\\.|\([^()]*\))*)\)"), r"`\1`"),
    (re.compile(r"\bB\(([^()]*)\)"), r"**\1**"),
    (re.compile(r"\bI\(([^()]*)\)"), r"*\1*"),
    (re.compile(r"\bU\(([^()]*)\)"), r"<\1>"),
    (re.compile(r"\bL\(([^(),]*),\s*([^()]*)\)"), r"[\1](\2)"),
]


def markdown(text: str) -> str:
    """Turn one paragraph in Ansible's documentation markup into Markdown."""
    code = " ".join(text.split())
    for pattern, replacement in MARKUP:
        code = pattern.sub(replacement, code)
    return re.sub(r"(?<!`)<(?=[a-z]+>)(?![^`]*`)", "&lt;", code)


def paragraphs(description: str | Iterable[str] | None) -> list[str]:
    """Return a description, which may be one string or a list of them, as Markdown paragraphs."""
    if description is None:
        return []
    texts = [description] if isinstance(description, str) else list(description)
    return [markdown(text) for text in texts]


def shown(value: Any) -> str:
    """Return a default as an operator would write it in YAML on one line."""
    if value is None:
        return "none"
    other_setting = re.fullmatch(r"\{\{ (\w+) \| default\(.*\) \}\}", str(value))
    if other_setting:
        return f"the value of `{other_setting[1]}`"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True)
    return "`" + text.removesuffix("\n").removesuffix("\n...").strip() + "`"


def kind(option: Mapping[str, Any]) -> str:
    """Return the type of an option in words: ``list of str``, ``int``."""
    name = option.get("type", "str")
    return f"{name} of {option['elements']}" if option.get("elements") else str(name)


def facts(option: Mapping[str, Any]) -> str:
    """Return the line under an option's heading: its type, what may stand there, and its default."""
    parts = [kind(option)]
    if option.get("choices"):
        parts.append("one of " + ", ".join(f"`{choice}`" for choice in option["choices"]))
    parts.append("required" if option.get("required") else f"default {shown(option.get('default'))}")
    if option.get("no_log"):
        parts.append("secret: never shown")
    return "; ".join(parts)


def options_as_list(options: Mapping[str, Any], indent: str) -> list[str]:
    """Return suboptions as a nested Markdown list."""
    lines = []
    for name, option in options.items():
        lines.append(f"{indent}- `{name}` ({facts(option)}): " + " ".join(paragraphs(option.get("description"))))
        lines += options_as_list(option.get("options") or option.get("suboptions") or {}, indent + "  ")
    return lines


def options_as_sections(options: Mapping[str, Any], level: str) -> list[str]:
    """Return options as Markdown sections, so that other pages can link to each."""
    lines: list[str] = []
    for name, option in options.items():
        lines += [f"{level} `{name}`", "", facts(option), ""]
        for paragraph in paragraphs(option.get("description")):
            lines += [paragraph, ""]
        nested = options_as_list(option.get("options") or option.get("suboptions") or {}, "")
        lines += [*nested, ""] if nested else []
    return lines


def settings_page(specs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of settings.

    Args:
        specs: the ``argument_specs`` of each role (entry point -> specification), by the role's name.
    """
    lines = [
        MADE,
        "",
        "# Settings",
        "",
        "Every setting of every role. Those of `jupyterhub` are the ones that an operator changes; write them in",
        "`inventory/group_vars/jupyterhub.yml`. Several settings of the other roles follow them by default.",
        "",
    ]
    for role in sorted(specs, key=lambda name: (ROLE_ORDER.index(name) if name in ROLE_ORDER else 99, name)):
        for entry_point, spec in specs[role].items():
            suffix = "" if entry_point == "main" else f", entry point `{entry_point}`"
            lines += [f"## Role `{role}`{suffix}", "", f"{spec['short_description']}.", ""]
            for paragraph in paragraphs(spec.get("description")):
                lines += [paragraph, ""]
            options = spec.get("options") or {}
            lines += options_as_sections(options, "###") if options else ["No settings of its own.", ""]
    return "\n".join(lines).rstrip() + "\n"


def modules_page(modules: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page of modules.

    Args:
        modules: for each module its texts ``DOCUMENTATION``, ``EXAMPLES`` and ``RETURN`` (YAML), by name.
    """
    lines = [
        MADE,
        "",
        "# Modules",
        "",
        "The roles' own modules (`library/`). They run on the target with Python 3.9 or newer and the `docker` SDK,",
        "and can be used in plays of one's own beside a checkout of this project.",
        "",
    ]
    for name in sorted(modules):
        texts = modules[name]
        doc = yaml.safe_load(texts["DOCUMENTATION"])
        lines += [f"## `{name}`", "", f"{doc['short_description'].rstrip('.')}.", ""]
        for paragraph in paragraphs(doc.get("description")):
            lines += [paragraph, ""]
        lines += options_as_list(doc.get("options") or {}, "") or ["No options."]
        lines += [""]
        for attribute, support in (doc.get("attributes") or {}).items():
            described = " ".join(paragraphs(support.get("description")))
            lines += [f"- {attribute}: {support.get('support', '')}. {described}"]
        lines += [""] if doc.get("attributes") else []
        for note in paragraphs(doc.get("notes")):
            lines += [note, ""]
        lines += ["```yaml", texts.get("EXAMPLES", "").strip(), "```", ""]
        returned = yaml.safe_load(texts.get("RETURN", "")) or {}
        if returned:
            lines += ["Returns:", ""]
            for key, value in returned.items():
                lines.append(f"- `{key}` ({kind(value)}): " + " ".join(paragraphs(value.get("description"))))
            lines.append("")
    page = "\n".join(line.rstrip() for line in lines)
    return re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n"


def read_specs(root: Path) -> dict[str, dict[str, Any]]:
    """Read the argument specs of all roles below a checkout."""
    return {
        path.parent.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for path in sorted(root.glob("roles/*/meta/argument_specs.yml"))
    }


def read_modules(root: Path) -> dict[str, dict[str, str]]:
    """Read the documentation strings of all modules below a checkout, without importing them."""
    found = {}
    for path in sorted(root.glob("library/*.py")):
        texts = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
                    texts[name] = str(ast.literal_eval(node.value))
        if "DOCUMENTATION" in texts:
            found[path.stem] = texts
    return found


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return what each page of the reference should hold, by its path."""
    return {
        root / "docs/reference/settings.md": settings_page(read_specs(root)),
        root / "docs/reference/modules.md": modules_page(read_modules(root)),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` say which are out of date; return the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/reference from roles and modules.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is out of date; run: python tools/reference.py", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
