"""The locks by which one hub replaces another (integration/containers/test_hub.py tests it with JupyterHub)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import hub as hub_container
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.files import is_locked

from jupyterhub_deploy_hub import start

STANDBY = hub_container.STANDBY_LOCK_NAME
HUB = Path(start.__file__).resolve().parents[1]
HOLD = """
import sys, pathlib
from jupyterhub_deploy_hub import start
file = start.hold_lock(*map(pathlib.Path, sys.argv[1:]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hub(tmp_path):
    """Return a function that starts a process which wants the lock, and holds it until its input ends."""
    begun = []

    def begin():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *(tmp_path / name for name in (hub_container.LOCK_NAME, STANDBY))],
            cwd=HUB, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_the_first_hub_does_not_wait(hub):
    assert hub().stdout.readline() == "held\n"


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_second_hub_is_on_standby_until_the_first_has_ended(hub, end, tmp_path):
    standby = str(tmp_path / STANDBY)
    first = hub()
    assert first.stdout.readline() == "held\n"
    assert not is_locked(standby)
    second = hub()
    assert "on standby" in second.stderr.readline()
    assert is_locked(standby)
    getattr(first, end)()
    assert second.stdout.readline() == "held\n"
    assert not is_locked(standby)


def test_the_host_knows_whether_a_hub_holds_the_lock(hub, tmp_path):
    path = str(tmp_path / hub_container.LOCK_NAME)
    assert not is_locked(path), "the file does not exist yet"
    first = hub()
    first.stdout.readline()
    assert is_locked(path)
    first.kill()
    first.wait()
    assert not is_locked(path)


def test_hub_and_host_use_the_same_lock_files():
    assert start.LOCK_FILE.name == hub_container.LOCK_NAME
    assert start.STANDBY_FILE.name == hub_container.STANDBY_LOCK_NAME


def test_a_lock_that_cannot_be_examined_is_an_error(tmp_path):
    (tmp_path / "data").touch()

    class Client:
        def inspect_container(self, name):
            labels = {hub_container.LABEL_STANDBY: "yes"}
            mount = {"Source": str(tmp_path / "data"), "Destination": hub_spec.DATA_TARGET}
            return {"Config": {"Labels": labels}, "Mounts": [mount]}

    with pytest.raises(NotADirectoryError):
        hub_container.HubContainer(Client(), "lab", "", 1).supports_standby()
