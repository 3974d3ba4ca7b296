"""The memory of host and containers, from what the Linux kernel and Docker say, and the settings of a hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.rehearsal import measure

SETTINGS = {"server_limit": "auto", "total_memory": 0, "concurrent_starts": 4, "authenticators": ["native"]}


def test_the_memory_that_new_processes_can_use() -> None:
    assert measure.available("MemTotal: 100 kB\nMemFree:  10 kB\nMemAvailable:   52 kB\n") == 52 * 1024


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({"memory_stats": {"usage": 100, "stats": {"inactive_file": 30, "total_inactive_file": 40}}}, 60),
        ({"memory_stats": {"usage": 100, "stats": {"inactive_file": 30}}}, 70),
        ({"memory_stats": {}}, 0),
        ({}, 0),
    ],
    ids=["control groups 1", "control groups 2", "ended", "removed"],
)
def test_the_memory_of_a_container(stats: dict[str, Any], expected: int) -> None:
    assert measure.of_container(stats) == expected


def test_a_container_that_was_removed_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(path: str) -> Any:
        if "/gone/" in path:
            raise DeployError("404")
        return {"memory_stats": {"usage": 5}}

    monkeypatch.setattr(measure.daemon_api, "get", get)
    assert measure.of_containers(["one", "gone"]) == [5, 0]


def container(directory: Path) -> dict[str, Any]:
    return {"Name": "/lab", "Mounts": [{"Destination": "/etc/jupyterhub/config", "Source": str(directory)}]}


def test_the_settings_of_the_hub_that_runs(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({**SETTINGS, "name": "lab"}))
    assert measure.settings(container(tmp_path)) == SETTINGS


@pytest.mark.parametrize("text", [None, "{", '{"authenticators": ["native"]}'], ids=["missing", "broken", "earlier"])
def test_other_settings_are_an_error(text: str | None, tmp_path: Path) -> None:
    if text:
        (tmp_path / "settings.json").write_text(text)
    with pytest.raises(DeployError, match=r"^the settings that the hub lab runs with cannot be read, or .* make site"):
        measure.settings(container(tmp_path))
