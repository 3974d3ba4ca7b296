"""The lock of a hub: a second run waits for the first one, and runs on other hubs do not."""

from __future__ import annotations

import os
import threading
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.hub import lock

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


@pytest.mark.parametrize("module", [jupyterhub_hub, jupyterhub_proxy, jupyterhub_servers, jupyterhub_users])
@pytest.mark.parametrize("check_mode", [False, True])
def test_modules_that_change_a_hub_hold_its_lock(
    module: ModuleType, check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"name": "lab-proxy", "hub": "lab"} if module is jupyterhub_proxy else {"name": "lab"}
    monkeypatch.setattr(module, "update", lambda _: {"locked": files.is_locked(path("lab"))})
    ours: Any = SimpleNamespace(params=params, check_mode=check_mode)

    assert module.run(cast("AnsibleModule", ours)) == {"locked": not check_mode}
    assert not files.is_locked(path("lab"))
