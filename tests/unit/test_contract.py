"""What the parts of the project promise each other: names, defaults, entry points, where playbooks live."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
LEFT_BY_TOOLS = {".git", ".venv", ".cache", ".ansible", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__"}


class AnyTagLoader(yaml.SafeLoader):
    """Reads Ansible's own tags (``!vault``, ``!unsafe``) as what they are attached to."""


AnyTagLoader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


def load(path: Path) -> Any:
    """Return the content of a YAML file, an empty mapping when it is empty or missing."""
    if not path.exists():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), Loader=AnyTagLoader) or {}


def specs(role: str) -> dict[str, Any]:
    """Return a role's argument specs by entry point."""
    return dict(load(ROOT / "roles" / role / "meta/argument_specs.yml").get("argument_specs", {}))


@functools.cache
def everything() -> list[Path]:
    """Return the project's files, not what tools left behind."""
    found = []
    for directory, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_BY_TOOLS]
        found += [Path(directory, name) for name in names]
    return sorted(found)


def files(*suffixes: str) -> list[Path]:
    """Return the project's files with one of these suffixes, all when none is given."""
    return [path for path in everything() if not suffixes or path.suffix in suffixes]


def tasks_of(content: Any) -> Iterator[dict[str, Any]]:
    """Yield every task in a task file or play, those inside blocks too."""
    for item in content if isinstance(content, list) else []:
        if isinstance(item, dict):
            yield item
            for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
                yield from tasks_of(item.get(key))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_what_the_specs_say(role: str) -> None:
    options = specs(role)["main"].get("options") or {}
    promised = {name: option.get("default") for name, option in options.items() if not option.get("required")}

    assert load(ROOT / "roles" / role / "defaults/main.yml") == promised


@pytest.mark.parametrize("role", ROLES)
def test_settings_carry_the_name_of_their_role(role: str) -> None:
    # A setting of role jupyterhub must not look like one of jupyterhub_images either.
    others = [f"{other}_" for other in ROLES if other != role and other.startswith(f"{role}_")]
    for spec in specs(role).values():
        for name in spec.get("options") or {}:
            assert name.startswith(f"{role}_"), name
            assert not name.startswith(tuple(others)), name


@pytest.mark.parametrize("role", ROLES)
def test_what_is_private_to_a_role_looks_private(role: str) -> None:
    for path in (ROOT / "roles" / role / "vars").glob("*.yml"):
        assert [name for name in load(path) if not name.startswith(f"_{role}")] == [], path
    for path in (ROOT / "roles" / role).glob("*/*.yml"):
        for task in tasks_of(load(path)):
            assert str(task.get("register", "__")).startswith("__"), f"{path}: {task}"


def test_every_entry_point_has_a_spec() -> None:
    used = {(role, "main") for role in ROLES}
    for path in files(".yml"):
        for task in tasks_of(load(path)):
            for action in ("include_role", "import_role"):
                called = task.get(f"ansible.builtin.{action}") or task.get(action) or {}
                if called.get("name") in ROLES and "tasks_from" in called:
                    used.add((called["name"], called["tasks_from"].removesuffix(".yml")))
    missing = sorted(pair for pair in used if pair[1] not in specs(pair[0]))

    assert missing == []


@pytest.mark.parametrize("role", ROLES)
def test_spec_says_everything_that_the_reference_prints(role: str) -> None:
    for spec in specs(role).values():
        assert spec.get("short_description")
        for name, option in (spec.get("options") or {}).items():
            assert option.get("description"), name
            assert option.get("type"), name


def test_playbooks_directory_only_composes() -> None:
    # Root group_vars/ are not loaded for a real play in playbooks/; only for one in a playbook of the root.
    for path in (ROOT / "playbooks").glob("**/*.yml"):
        for entry in load(path):
            imported = entry.get("ansible.builtin.import_playbook", entry.get("import_playbook"))
            assert imported, f"{path} has a play of its own; put it beside site.yml"
            assert (path.parent / imported).resolve().parent == ROOT, path


def test_root_playbooks_are_real_plays() -> None:
    playbooks = [path for path in ROOT.glob("*.yml") if isinstance(load(path), list)]

    assert ROOT / "site.yml" in playbooks
    for path in playbooks:
        for play in load(path):
            assert "hosts" in play, f"{path} imports a playbook; root group_vars may then be missed"


def test_root_group_vars_hold_only_all() -> None:
    # A group's file there would win over the same group's file of the site's own inventory.
    assert [path.name for path in (ROOT / "group_vars").iterdir()] == ["all"]


def test_site_sees_the_root_group_vars() -> None:
    wanted = {name for path in (ROOT / "group_vars/all").glob("*.yml") for name in load(path)}
    assert "jupyterhub_images_source" in wanted
    program = Path(sys.executable).with_name("ansible-inventory")
    inventory = ["-i", str(ROOT / "inventory/hosts.yml"), "--playbook-dir", str(ROOT)]
    listing = subprocess.run([program, *inventory, "--list"], check=True, capture_output=True, text=True)
    seen = json.loads(listing.stdout)

    for host in seen["jupyterhub"]["hosts"]:
        assert wanted <= set(seen["_meta"]["hostvars"][host])


def test_no_package_host_is_named() -> None:
    # A site's own mirrors must be honoured; the names are put together here so that this file passes, too.
    domains = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian.org"]
    domains += ["security." + "debian.org", "ftp." + "debian.org", "archive." + "ubuntu.com"]
    guilty = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        guilty += [f"{path.relative_to(ROOT)}: {domain}" for domain in domains if domain in text]

    assert guilty == []
