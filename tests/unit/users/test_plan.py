"""The changes for declared users: each one, all together, and never for other users."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.users import plan
from hypothesis import given
from hypothesis import strategies as st

SECRET = "a secret that is nowhere"
OPEN = {"authorized": True, "locked": False, "password_right": False}
LOCKED = {"authorized": True, "locked": True, "password_right": False}
WAITING = {"authorized": False, "locked": False, "password_right": False}


def user(name: str = "alice", **options: Any) -> dict[str, Any]:
    blank = {"state": "present", "admin": None, "groups": None, "password": None, "update_password": "on_create",
             "authorize": True}  # fmt: skip
    return {"name": name, **blank, **options}


def hub_user(admin: bool = False, groups: tuple[str, ...] = (), servers: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"admin": admin, "groups": list(groups), "servers": {server: {} for server in servers}}


def seen(*names: str, **options: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {
        "admin_user": "admin",
        "admins_by_configuration": ["admin"],
        "accounts": {},
        "at_provider": [],
    }
    spelt = {name: name.lower() for name in names or ("alice",)}
    return {**blank, "names": spelt, "name_problems": {}, "password_problems": {}, **options}


def todo(declared: dict[str, Any], account: dict[str, Any] | None, known: dict[str, Any] | None) -> dict[str, Any]:
    """Return the change for one declared user, an empty dictionary without one."""
    accounts = {declared["name"]: account} if account else {}
    at_hub = {declared["name"]: known} if known else {}
    todos = plan.plan([declared], seen(accounts=accounts), at_hub, native=True)
    return todos[0] if todos else {}


def test_a_new_password_authorizes_only_if_that_is_asked_for() -> None:
    declared = user(password=SECRET, update_password="always", authorize=False)
    assert todo(declared, WAITING, hub_user())["account"]["authorized"] is False
    assert todo(declared, OPEN, hub_user())["account"]["authorized"] is True
    assert todo(user(authorize=False), WAITING, hub_user()) == {}


def test_a_user_who_is_as_declared_is_unchanged() -> None:
    assert todo(user(admin=True, groups=["a"]), OPEN, hub_user(True, ("a",))) == {}
    assert todo(user(password=SECRET), OPEN, hub_user()) == {}
    assert todo(user(password=SECRET, update_password="always"), {**OPEN, "password_right": True}, hub_user()) == {}
    assert todo(user(state="disabled"), WAITING, hub_user()) == {}
    assert todo(user(state="disabled"), WAITING, None) == {}
    assert todo(user(state="absent"), None, None) == {}


@pytest.mark.parametrize(
    ("declared", "account", "known", "message"),
    [
        (user(), None, None, "name reserved until a password is set, added to the hub"),
        (user(password=SECRET), None, None, "account created, added to the hub"),
        (user(admin=True), OPEN, None, "added to the hub, made an administrator"),
        (user(admin=True), OPEN, hub_user(), "made an administrator"),
        (user(admin=False), OPEN, hub_user(True), "administrator rights removed"),
        (user(groups=["b"]), OPEN, hub_user(groups=("a",)), "joined group b, left group a"),
        (user(groups=[]), OPEN, hub_user(groups=("a",)), "left group a"),
        (user(), WAITING, hub_user(), "authorized"),
        (
            user(password=SECRET),
            WAITING,
            None,
            "password replaced, signed out everywhere, authorized, added to the hub",
        ),
        (user(password=SECRET), LOCKED, hub_user(), "password set"),
        (
            user(password=SECRET, update_password="always", authorize=False),
            WAITING,
            hub_user(),
            "password replaced, signed out everywhere, still not authorized (`playbooks/user.yml -e do=authorize` lets "
            "the user in)",
        ),
        (
            user(admin=True, password=SECRET),
            OPEN,
            None,
            "added to the hub, made an administrator, the account had a password, so the declared one was not set "
            "(`playbooks/user.yml -e do=password` sets one)",
        ),
        (user(admin=True, password=SECRET), OPEN, hub_user(), "made an administrator"),
        (user(admin=True, password=SECRET), LOCKED, hub_user(), "password set, made an administrator"),
        (user(password=SECRET, update_password="always"), OPEN, hub_user(), "password replaced, signed out everywhere"),
        (user(state="disabled"), OPEN, None, "disabled, signed out everywhere"),
        (user(state="disabled"), None, None, "disabled, so that nobody can sign up under this name"),
        (
            user(state="disabled"),
            OPEN,
            hub_user(True, servers=("", "gpu")),
            "disabled, signed out everywhere, running servers stopped, administrator rights removed",
        ),
        (user(state="disabled"), WAITING, hub_user(servers=("",)), "running servers stopped"),
        (user(state="absent"), OPEN, None, "to be deleted"),
    ],
)
def test_each_change_has_a_message(declared, account, known, message) -> None:
    found = todo(declared, account, known)
    assert plan.messages([found], []) == [f"alice: {message}"]


def test_what_is_omitted_stays_as_it_is() -> None:
    assert todo(user(), OPEN, hub_user(True, ("a", "b"), ("",))) == {}


def test_disabling_ends_everything_and_a_new_password_only_sessions() -> None:
    assert todo(user(state="disabled"), OPEN, hub_user())["account"]["end"] == "all"
    assert todo(user(password=SECRET, update_password="always"), OPEN, hub_user())["account"]["end"] == "sessions"
    assert todo(user(), WAITING, hub_user())["account"]["end"] is None


def test_a_hub_without_native_accounts_gets_none() -> None:
    (found,) = plan.plan([user(admin=True)], seen(), {}, native=False)
    assert found["account"] is None
    assert found["done"] == ["added to the hub", "made an administrator"]
    with pytest.raises(DeployError, match="only native accounts have passwords and can be disabled"):
        plan.check_declared([user(password=SECRET)], seen(), native=False)


def test_a_user_of_a_provider_gets_groups_and_no_account() -> None:
    known = seen("github:bob", at_provider=["github:bob"], admins_by_configuration=["admin", "github:bob"])
    declared = user("github:bob", groups=["course"])
    (found,) = plan.plan([declared], known, {}, native=True)
    assert (found["account"], found["add"], found["join"]) == (None, True, ["course"])
    for refused, message in (
        (
            {"password": SECRET},
            "github:bob: only native accounts have passwords and can be disabled; remove the name from",
        ),
        ({"state": "disabled"}, "github:bob: only native accounts have passwords"),
        ({"admin": False}, "admin_users in the settings of an authenticator makes github:bob one"),
    ):
        with pytest.raises(DeployError, match=message):
            plan.check_declared([{**declared, **refused}], known, native=True)


def test_the_hubs_own_administrator_only_gets_groups() -> None:
    (found,) = plan.plan([user("admin", groups=["staff"])], seen("admin"), {"admin": hub_user(True)}, native=True)
    assert (found["account"], found["admin"], found["join"]) == (None, None, ["staff"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ([user("Alice"), user("alice")], "alice is declared 2 times"),
        ([user("admin", state="disabled")], "admin is jupyterhub_admin_user, always an administrator"),
        ([user("admin", admin=False)], "admin is jupyterhub_admin_user"),
        ([user("admin", password=SECRET)], "admin is jupyterhub_admin_user"),
        ([user("deploy")], "deploy is the name of a service of the hub, which could not delete this user"),
        ([user(state="disabled", admin=True)], "alice is declared disabled and an administrator; remove admin"),
        ([user(state="absent", password=SECRET)], "alice is declared absent with a password; remove password"),
    ],
)
def test_contradictions_are_refused_without_a_secret(declared, message) -> None:
    with pytest.raises(DeployError) as refused:
        plan.check_declared(declared, seen(*[one["name"] for one in declared]), native=True)
    assert message in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_administrator_by_configuration_cannot_be_declared_otherwise() -> None:
    promoted = seen(admins_by_configuration=["admin", "alice"])
    for declared in (user(admin=False), user(state="disabled")):
        with pytest.raises(DeployError, match="admin_users in jupyterhub_extra_config makes alice one at each"):
            plan.check_declared([declared], promoted, native=True)
    assert plan.check_declared([user()], promoted, native=True)


def test_undeclared_administrators_are_found() -> None:
    at_hub = {"admin": hub_user(True), "alice": hub_user(True), "zoe": hub_user(True), "bob": hub_user()}
    assert plan.undeclared_admins([user()], seen(), at_hub) == ["zoe"]
    assert plan.messages([], ["zoe"])[0].startswith(
        "not declared, but administrator: zoe; add them to jupyterhub_users"
    )
    (found,) = plan.demotions(["zoe"])
    assert (found["name"], found["admin"], found["account"]) == ("zoe", False, None)


def test_removal_names_the_user_and_the_playbook() -> None:
    todos = plan.plan([user(state="absent")], seen(accounts={"alice": OPEN}), {}, native=True)
    with pytest.raises(DeployError, match=r"alice is declared absent .* playbooks/delete_user.yml -e user=alice`"):
        plan.refuse_removal(todos)


def test_a_missing_user_is_named() -> None:
    with pytest.raises(DeployError, match="the hub does not know alcie"):
        plan.require([user("alcie")], seen("alcie"), {"alice": hub_user()})
    plan.require([user()], seen(accounts={"alice": OPEN}), {})


NAMES = ("alice", "bob", "zoe", "admin")
GROUPS = st.lists(st.sampled_from("abc"), unique=True)
DECLARED = st.builds(
    user,
    st.sampled_from(NAMES),
    state=st.sampled_from(["present", "disabled"]),
    admin=st.sampled_from([None, True, False]),
    groups=st.none() | GROUPS,
    password=st.sampled_from([None, SECRET]),
    update_password=st.sampled_from(["on_create", "always"]),
)
KNOWN = st.dictionaries(st.sampled_from(NAMES), st.builds(hub_user, st.booleans(), GROUPS.map(tuple)))
ACCOUNTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([OPEN, LOCKED, WAITING]))


@given(st.lists(DECLARED, unique_by=lambda one: one["name"]), KNOWN, ACCOUNTS)
def test_a_second_run_changes_nothing_and_other_users_are_unchanged(declared, known, accounts) -> None:
    looked = seen(*NAMES, accounts=accounts)
    try:
        users = plan.check_declared(declared, looked, native=True)
    except DeployError:
        return
    todos = plan.plan(users, looked, known, native=True)
    assert {one["name"] for one in todos} <= {one["name"] for one in declared}
    assert SECRET not in str(plan.diff(todos, looked, known)) + str(plan.messages(todos, []))
    after, accounts_after = done(todos, known, accounts)
    assert plan.plan(users, {**looked, "accounts": accounts_after}, after, native=True) == []
    for one in users:
        if one["state"] == "present" and one["name"] != "admin":
            assert one["name"] in after
            assert accounts_after[one["name"]]["authorized"]
        if one["admin"] is not None and one["state"] == "present" and one["name"] != "admin":
            assert after[one["name"]]["admin"] == one["admin"]
        if one["groups"] is not None and one["name"] in after:
            assert set(after[one["name"]]["groups"]) == set(one["groups"])


def done(todos: list[dict[str, Any]], known: dict[str, Any], accounts: dict[str, Any]) -> tuple[Any, Any]:
    """Return the hub's users and accounts after all changes."""
    hub = {name: dict(one) for name, one in known.items()}
    rows = dict(accounts)
    for one in todos:
        name, write = one["name"], one["account"]
        if write:
            assert write["new"] == (name not in rows)
            given = write["password"] is not None
            old = rows.get(name, LOCKED)
            rows[name] = {
                "authorized": write["authorized"],
                "locked": old["locked"] and not given,
                "password_right": given or old["password_right"],
            }
        if one["add"]:
            assert name not in hub
            hub[name] = hub_user()
        if name in hub:
            hub[name]["admin"] = hub[name]["admin"] if one["admin"] is None else one["admin"]
            hub[name]["groups"] = sorted({*hub[name]["groups"], *one["join"]} - set(one["leave"]))
            hub[name]["servers"] = {key: {} for key in hub[name]["servers"] if key not in one["stop"]}
    return hub, rows
