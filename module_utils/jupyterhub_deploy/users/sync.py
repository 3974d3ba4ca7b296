"""Declared users on one hub: ask what it has, and change it by its REST API and by the program in its container.

The API knows users, administrators, groups and servers. The accounts that people sign in with are a table of
NativeAuthenticator's in the hub's database, of which the API knows nothing; users/accounts_program.py writes them where
the hub's own admin is seeded, in the hub's container.
"""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.servers import stop
from ansible.module_utils.jupyterhub_deploy.users import accounts_program, plan

try:
    from docker.utils import socket as docker_socket
except ImportError:  # a bare host in check mode
    docker_socket = None  # type: ignore[assignment]

PROGRAM_TIMEOUT = 120.0  # seconds without an answer; 200 new passwords take about a minute
STOP_TIMEOUT = 60.0  # seconds that one server gets to stop

Ask = Callable[[dict[str, Any]], dict[str, Any]]

# What is known of a hub that is not there yet.
NOTHING: dict[str, Any] = {
    "admin_user": "", "admins_by_configuration": [], "elsewhere": [], "name_problems": {}, "password_problems": {},
    "accounts": {},
}  # fmt: skip


def asker(client: Any, hub_name: str) -> Ask:
    """Return a function that has the program in the hub's container answer a request.

    :param client: a low-level Docker client.
    """

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        # The loader, because on a target this package is in a zip file.
        source = accounts_program.__loader__.get_source(accounts_program.__name__)  # type: ignore[union-attr]
        try:
            command = ["python3", "-c", source]
            run = client.exec_create(hub_name, command, stdin=True, stdout=True, stderr=True)["Id"]
            out, err = _talk(client.exec_start(run, socket=True), json.dumps(request).encode() + b"\n")
        except DOCKER_ERRORS as error:
            raise DeployError(
                f"the accounts of the hub {hub_name} cannot be reached: running a program in its container failed "
                f"({type(error).__name__}); look at `docker logs {hub_name}`, then run site.yml again"
            ) from None
        return _answer(out, err, hub_name)

    return ask


def _talk(connection: Any, line: bytes) -> tuple[bytes, bytes]:
    """Send one line to a program; return all that it prints and what it says on standard error."""
    raw: sockets.socket = getattr(connection, "_sock", connection)
    try:
        raw.settimeout(PROGRAM_TIMEOUT)
        raw.sendall(line)
        frames = docker_socket.frames_iter(connection, tty=False)  # type: ignore[no-untyped-call]
        demuxed = (docker_socket.demux_adaptor(*frame) for frame in frames)
        out, err = docker_socket.consume_socket_output(demuxed, demux=True)
    finally:
        connection.close()
    return out or b"", err or b""


def _answer(out: bytes, err: bytes, hub_name: str) -> dict[str, Any]:
    # The operator's own configuration is executed and may print.
    line = out.decode("utf-8", "replace").strip().rpartition("\n")[2]
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        said = err.decode("utf-8", "replace").strip().rpartition("\n")[2] or "it said nothing"
        raise DeployError(
            f"the hub {hub_name} cannot tell of its accounts ({said}); does its image have this project's hub package?"
        ) from None
    if "error" in answer:
        raise DeployError(f"the accounts of the hub {hub_name}: {answer['error']}")
    return answer


def look(ask: Ask, declared: list[dict[str, Any]], native: bool) -> dict[str, Any]:
    """Return what the hub's configuration and accounts say of declared users.

    :raises DeployError: the hub's container does not answer.
    """
    given = {user["name"]: user["password"] for user in declared if user["password"] is not None}
    always = [user["name"] for user in declared if user["update_password"] == plan.ALWAYS]
    names = [user["name"] for user in declared]
    return ask({"do": "look", "names": names, "passwords": given, "compare": always, "native": native})


def at_hub(api: HubApi) -> dict[str, dict[str, Any]]:
    """Return everybody whom the hub knows, by name."""
    return {
        user["name"]: {
            "admin": bool(user.get("admin")),
            "groups": user.get("groups") or [],
            "servers": user.get("servers") or {},
        }
        for user in api.users(state="")
    }


def apply(ask: Ask, api: HubApi, todos: list[dict[str, Any]], seen: dict[str, Any]) -> None:
    """Do what is to be done. Rights are taken before any are given, and accounts are shut before servers are stopped.

    :param api: the hub's API in the name of its service, which may stop servers.
    :raises DeployError: the hub refuses or does not answer; what was done stays done, and the next run goes on.
    """
    answer = ask(
        {
            "do": "change",
            "accounts": [todo["account"] for todo in todos if todo["account"]],
            "token_of": [seen["admin_user"], *seen["admins_by_configuration"]],
        }
    )
    # Who is an administrator, only an administrator may say: not the service, whatever its scopes are.
    admin = HubApi(api.url, answer["token"], api.timeout)
    try:
        for todo in sorted(todos, key=lambda one: one["admin"] is not False):
            _apply(admin, api, todo)
    finally:
        # A token that is refused has made a request above fail, which is then what is said.
        admin.request("DELETE", f"{_path(answer['token_of'])}/tokens/{answer['token_id']}", expected=(204, 403, 404))


def _apply(admin: HubApi, api: HubApi, todo: dict[str, Any]) -> None:
    path = _path(todo["name"])
    if todo["add"]:
        # Somebody may have signed in for the first time since the list was made.
        status, _ = admin.request("POST", path, {"admin": bool(todo["admin"])}, expected=(201, 409))
        if status == 409 and todo["admin"] is not None:
            admin.request("PATCH", path, {"admin": todo["admin"]})
    elif todo["admin"] is not None:
        admin.request("PATCH", path, {"admin": todo["admin"]})
    for group in todo["join"]:
        admin.request("POST", f"/groups/{quote(group, safe='')}", {}, expected=(201, 409))
        admin.request("POST", f"/groups/{quote(group, safe='')}/users", {"users": [todo["name"]]})
    for group in todo["leave"]:
        admin.request("DELETE", f"/groups/{quote(group, safe='')}/users", {"users": [todo["name"]]})
    for server in todo["stop"]:
        stop.stop(api, {"user": todo["name"], "server": server}, STOP_TIMEOUT)


def _path(name: str) -> str:
    return f"/users/{quote(name, safe='')}"
