"""What a run does with a restore of the hub's state that was killed."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import hub_files
from ansible.module_utils.jupyterhub_deploy.update import hub as update


@pytest.mark.parametrize(
    ("exists", "healthy", "complete", "expected"),
    [
        (True, True, True, "recover"),
        (True, False, True, "take_back"),
        (True, True, False, "take_back"),
        (False, False, True, "recover"),  # on a new host: the old state is that of no hub
        (False, False, False, "refuse"),
    ],
)
def test_a_killed_restore(
    exists: bool, healthy: bool, complete: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(hub_files, "unfinished", lambda places: True)
    monkeypatch.setattr(hub_files, "is_complete", lambda places: complete)
    monkeypatch.setattr(hub_files, "recover", lambda places: done.append("recover"))
    monkeypatch.setattr(hub_files, "take_back", lambda places: done.append("take_back"))
    hub = Mock(observe=lambda: {"Id": "1"} if exists else None, is_healthy=lambda: healthy)
    places: Any = None
    if expected == "refuse":
        with pytest.raises(
            DeployError, match=r"did not finish; finish it first, with: make restore ARGS='-e hub_state"
        ):
            update._finish(hub, "lab", places)
        assert done == []
    else:
        update._finish(hub, "lab", places)
        assert done == [expected]
    assert hub.client.stop.called == (expected == "take_back")
