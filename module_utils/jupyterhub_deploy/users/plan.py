"""Plan the changes that bring a hub's users to the declared ones. Pure: no I/O.

What is not declared stays as it is: other users, the groups of a user without ``groups``, the password of an account
that has one (unless ``update_password`` is ``always``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import SERVICE

PRESENT, DISABLED, ABSENT = "present", "disabled", "absent"
STATES = (PRESENT, DISABLED, ABSENT)
ON_CREATE, ALWAYS = "on_create", "always"

# Shown only when the user is added to the hub: users choose their own passwords, so each run would show it for most.
NOT_SET = "the account had a password, so the declared one was not set (`playbooks/user.yml -e do=password` sets one)"

User = dict[str, Any]


def check_declared(declared: list[User], seen: dict[str, Any], native: bool) -> list[User]:
    """Check the declared users, and return them under the names that the hub has for them.

    :param declared: ``name``, ``state``, ``admin`` (None: unchanged), ``groups`` (None: unchanged), ``password``
        (None: not declared), ``update_password``, ``authorize``.
    :param seen: from ``sync.read_accounts``.
    :param native: whether the hub has accounts with passwords.
    :raises DeployError: the declaration has errors; the message lists all of them.
    """
    problems = [f"{name!r} cannot be a user name. {why}" for name, why in sorted(seen["name_problems"].items())]
    problems += [f"the password of {name}: {why}" for name, why in sorted(seen["password_problems"].items())]
    users = [{**user, "name": seen["names"][user["name"]]} for user in declared]
    counted = Counter(user["name"] for user in users)
    problems += [f"{name} is declared {times} times" for name, times in sorted(counted.items()) if times > 1]
    for user in users:
        problems += _contradictions(user, seen, native)
    if problems:
        raise DeployError("fix the declared users, no user was changed: " + "; ".join(problems))
    return users


def _contradictions(user: User, seen: dict[str, Any], native: bool) -> list[str]:
    name = user["name"]
    if name == seen["admin_user"]:
        if user["state"] != PRESENT or user["admin"] is False or user["password"] is not None:
            return [
                f"{name} is jupyterhub_admin_user, always an administrator with jupyterhub_admin_password; declare "
                "only groups and admin: true"
            ]
        return []
    problems = []
    if name == SERVICE:
        problems.append(f"{name} is the name of a service of the hub, which could not delete this user; choose another")
    if user["admin"] and user["state"] != PRESENT:
        problems.append(f"{name} is declared {user['state']} and an administrator; remove admin")
    if user["password"] is not None and user["state"] != PRESENT:
        problems.append(f"{name} is declared {user['state']} with a password; remove password")
    by_native = _has_account(user, seen, native)
    if not by_native and (user["password"] is not None or user["state"] == DISABLED):
        problems.append(
            f"{name}: only native accounts have passwords and can be disabled; remove the name from the settings that "
            "let it in, and delete the user"
        )
    if (user["admin"] is False or user["state"] != PRESENT) and name in seen["admins_by_configuration"]:
        where = "jupyterhub_extra_config" if by_native else "the settings of an authenticator"
        problems.append(
            f"{name} is not declared as an administrator, but admin_users in {where} makes {name} one at each sign-in; "
            "remove the name there"
        )
    return problems


def _has_account(user: User, seen: dict[str, Any], native: bool) -> bool:
    """Return whether a user can have a password here: one who signs in at a provider cannot."""
    return native and user["name"] not in seen["at_provider"]


def plan(users: list[User], seen: dict[str, Any], at_hub: dict[str, User], native: bool) -> list[dict[str, Any]]:
    """Return the changes, one dictionary for each user with any, in the order of declaration.

    :param users: from :func:`check_declared`.
    :param at_hub: from ``sync.read_users``.
    :returns: with ``name``; ``account``: what to write (see ``write`` of ``jupyterhub_deploy_hub.accounts``) or None;
        ``add``; ``admin``: True, False or None; ``join`` and ``leave``: groups; ``stop``: servers; ``remove``;
        ``done``: the change in words.
    """
    changes = [_change(user, seen, at_hub.get(user["name"]), native) for user in users]
    return [change for change in changes if change["done"]]


def _no_change(name: str) -> dict[str, Any]:
    return {
        "name": name, "account": None, "add": False, "admin": None, "join": [], "leave": [], "stop": [],
        "remove": False, "done": [],
    }  # fmt: skip


def _change(user: User, seen: dict[str, Any], hub_user: User | None, native: bool) -> dict[str, Any]:
    name, state = user["name"], user["state"]
    account = seen["accounts"].get(name)
    change = _no_change(name)
    done = change["done"]
    if state == ABSENT:
        change["remove"] = hub_user is not None or account is not None
        if change["remove"]:
            done.append("to be deleted")
        return change
    if _has_account(user, seen, native) and name != seen["admin_user"]:
        change["account"] = _account(user, account, done)
    known = hub_user or {"admin": False, "groups": [], "servers": {}}
    if state == DISABLED:
        change["stop"] = sorted(known["servers"])
        if change["stop"]:
            done.append("running servers stopped")
    elif hub_user is None:
        change["add"] = True
        done.append("added to the hub")
    wanted = False if state == DISABLED else user["admin"]
    if wanted is not None and bool(known["admin"]) != wanted:
        change["admin"] = wanted
        done.append("made an administrator" if wanted else "administrator rights removed")
    if user["groups"] is not None and (hub_user is not None or change["add"]):
        change["join"] = sorted(set(user["groups"]) - set(known["groups"]))
        change["leave"] = sorted(set(known["groups"]) - set(user["groups"]))
        done += [f"joined group {group}" for group in change["join"]]
        done += [f"left group {group}" for group in change["leave"]]
    if change["add"] and _keeps_password(user, account, change["account"]):
        done.append(NOT_SET)
    return change


def _keeps_password(user: User, account: dict[str, Any] | None, write: dict[str, Any] | None) -> bool:
    """Return whether a declared password is not used, because the account has one that was not compared with it."""
    declared = user["password"] is not None and user["update_password"] == ON_CREATE
    return declared and account is not None and write is None


def _account(user: User, account: dict[str, Any] | None, done: list[str]) -> dict[str, Any] | None:
    """Return the account to write, or None when it is as declared."""
    write: dict[str, Any] = {"name": user["name"], "new": account is None, "authorized": user["state"] == PRESENT}
    write.update(password=None, end=None)
    if user["state"] == DISABLED:
        if account is not None and not account["authorized"]:
            return None
        done.append(
            "disabled, signed out everywhere" if account else "disabled, so that nobody can sign up under this name"
        )
        return {**write, "end": "all"}
    given = user["password"]
    if account is None:
        done.append("account created" if given else "name reserved until a password is set")
        # A user whose account was discarded earlier may still have a session.
        return {**write, "password": given, "end": "sessions"}
    unauthorized = user["authorize"] and not account["authorized"]
    write["authorized"] = account["authorized"] or unauthorized
    # A declared password replaces the one of an account that waits: anyone may have signed up under that name.
    wrong = given is not None and not account["password_right"]
    if wrong and (account["locked"] or unauthorized or user["update_password"] == ALWAYS):
        write.update(password=given, end="sessions")
        done.append("password set" if account["locked"] else "password replaced, signed out everywhere")
        if not write["authorized"]:
            done.append("still not authorized (`playbooks/user.yml -e do=authorize` lets the user in)")
    if unauthorized:
        done.append("authorized")
    return write if unauthorized or write["password"] is not None else None


def require(users: list[User], seen: dict[str, Any], at_hub: dict[str, User]) -> None:
    """Check that all users exist.

    :raises DeployError: some do not.
    """
    missing = [user["name"] for user in users if user["name"] not in at_hub and user["name"] not in seen["accounts"]]
    if missing:
        raise DeployError(
            f"the hub does not know {', '.join(missing)}; check the name on the pages Admin and Accounts (a user who "
            "has never signed in is only on Accounts), or declare the user in jupyterhub_users and run make site"
        )


def refuse_removal(changes: list[dict[str, Any]]) -> None:
    """Refuse to delete users here: another playbook archives their files first.

    :raises DeployError: some declared absent exist.
    """
    names = [change["name"] for change in changes if change["remove"]]
    if names:
        commands = ", ".join(f"`ansible-playbook playbooks/delete_user.yml -e user={name}`" for name in names)
        raise DeployError(
            f"{', '.join(names)} is declared absent but still exists; no user was changed. Run {commands}, which "
            "archives the files and deletes the user; then run make site again"
        )


def undeclared_admins(users: list[User], seen: dict[str, Any], at_hub: dict[str, User]) -> list[str]:
    """Return the administrators who are declared neither here nor in the hub's configuration."""
    named = {user["name"] for user in users} | {seen["admin_user"]} | set(seen["admins_by_configuration"])
    return sorted(name for name, user in at_hub.items() if user["admin"] and name not in named)


def demotions(names: list[str]) -> list[dict[str, Any]]:
    """Return the changes that remove administrator rights from users."""
    done = ["administrator rights removed, because not declared"]
    return [{**_no_change(name), "admin": False, "done": done} for name in names]


def messages(changes: list[dict[str, Any]], others: list[str]) -> list[str]:
    """Return one line for each changed user, and one for administrators who are not declared."""
    lines = [f"{change['name']}: {', '.join(change['done'])}" for change in changes]
    if others:
        lines.append(
            f"not declared, but administrator: {', '.join(others)}; add them to jupyterhub_users or to the admin_users "
            "of an authenticator, or set jupyterhub_undeclared_admins to demote"
        )
    return lines


def diff(changes: list[dict[str, Any]], seen: dict[str, Any], at_hub: dict[str, User]) -> dict[str, Any]:
    """Return the changed users before and after. It shows that a password changes, never the password."""
    before, after = {}, {}
    for change in changes:
        name = change["name"]
        user, account, write = at_hub.get(name), seen["accounts"].get(name), change["account"]
        old: dict[str, Any] = {
            "known to the hub": user is not None,
            "admin": bool(user and user["admin"]),
            "groups": sorted(user["groups"]) if user else [],
            "servers": sorted(user["servers"]) if user else [],
            "can sign in": bool(account and account["authorized"]),
            "password": "none" if account is None or account["locked"] else "set",
        }
        new = dict(old)
        if change["remove"]:
            new = {}
        else:
            new["known to the hub"] = user is not None or change["add"]
            new["admin"] = old["admin"] if change["admin"] is None else change["admin"]
            new["groups"] = sorted({*old["groups"], *change["join"]} - set(change["leave"]))
            new["servers"] = [server for server in old["servers"] if server not in change["stop"]]
            if write:
                new["can sign in"] = write["authorized"]
                new["password"] = "as declared" if write["password"] is not None else old["password"]
        before[name], after[name] = old, new
    return {"before": before, "after": after}
