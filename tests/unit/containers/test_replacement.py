"""What a failed replacement reports; the real one is in tests/integration/containers. Docker is a dictionary."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.containers.replacement import ReplaceableContainer
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError


class Docker:
    """Containers by name, and whether each runs. The new hub ends at once, or does not answer if it is ``silent``."""

    def __init__(self, running: dict[str, bool], silent: bool) -> None:
        self.running, self.silent = running, silent
        self.restored = False

    def inspect_container(self, name: str) -> dict[str, Any]:
        if name not in self.running:
            raise docker_errors.NotFound(name)
        return {"State": {"Running": self.running[name], "ExitCode": 3}}

    def start(self, name: str, **_: Any) -> None:
        self.running[name] = self.silent or self.restored

    restart = start

    def stop(self, name: str, **_: Any) -> None:
        self.running[name] = False

    def rename(self, old: str, new: str) -> None:
        self.running[new] = self.running.pop(old)
        self.restored = old == "hub-previous"

    def remove_container(self, name: str, **_: Any) -> None:
        del self.running[name]

    def logs(self, name: str, **_: Any) -> bytes:
        return b"no module named course"


class Hub(ReplaceableContainer):
    what = "hub"

    def is_healthy(self, name: str = "") -> bool:
        return bool(self.client.restored and self.client.running[name or self.name])


def failure(action: str, running: dict[str, bool], silent: bool = False) -> str:
    """Return the message of an action that fails."""
    with pytest.raises(DeployError) as caught:
        Hub(Docker(running, silent), "hub", "http://127.0.0.1:8000/hub/health", 0.1).apply(action)
    return str(caught.value)


LOG = "its last log lines:\nno module named course"
ENDED = f"the hub ended before it was answering its health check (exit code 3); {LOG}"
SILENT = f"after 0 s the hub was not answering its health check; {LOG}"


@pytest.mark.parametrize(("silent", "reason"), [(False, ENDED), (True, SILENT)])
def test_a_first_hub_that_fails_is_stopped_and_its_log_shown(silent: bool, reason: str) -> None:
    running = {"hub-next": False}
    assert failure("create", running, silent) == f"the hub failed: {reason}"
    assert running == {"hub": False}


@pytest.mark.parametrize(("silent", "reason"), [(False, ENDED), (True, SILENT)])
def test_the_old_hub_comes_back(silent: bool, reason: str) -> None:
    running = {"hub": True, "hub-next": False}
    assert failure("replace", running, silent) == f"the new hub failed, and the old one was restored: {reason}"
    assert running == {"hub": True}


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_hub_that_was_there_before_is_not_called_a_new_one(action: str) -> None:
    running = {"hub": False}
    assert failure(action, running, silent=True) == f"the hub failed: {SILENT}"
    assert running == {"hub": True}  # Docker's health check goes on, and its log can be read
