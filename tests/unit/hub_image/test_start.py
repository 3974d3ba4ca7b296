"""The lock by which one hub follows another (integration/containers/test_hub.py sees JupyterHub start then)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.containers import hub as hub_container
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec

from jupyterhub_deploy_hub import start

HUB = Path(start.__file__).resolve().parents[1]
HOLD = """
import sys, pathlib
from jupyterhub_deploy_hub import start
file = start.hold_lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hub(tmp_path):
    """Return a function that starts a process which wants the lock, and holds it until its input ends."""
    begun = []

    def begin():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path / hub_container.LOCK_NAME], cwd=HUB, text=True,
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
def test_a_second_hub_says_that_it_stands_by_and_follows_when_the_first_has_ended(hub, end):
    first = hub()
    assert first.stdout.readline() == "held\n"
    second = hub()
    assert second.stderr.readline() == f"{start.STANDS_BY}\n"
    getattr(first, end)()
    assert second.stdout.readline() == "held\n"


def test_the_host_sees_whether_a_hub_holds_the_lock(hub, tmp_path):
    path = str(tmp_path / hub_container.LOCK_NAME)
    assert not files.is_locked(path), "there is no such file yet"
    first = hub()
    first.stdout.readline()
    assert files.is_locked(path)
    first.kill()
    first.wait()
    assert not files.is_locked(path)


def test_a_lock_that_cannot_be_examined_is_not_taken_for_free(tmp_path):
    (tmp_path / "data").touch()

    class Client:
        def inspect_container(self, name):
            labels = {hub_container.LABEL_STANDS_BY: "1"}
            return {"Config": {"Labels": labels}, "Mounts": [{"Name": "lab-data", "Destination": hub_spec.DATA_TARGET}]}

        def inspect_volume(self, name):
            return {"Mountpoint": str(tmp_path / "data")}

    with pytest.raises(NotADirectoryError):
        hub_container.HubContainer(Client(), "lab", "", 1).can_stand_by()


def test_hub_and_host_speak_of_the_same_file_in_the_same_words():
    assert start.LOCK_FILE.name == hub_container.LOCK_NAME
    assert start.STANDS_BY.endswith(hub_container.HubContainer.stands_by)
