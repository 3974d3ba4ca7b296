"""The list of what can be restored, when there is nothing and when there is only the hub's own state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupyterhub_restore
from support.factories.backups import ROOT, joined, put
from support.modules import run


def shown(directory: Path, **arguments: Any) -> list[str]:
    return list(run(jupyterhub_restore, name="lab", directory=str(directory), **arguments)["messages"])


def test_backups_of_the_hubs_own_state_are_listed(tmp_path: Path) -> None:
    backup = put(tmp_path, joined([ROOT]), 1, kind="hub", folder="hub", volume=None, user=None)
    state = f"-  {backup.stem}  the hub's own state, which -e hub_state=true restores"
    assert shown(tmp_path) == [f"there is no backup of a volume in {tmp_path}", state]
    assert shown(tmp_path, users=["alice"]) == [f"there is no backup of a volume in {tmp_path}"]

    put(tmp_path, joined([ROOT]), 1)
    lines = shown(tmp_path)
    assert lines[0].startswith("alice")
    assert lines[1:] == [state]


def test_a_missing_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    assert shown(tmp_path) == [f"there is no backup in {tmp_path}"]
    missing = tmp_path / "missing"
    assert shown(missing) == [f"there is no backup in {missing}; the directory does not exist"]
