"""Volumes that are quiesced while they are read: what is recorded about containers that continued to run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import quiesce
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

VOLUME = Volume("hub-user-alice", "alice", "local", {}, {}, "/data")


class Pauses:
    """Cannot pause anything."""

    @contextlib.contextmanager
    def paused(self, identity: str) -> Iterator[None]:
        raise DeployError("Docker is busy")
        yield


def test_a_reason_is_recorded_once_for_each_container(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[dict[str, Any]] = [{"Id": "1", "Names": ["/first"], "State": "running", "Labels": {}}]
    monkeypatch.setattr(quiesce, "containers_using", lambda client, name, data: running)
    pauses: Any = Pauses()

    with quiesce.PausedVolume(None, VOLUME, pauses) as volume:
        running.append({"Id": "2", "Names": ["/second"], "State": "running", "Labels": None})

    assert volume.running == {
        "first": "was not paused: Docker is busy",
        "second": "started, or continued to run, while the volume was read",
    }
    assert volume.result()["not_at_rest"][0] == "first was not paused: Docker is busy"
    assert volume.consistency == "live"
