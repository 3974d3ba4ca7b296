"""Declared users: what has to be done so that a hub has them as declared. Pure: no I/O.

Whatever is not declared is not touched: other users, groups of a user whose ``groups`` is not given, the password of
an account that has one (unless ``update_password`` is ``always``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

PRESENT, DISABLED, ABSENT = "present", "disabled", "absent"
STATES = (PRESENT, DISABLED, ABSENT)
ON_CREATE, ALWAYS = "on_create", "always"

User = dict[str, Any]


def checked(declared: list[User], seen: dict[str, Any], native: bool) -> list[User]:
    """Return the declared users under the names that the hub has for them.

    :param declared: ``name``, ``state``, ``admin`` (None: as it is), ``groups`` (None: as they are), ``password``
        (None: none given), ``update_password``.
    :param seen: what the program in the hub's container said (see users/accounts_program.py).
    :param native: whether the hub has accounts with passwords.
    :raises DeployError: what is declared cannot be; says all of it.
    """
    problems = [f"{name!r} cannot be a user's name. {why}" for name, why in sorted(seen["name_problems"].items())]
    problems += [f"the password of {name}: {why}" for name, why in sorted(seen["password_problems"].items())]
    users = [{**user, "name": seen["names"][user["name"]]} for user in declared]
    counted = Counter(user["name"] for user in users)
    problems += [f"{name} is declared {times} times" for name, times in sorted(counted.items()) if times > 1]
    for user in users:
        problems += _contradictions(user, seen, native)
    if problems:
        raise DeployError("nothing was changed, because the declared users cannot be: " + "; ".join(problems))
    return users


def _contradictions(user: User, seen: dict[str, Any], native: bool) -> list[str]:
    name = user["name"]
    if name == seen["admin_user"]:
        if user["state"] != PRESENT or user["admin"] is False or user["password"] is not None:
            return [
                f"{name} is jupyterhub_admin_user, always an administrator with jupyterhub_admin_password; only groups "
                "can be declared, with admin: true"
            ]
        return []
    problems = []
    if user["admin"] and user["state"] != PRESENT:
        problems.append(f"{name} is declared {user['state']} and an administrator; take out admin")
    if user["password"] is not None and user["state"] != PRESENT:
        problems.append(f"{name} is declared {user['state']} with a password; take it out")
    by_native = _has_account(user, seen, native)
    if not by_native and (user["password"] is not None or user["state"] == DISABLED):
        problems.append(
            f"{name}: only native accounts have passwords and can be disabled; take the name out of the settings that "
            "let it in, and delete the user"
        )
    if (user["admin"] is False or user["state"] != PRESENT) and name in seen["admins_by_configuration"]:
        where = "jupyterhub_extra_config" if by_native else "the settings of a way to sign in"
        problems.append(
            f"{name} is no administrator as declared, but admin_users in {where} would make {name} one "
            "at each sign-in; take the name out of it"
        )
    return problems


def _has_account(user: User, seen: dict[str, Any], native: bool) -> bool:
    """Say whether a user can have a password here: who comes by another way has none."""
    return native and user["name"] not in seen["elsewhere"]


def plan(users: list[User], seen: dict[str, Any], at_hub: dict[str, User], native: bool) -> list[dict[str, Any]]:
    """Return what is to be done, a dictionary for each user with something to do, in the order of declaration.

    :param users: as :func:`checked` returns them.
    :param at_hub: name to ``admin``, ``groups`` and ``servers`` of those whom the hub knows.
    :returns: with ``name``; ``account``: what to write (see ``accounts_program.change``) or None; ``add``; ``admin``:
        True, False or None; ``join`` and ``leave``: groups; ``stop``: servers; ``remove``; ``said``: phrases.
    """
    return [todo for todo in (_todo(user, seen, at_hub.get(user["name"]), native) for user in users) if todo["said"]]


def _todo(user: User, seen: dict[str, Any], hub_user: User | None, native: bool) -> dict[str, Any]:
    name, state = user["name"], user["state"]
    account = seen["accounts"].get(name)
    todo: dict[str, Any] = {
        "name": name, "account": None, "add": False, "admin": None, "join": [], "leave": [], "stop": [],
        "remove": False, "said": [],
    }  # fmt: skip
    said = todo["said"]
    if state == ABSENT:
        todo["remove"] = hub_user is not None or account is not None
        if todo["remove"]:
            said.append("to be removed")
        return todo
    if _has_account(user, seen, native) and name != seen["admin_user"]:
        todo["account"] = _account(user, account, said)
    known = hub_user or {"admin": False, "groups": [], "servers": {}}
    if state == DISABLED:
        todo["stop"] = sorted(known["servers"])
        if todo["stop"]:
            said.append("running servers stopped")
    elif hub_user is None:
        todo["add"] = True
        said.append("added to the hub")
    wanted = False if state == DISABLED else user["admin"]
    if wanted is not None and bool(known["admin"]) != wanted:
        todo["admin"] = wanted
        said.append("made an administrator" if wanted else "no administrator any more")
    if user["groups"] is not None and (hub_user is not None or todo["add"]):
        todo["join"] = sorted(set(user["groups"]) - set(known["groups"]))
        todo["leave"] = sorted(set(known["groups"]) - set(user["groups"]))
        said += [f"joined group {group}" for group in todo["join"]]
        said += [f"left group {group}" for group in todo["leave"]]
    return todo


def _account(user: User, account: dict[str, Any] | None, said: list[str]) -> dict[str, Any] | None:
    """Return what to write of an account, or None when it is as declared."""
    write: dict[str, Any] = {"name": user["name"], "new": account is None, "authorized": user["state"] == PRESENT}
    write.update(password=None, end=None)
    if user["state"] == DISABLED:
        if account is not None and not account["authorized"]:
            return None
        said.append("disabled: signed out everywhere" if account else "disabled: nobody can sign up under this name")
        return {**write, "end": "all"}
    given = user["password"]
    if account is None:
        said.append("account made" if given else "name reserved: there is no password yet")
        # Somebody whom the hub knows from before the account was discarded may still have a session.
        return {**write, "password": given, "end": "sessions"}
    unauthorized = not account["authorized"]
    # Who signed up under a declared name and waits has a password that the operator never gave: it does not get in.
    wrong = given is not None and not account["password_right"]
    if wrong and (account["locked"] or unauthorized or user["update_password"] == ALWAYS):
        write.update(password=given, end="sessions")
        said.append("password set" if account["locked"] else "password replaced, signed out everywhere")
    if unauthorized:
        said.append("authorized")
    return write if unauthorized or write["password"] is not None else None


def require(users: list[User], seen: dict[str, Any], at_hub: dict[str, User]) -> None:
    """Refuse users who are not there.

    :raises DeployError: names them.
    """
    missing = [user["name"] for user in users if user["name"] not in at_hub and user["name"] not in seen["accounts"]]
    if missing:
        raise DeployError(
            f"the hub knows no {', '.join(missing)}; look for the right name on the Admin page, or declare the user in "
            "jupyterhub_users and run site.yml"
        )


def refuse_removal(todos: list[dict[str, Any]]) -> None:
    """Refuse to remove anybody here: files have to be archived first, which another playbook does.

    :raises DeployError: names them and the playbook.
    """
    names = [todo["name"] for todo in todos if todo["remove"]]
    if names:
        commands = ", ".join(f"`ansible-playbook delete_user.yml -e user={name}`" for name in names)
        raise DeployError(
            f"{', '.join(names)} is declared absent and still there; no user was changed. Run {commands}, which "
            "archives the files and removes the user; then run site.yml again"
        )


def undeclared_admins(users: list[User], seen: dict[str, Any], at_hub: dict[str, User]) -> list[str]:
    """Return the administrators whom nobody declares, neither here nor in the hub's configuration."""
    named = {user["name"] for user in users} | {seen["admin_user"]} | set(seen["admins_by_configuration"])
    return sorted(name for name, user in at_hub.items() if user["admin"] and name not in named)


def demotions(names: list[str]) -> list[dict[str, Any]]:
    """Return what makes each of some users a plain one."""
    blank: dict[str, Any] = {"account": None, "add": False, "join": [], "leave": [], "stop": [], "remove": False}
    return [
        {**blank, "name": name, "admin": False, "said": ["no administrator any more, as not declared"]}
        for name in names
    ]


def sentences(todos: list[dict[str, Any]]) -> list[str]:
    """Return a line for each user with something to do."""
    return [f"{todo['name']}: {', '.join(todo['said'])}" for todo in todos]


def diff(todos: list[dict[str, Any]], seen: dict[str, Any], at_hub: dict[str, User]) -> dict[str, Any]:
    """Return the users with something to do, before and after. A password is never in it, only that it changes."""
    before, after = {}, {}
    for todo in todos:
        name = todo["name"]
        user, account, write = at_hub.get(name), seen["accounts"].get(name), todo["account"]
        old: dict[str, Any] = {
            "known to the hub": user is not None,
            "admin": bool(user and user["admin"]),
            "groups": sorted(user["groups"]) if user else [],
            "servers": sorted(user["servers"]) if user else [],
            "may sign in": bool(account and account["authorized"]),
            "password": "none" if account is None or account["locked"] else "set",
        }
        new = dict(old)
        if todo["remove"]:
            new = {}
        else:
            new["known to the hub"] = user is not None or todo["add"]
            new["admin"] = old["admin"] if todo["admin"] is None else todo["admin"]
            new["groups"] = sorted({*old["groups"], *todo["join"]} - set(todo["leave"]))
            new["servers"] = [server for server in old["servers"] if server not in todo["stop"]]
            if write:
                new["may sign in"] = write["authorized"]
                new["password"] = "as declared" if write["password"] is not None else old["password"]
        before[name], after[name] = old, new
    return {"before": before, "after": after}
