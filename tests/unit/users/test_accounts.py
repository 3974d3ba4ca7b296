"""Requests to the program in the hub's container: what the host makes of each kind of answer."""

from __future__ import annotations

import json
import socket as sockets
import struct
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.users.accounts import PROGRAM, Accounts
from docker.errors import APIError

from jupyterhub_deploy_hub import accounts as program

TRACEBACK = "Traceback (most recent call last):\n  File \"accounts.py\", line 1, in read\nKeyError: 'names'\n"


class Client:
    """A Docker client whose containers answer every program with the same output."""

    def __init__(self, out: str = "", err: str = "", error: Exception | None = None) -> None:
        self.out, self.err, self.error = out, err, error
        self.command: list[str] = []
        self.received = b""

    def exec_create(self, container: str, command: list[str], **_: Any) -> dict[str, str]:
        if self.error:
            raise self.error
        self.command = command
        return {"Id": "1"}

    def exec_start(self, run: str, socket: bool) -> Any:
        ours, theirs = sockets.socketpair()
        for stream, text in ((1, self.out), (2, self.err)):
            if text:
                theirs.sendall(struct.pack(">BxxxL", stream, len(text)) + text.encode())
        theirs.shutdown(1)
        self.program = theirs
        return ours


def test_the_program_is_a_module_of_the_hub_image() -> None:
    client = Client(out='{"exists": true}\n')
    assert Accounts(client, "lab").request("exists", name="bob") == {"exists": True}
    assert client.command == ["python3", "-m", program.__name__]
    assert json.loads(client.program.recv(1000)) == {"action": "exists", "name": "bob"}


def test_only_the_last_line_is_the_answer() -> None:
    client = Client(out='printed by the configuration\n{"exists": false}\n', err="a warning\n")
    assert Accounts(client, "lab").request("exists", name="bob") == {"exists": False}


def test_a_refusal_is_one_clear_error() -> None:
    with pytest.raises(DeployError, match=r"^the accounts of hub lab: no disk$") as raised:
        Accounts(Client(out='{"error": "no disk"}\n'), "lab").request("read")
    assert raised.value.result == {}


@pytest.mark.parametrize("name", ["jupyterhub_deploy_hub", "jupyterhub_deploy_hub.accounts"])
def test_an_image_without_the_program_says_what_to_run(name: str) -> None:
    err = f"/opt/jupyterhub/bin/python3: Error while finding module specification ({name})\n"
    for line in (f"No module named {name}\n", f"{err}ModuleNotFoundError: No module named '{name}'\n"):
        with pytest.raises(DeployError, match=rf"image of hub lab has no {PROGRAM}: .* Run make site, which replaces"):
            Accounts(Client(err=line), "lab").request("read")


def test_an_image_without_an_action_says_what_to_run() -> None:
    err = TRACEBACK.replace("names", "unused")
    with pytest.raises(
        DeployError, match=rf"^the image of hub lab has no action unused of {PROGRAM}: .* Run make site"
    ):
        Accounts(Client(err=err), "lab").request("unused")


def test_a_bug_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(DeployError, match=r"in hub lab failed \(KeyError: 'names'\); please report") as raised:
        Accounts(Client(err=TRACEBACK), "lab").request("read")
    assert raised.value.result == {"exception": TRACEBACK}


def test_a_docker_error_names_the_container() -> None:
    with pytest.raises(DeployError, match=r"the accounts of hub lab cannot be reached: .*`docker logs lab`"):
        Accounts(Client(error=APIError("container is not running")), "lab").request("read")
