"""Which version may run against a host: breaking changes are acknowledged once, and a downgrade stops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import jupyterhub_versions

ROOT = Path(__file__).resolve().parents[3]
CHANGELOG = """# Changes

## 0.4.0

- Only additions.

## 0.3.0

### Breaking changes

- The port is
  another one.

### Changes

- More.

## 0.2.0 (2026-11-27)

### Breaking changes

#### Playbooks

- Playbooks moved.

#### Inventory

- The inventory moved.

## 0.1.0

- The first version.
"""
ACKNOWLEDGE = "run the same again with `-e acknowledge=0.4.0` (make upgrade ARGS='-e acknowledge=0.4.0')"


def problems(recorded: str = "", version: str = "0.4.0", acknowledge: str = "", acknowledged: str = "", hub=True):
    host = {"hub_exists": hub, "deployment": {"version": recorded, "acknowledged": acknowledged}}
    return jupyterhub_versions.version_problems(host, version, CHANGELOG, acknowledge)


def test_breaking_changes_are_read_from_the_changelog() -> None:
    assert jupyterhub_versions.breaking_changes(CHANGELOG) == {
        "0.3.0": ["The port is another one."],
        "0.2.0": ["Playbooks moved.", "The inventory moved."],
    }


def test_changes_are_shown_as_plain_text() -> None:
    shown = jupyterhub_versions.plain("Set `a: [1]` before; see [Read\nit](docs/a.md#b) and [*.c](docs/c.md).")
    assert shown == "Set a: [1] before; see Read\nit (docs/a.md#b) and *.c (docs/c.md)."
    found = jupyterhub_versions.breaking_changes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert not re.search(r"`|\]\(", str(found))


def test_upgrade_past_breaking_changes_is_refused_with_all_of_them() -> None:
    assert problems("0.1.0") == [
        "the hub was provisioned by version 0.1.0 of this deployment, and version 0.4.0 has breaking changes. Read "
        f"the list below, change what it asks for, then {ACKNOWLEDGE}",
        "0.3.0: The port is another one.",
        "0.2.0: Playbooks moved.",
        "0.2.0: The inventory moved.",
    ]


def test_only_changes_since_the_recorded_version_are_listed() -> None:
    assert problems("0.2.0")[1:] == ["0.3.0: The port is another one."]


def test_a_hub_without_a_record_is_older_than_all_versions() -> None:
    first, *changes = problems("")
    assert first.startswith("the hub was provisioned by an earlier version of this deployment")
    assert len(changes) == 3


@pytest.mark.parametrize(
    "host",
    [
        {"hub": False},  # a first run
        {"recorded": "0.3.0"},  # no breaking change since
        {"recorded": "0.4.0"},
        {"recorded": "0.1.0", "acknowledge": "0.4.0"},
        {"recorded": "0.1.0", "acknowledged": "0.4.0"},  # in a run that failed later
        {"recorded": "", "acknowledge": "0.4.0"},
        {"recorded": "0.5.0", "acknowledge": "0.4.0"},
    ],
)
def test_other_runs_go_on(host) -> None:
    assert problems(**host) == []


def test_acknowledging_another_version_is_not_enough() -> None:
    assert problems("0.1.0", acknowledge="0.3.0") == problems("0.1.0")
    assert problems("0.1.0", acknowledged="0.3.0") == problems("0.1.0")


def test_a_downgrade_is_refused() -> None:
    # 0.10.0 is newer than 0.4.0, although it comes first in the alphabet.
    assert problems("0.10.0", hub=False) == [
        "the hub was provisioned by version 0.10.0 of this deployment, and this checkout is the older version 0.4.0; "
        f"update the checkout with `git pull`. To go back to 0.4.0, {ACKNOWLEDGE}"
    ]


def test_the_changelog_begins_with_this_version_and_is_in_order() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)

    assert (ROOT / "VERSION").read_text(encoding="utf-8") == f"{versions[0]}\n"
    assert versions == sorted(versions, key=lambda version: tuple(map(int, version.split("."))), reverse=True)
    assert len(jupyterhub_versions.breaking_changes(changelog)["0.2.0"]) >= 2


def test_renamed_settings_are_gone_and_their_new_names_exist() -> None:
    specs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    known = {name for spec in specs for name in spec["argument_specs"]["main"].get("options") or {}}
    preflight = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text(encoding="utf-8"))
    for old, new in preflight["_preflight_renamed_settings"].items():
        assert old not in known
        assert new in known
