"""Check the YAML syntax of inventories, and name file, line and column::

    python tools/inventory_syntax.py inventory [-- arguments of ansible-playbook]

The inventories of ``-i`` in the arguments replace those before. Ansible 2.19 does not name the place of a mistake in a
file with variables. ``make`` runs this before Ansible.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

VARIABLES = ("group_vars", "host_vars")


class Loader(yaml.SafeLoader):
    """Reads tags such as ``!vault`` without their meaning, and refuses a name that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; Ansible would use the last of two values, and drop for example a limit in the first."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value} is here twice; merge them", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _no_value(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    return None


Loader.add_multi_constructor("!", _no_value)


def files_of(inventory: Path) -> Iterator[Path]:
    """Yield the YAML files of an inventory: itself, or what is in the directory, and the variables beside it."""
    within = [inventory] if inventory.is_dir() else [inventory.parent / name for name in VARIABLES]
    found = [inventory, *(path for directory in within for path in sorted(directory.rglob("*")))]
    return (path for path in found if path.suffix in (".yml", ".yaml") and path.is_file())


def problem(path: Path) -> str | None:
    """Return what is wrong with a file, ``None`` if nothing is."""
    try:
        for _ in yaml.load_all(path.read_text(encoding="utf-8"), Loader):
            pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        assert mark  # noqa: S101  (for mypy)
        return f"{path}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}\n{mark.get_snippet()}"
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        return f"{path}: {error}"
    return None


def chosen(arguments: Sequence[str]) -> list[str]:
    """Return the inventories that a run with these arguments uses."""
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--inventory", "--inventory-file", action="append")
    return parser.parse_known_args(arguments[separator + 1 :])[0].inventory or list(arguments[:separator])


def main(arguments: Sequence[str]) -> int:
    """Print a line for each file that is not YAML; return the exit code."""
    inventories = chosen(arguments)
    problems = [found for name in inventories for path in files_of(Path(name)) if (found := problem(path))]
    if problems:
        print("Nothing was changed. These files are not valid YAML:", *(f"- {one}" for one in problems), sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
