"""The packages of module_utils import downwards only, and no import leads back to where it began."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "ansible.module_utils"
PACKAGE = f"{NAMESPACE}.jupyterhub_deploy"

#: From top to bottom. Packages of one layer do not import each other.
LAYERS = (
    {"schedule", "rehearsal", "update"},
    {"restore", "users", "copy"},
    {"backup"},
    {"servers"},
    {"front"},
    {"hub"},
    {"containers", "images"},
    {"docker"},
)
#: The modules directly in the package, below all layers.
GROUND = {"errors", "progress", "text", "files", "processes", "module"}
DEPTH = {package: depth for depth, layer in enumerate(LAYERS) for package in layer} | dict.fromkeys(GROUND, len(LAYERS))


def modules() -> dict[str, str]:
    """Return the source of each of our modules by its full name; a package has the name of its directory."""
    found = {}
    directory = ROOT / "module_utils"
    for path in sorted((directory / "jupyterhub_deploy").rglob("*.py")):
        parts = path.relative_to(directory).with_suffix("").parts
        name = ".".join([NAMESPACE, *parts]).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


@functools.cache
def statements(source: str) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports in a module, also inside functions."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(name: str, source: str, known: Iterable[str]) -> Iterator[str]:
    """Yield the names of our modules that a module imports, also inside functions and by relative imports."""
    is_package = any(other.startswith(f"{name}.") for other in known)
    package = name if is_package else name.rpartition(".")[0]
    for node in statements(source):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        else:
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            wanted = [f"{origin}.{alias.name}" for alias in node.names]
        for full in wanted:
            # What is imported from a module is inside it.
            while full.startswith(f"{PACKAGE}.") and full not in known:
                full = full.rpartition(".")[0]
            if full.startswith(f"{PACKAGE}."):
                yield full


def home(name: str) -> str:
    """Return the package that a module is in, or the module itself on the ground."""
    return name.removeprefix(f"{PACKAGE}.").partition(".")[0]


def upward(sources: dict[str, str]) -> list[str]:
    """Return the imports that do not lead to a lower layer."""
    return [
        f"{name} imports {target}"
        for name, source in sources.items()
        for target in imports(name, source, sources)
        if name != PACKAGE and home(name) != home(target) and DEPTH[home(target)] <= DEPTH[home(name)]
        if not {home(name), home(target)} <= GROUND
    ]


def cycle(sources: dict[str, str]) -> list[str]:
    """Return modules of which each imports the next and the last imports the first; none when there are no such."""
    targets = {name: set(imports(name, source, sources)) - {name} for name, source in sources.items()}
    # What imports nothing that is left is in no cycle.
    while free := {name for name, wanted in targets.items() if not wanted & targets.keys()}:
        targets = {name: wanted for name, wanted in targets.items() if name not in free}
    if not targets:
        return []
    path = [min(targets)]
    while path[-1] not in path[:-1]:
        path.append(min(targets[path[-1]] & targets.keys()))
    return path[path.index(path[-1]) + 1 :]


def test_every_package_has_a_layer():
    homes = {home(name) for name in modules() if name != PACKAGE}
    assert homes == DEPTH.keys(), "a new package belongs into LAYERS, and the ground stays small"


def test_no_import_leads_upwards():
    assert upward(modules()) == []


def test_no_imports_form_a_cycle():
    assert cycle(modules()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("docker.client", f"from {PACKAGE}.backup import store"),
        ("docker.client", f"from {PACKAGE} import backup"),
        ("docker.client", f"import {PACKAGE}.backup.store"),
        ("docker.client", "from ..backup.store import load"),
        ("docker.client", f"def late():\n    from {PACKAGE}.backup import store"),
        ("users.plan", f"from {PACKAGE}.restore import swap"),
        ("text", f"from {PACKAGE}.docker import client"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    sources = modules() | {f"{PACKAGE}.{module}": source}
    (found,) = upward(sources)
    assert found.startswith(f"{PACKAGE}.{module} imports {PACKAGE}.")


def test_a_cycle_is_found():
    sources = {
        f"{PACKAGE}.text": "from .files import locked",
        f"{PACKAGE}.files": f"from {PACKAGE}.errors import DeployError",
        f"{PACKAGE}.errors": f"import {PACKAGE}.text",
        f"{PACKAGE}.module": "from . import text",
    }
    assert sorted(cycle(sources)) == [f"{PACKAGE}.errors", f"{PACKAGE}.files", f"{PACKAGE}.text"]
