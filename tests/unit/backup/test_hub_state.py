"""The volume of the hub's database, which a backup of the hub's state copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import HubState
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
