"""Declared users on one hub: read what it has, and change it by its REST API and by the program in its container.

The API manages users, administrators, groups and servers; ``users.accounts`` manages what people sign in with.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.servers import stop
from ansible.module_utils.jupyterhub_deploy.users import plan
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

STOP_TIMEOUT = 60.0  # seconds that one server gets to stop

# What a hub that does not exist yet has.
NOTHING: dict[str, Any] = {
    "admin_user": "", "admins_by_configuration": [], "at_provider": [], "name_problems": {}, "password_problems": {},
    "accounts": {},
}  # fmt: skip


def read_accounts(accounts: Accounts, declared: list[dict[str, Any]], native: bool) -> dict[str, Any]:
    """Return what the hub's configuration and accounts have about declared users.

    :raises DeployError: the hub's container does not answer.
    """
    passwords = {user["name"]: user["password"] for user in declared if user["password"] is not None}
    compare = [user["name"] for user in declared if user["update_password"] == plan.ALWAYS]
    names = [user["name"] for user in declared]
    return accounts.request("read", names=names, passwords=passwords, compare=compare, native=native)


def read_users(api: HubApi) -> dict[str, dict[str, Any]]:
    """Return all users of the hub, by name."""
    return {
        user["name"]: {
            "admin": bool(user.get("admin")),
            "groups": user.get("groups") or [],
            "servers": user.get("servers") or {},
        }
        for user in api.users(state="")
    }


def apply(accounts: Accounts, api: HubApi, changes: list[dict[str, Any]], seen: dict[str, Any]) -> None:
    """Apply changes: remove rights before any are granted, and disable accounts before their servers are stopped.

    :param api: the hub's API with the token of its service, which may stop servers.
    :param changes: from ``plan.plan``.
    :param seen: from :func:`read_accounts`.
    :raises DeployError: the hub refuses or does not answer; what was changed stays, and the next run continues.
    """
    answer = accounts.request(
        "write",
        accounts=[change["account"] for change in changes if change["account"]],
        token_of=[seen["admin_user"], *seen["admins_by_configuration"]],
    )
    # Only an administrator may make or unmake administrators: a service may not, whatever its scopes are.
    admin = HubApi(api.url, answer["token"], api.timeout)
    try:
        for change in sorted(changes, key=lambda one: one["admin"] is not False):
            _apply(admin, api, change)
    finally:
        # If the token is refused here, a request above has failed too, and its error is the one to show.
        admin.request("DELETE", f"{_path(answer['token_of'])}/tokens/{answer['token_id']}", expected=(204, 403, 404))


def _apply(admin: HubApi, api: HubApi, change: dict[str, Any]) -> None:
    path = _path(change["name"])
    if change["add"]:
        # The user may have signed in for the first time since the list was read.
        status, _ = admin.request("POST", path, {"admin": bool(change["admin"])}, expected=(201, 409))
        if status == 409 and change["admin"] is not None:
            admin.request("PATCH", path, {"admin": change["admin"]})
    elif change["admin"] is not None:
        admin.request("PATCH", path, {"admin": change["admin"]})
    for group in change["join"]:
        admin.request("POST", f"/groups/{quote(group, safe='')}", {}, expected=(201, 409))
        admin.request("POST", f"/groups/{quote(group, safe='')}/users", {"users": [change["name"]]})
    for group in change["leave"]:
        admin.request("DELETE", f"/groups/{quote(group, safe='')}/users", {"users": [change["name"]]})
    for server in change["stop"]:
        stop.stop(api, {"user": change["name"], "server": server}, STOP_TIMEOUT)


def _path(name: str) -> str:
    return f"/users/{quote(name, safe='')}"
