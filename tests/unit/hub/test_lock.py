"""The lock of a hub: a second run waits for the first one, and runs on other hubs do not."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.processes import command_line
from ansible.module_utils.jupyterhub_deploy.update import hub, proxy

import jupyterhub_hub
import jupyterhub_proxy
import jupyterhub_servers
import jupyterhub_users


def path(hub: str) -> str:
    return os.path.join(lock.DIRECTORY, f"jupyterhub-deploy-hub-{hub}.lock")


def test_a_second_run_waits_for_the_first_and_other_hubs_do_not() -> None:
    began, done = threading.Event(), []

    def second() -> None:
        began.set()
        with lock.held("lab", check_mode=False):
            done.append("second")

    thread = threading.Thread(target=second)
    with lock.held("lab", check_mode=False):
        thread.start()
        began.wait(10)
        with lock.held("other", check_mode=False), lock.held("lab", check_mode=True):
            thread.join(0.2)
            done.append("first")
    thread.join(10)
    assert done == ["first", "second"]


def test_a_run_does_not_wait_for_ever_and_names_the_one_that_holds_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    monkeypatch.setattr(lock.sys, "argv", ["/tmp/ansible/modules/jupyterhub_hub.py", "x"])
    with lock.held("lab", check_mode=False):
        holder = Path(path("lab")).read_text(encoding="utf-8")
        with pytest.raises(DeployError) as error, lock.held("lab", check_mode=False):
            raise AssertionError
        assert Path(path("lab")).read_text(encoding="utf-8") == holder
    program = " ".join(command_line(os.getpid()))
    assert holder.startswith(f"jupyterhub_hub (pid {os.getpid()}), since 20")
    assert holder.endswith(f" UTC: {program}")
    assert str(error.value) == (
        f"another run changes hub lab, and holds {path('lab')} still after 0 minutes: {holder}; wait until it has "
        f"ended, or end it with `kill {os.getpid()}`, then run the same again"
    )
    assert Path(path("lab")).read_text(encoding="utf-8") == ""  # it names nobody when nobody holds it


def test_a_holder_that_has_written_nothing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0)
    with (
        files.locked(path("lab")),
        pytest.raises(DeployError, match="after 0 minutes: an unknown process; wait until it has ended, then"),
        lock.held("lab", check_mode=False),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("module", "updater"),
    [
        (jupyterhub_hub, hub),
        (jupyterhub_proxy, proxy),
        (jupyterhub_servers, jupyterhub_servers),
        (jupyterhub_users, jupyterhub_users),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_modules_that_change_a_hub_hold_its_lock(
    module: ModuleType, updater: ModuleType, check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"name": "lab-proxy", "hub": "lab"} if module is jupyterhub_proxy else {"name": "lab"}
    monkeypatch.setattr(updater, "update", lambda *_: {"locked": files.is_locked(path("lab"))})
    ours: Any = SimpleNamespace(params=params, check_mode=check_mode)

    assert module.run(cast("AnsibleModule", ours)) == {"locked": not check_mode}
    assert not files.is_locked(path("lab"))
