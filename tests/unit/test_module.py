"""The entry point that all our modules share."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module
from docker.errors import APIError
from urllib3.exceptions import ProtocolError

from support import modules


def entry(run: Any) -> Any:
    """Return a module whose work is the given function."""
    return SimpleNamespace(main=lambda: run_module({"name": {"type": "str"}}, run, doing="restoring volumes"))


def test_the_result_is_returned_and_its_warnings_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, warning: shown.append(warning))

    done = modules.run(entry(lambda module: {"name": module.params["name"], "warnings": ["late"]}), name="alice")
    assert (done["name"], done["changed"]) == ("alice", False)
    assert shown == ["late"]


def test_the_system_log_gets_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, message, log_args=None: logged.append(message))
    spec = {"front": {"type": "dict", "options": {"key": {"type": "str", "no_log": True}}}}
    module: Any = SimpleNamespace(main=lambda: run_module(spec, lambda _: {}, doing="updating the front"))

    modules.run(module, front={"key": "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n"})
    assert logged == ["Invoked"]


def test_our_error_keeps_its_result() -> None:
    def run(module: Any) -> dict[str, Any]:
        raise DeployError("the volume is in use; stop the server", {"volume": "v"})

    with pytest.raises(modules.ModuleError, match="the volume is in use; stop the server") as failed:
        modules.run(entry(run))
    assert failed.value.result["volume"] == "v"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (APIError("500 Server Error"), "500 Server Error"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ProtocolError("IncompleteRead"), "IncompleteRead"),
        (shutil.Error([("/a", "/b", "[Errno 28] No space left on device: '/b'")] * 5), "on device: '/b'; fix that"),
    ],
)
def test_an_error_of_docker_or_the_system_is_one_sentence(error: Exception, text: str) -> None:
    def run(module: Any) -> dict[str, Any]:
        raise error

    with pytest.raises(
        modules.ModuleError, match=r"^Docker or the system failed while restoring volumes: .*"
    ) as failed:
        modules.run(entry(run))
    assert text in str(failed.value)
    assert "('/a'" not in str(failed.value)


@pytest.mark.parametrize(("user", "is_named"), [(1000, True), (0, False)])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_run_without_root_is_named(wrapped: bool, user: int, is_named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    denied = PermissionError(13, "Permission denied", "/var/backups/lab")

    def run(module: Any) -> dict[str, Any]:
        if wrapped:
            raise DeployError("the backups cannot be locked") from denied
        raise denied

    with pytest.raises(modules.ModuleError) as failed:
        modules.run(entry(run))
    assert str(failed.value).endswith(". The user of this run is not root; run the play with become: true") is is_named


def test_a_bug_keeps_its_traceback() -> None:
    def run(module: Any) -> dict[str, Any]:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        modules.run(entry(run))
