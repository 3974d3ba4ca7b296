"""What is on the disk before the next step of a swap, so that a power cut loses nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import extract, swap


@pytest.mark.parametrize(
    ("keep_old", "after"),
    [
        (True, ["rename", "sync_directory", "sync_directory", "unlink"]),
        (False, ["sync_directory", "sync_directory", "_remove", "rename", "_remove"]),
    ],
)
def test_new_data_are_on_the_disk_before_the_swap_and_the_swap_before_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_old: bool, after: list[str]
) -> None:
    (tmp_path / swap.DATA).mkdir()
    extract.make_staging(str(tmp_path))
    steps = []

    def recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            result = function(*args)
            steps.append(name)
            return result

        return call

    for place, name in (
        *((os, name) for name in ("symlink", "rename", "unlink")),
        *((swap, name) for name in ("sync_filesystem", "exchange", "sync_directory", "_remove")),
    ):
        monkeypatch.setattr(place, name, recorded(name, getattr(place, name)))
    with swap.synced(str(tmp_path)):
        pass
    swap.swap(str(tmp_path))
    swap.finish(str(tmp_path), keep_old)

    assert steps == ["symlink", "sync_filesystem", "exchange", *after]


def test_a_disk_that_cannot_write_the_new_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract.make_staging(str(tmp_path))

    def fails(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(swap, "sync_filesystem", fails)
    with (
        pytest.raises(DeployError, match="_data cannot be compared and written to the disk: Input/output error;"),
        swap.synced(str(tmp_path)),
    ):
        pass
