"""The hub's database, and its volume, which a backup of the hub's state copies."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import HubState, copy_database
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

NAME = "lab-data"
PLAIN: dict[str, Any] = {"Name": NAME, "Driver": "local", "Labels": None, "Options": None, "Mountpoint": "/nowhere"}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (None, f"volume {NAME} with the hub's database does not exist; run make site"),
        ({"Driver": "nfs"}, f"volume {NAME} belongs to the driver nfs; the hub's database can be copied from a plain"),
        (
            {"Options": {"type": "none", "o": "bind", "device": "/srv/hub"}},
            rf"volume {NAME} has options of its driver \(device=/srv/hub, o=bind, type=none\); the hub's database can "
            "be copied from a plain volume only: stop the hub, and move the files to a volume without",
        ),
    ],
)
def test_a_volume_without_a_database_that_can_be_copied(
    volume: dict[str, Any] | None, expected: str, tmp_path: Path
) -> None:
    state = HubState(None, "lab", str(tmp_path), NAME, str(tmp_path))

    with pytest.raises(DeployError, match=expected):
        state.stage(Volume.of({**PLAIN, **volume}) if volume else None, str(tmp_path))


@pytest.mark.parametrize("start", [0, 8192], ids=["all", "a page"])
def test_a_damaged_database_is_not_backed_up(tmp_path: Path, start: int) -> None:
    source = tmp_path / "jupyterhub.sqlite"
    with contextlib.closing(sqlite3.connect(source)) as database:
        database.execute("CREATE TABLE note (text TEXT)")
        database.executemany("INSERT INTO note VALUES (?)", [("x" * 1000,)] * 20)
        database.commit()
    content = bytearray(source.read_bytes())
    content[start : start + 4096] = b"\xff" * 4096
    source.write_bytes(bytes(content))
    with pytest.raises(DeployError) as caught:
        copy_database(str(source), str(tmp_path / "copy"))
    assert str(caught.value).startswith(f"the hub's database {source} is damaged: ")
    assert str(caught.value).endswith("; restore an older backup of the hub")
    assert source.read_bytes() == bytes(content)
