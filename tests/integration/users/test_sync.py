"""Declared users on a real hub: what each of them can and cannot do afterwards.

All tests share one hub, and each has users of its own. Servers run in the hub's process, which shows who gets one and
whose is stopped.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts
from docker import APIClient

import jupyterhub_users
from jupyterhub_deploy_hub import accounts
from support.modules import ModuleError, run
from support.signin_hub import (
    ADMIN_PASSWORD,
    NO_PROXY,
    SERVERS_INSIDE,
    Browser,
    HubContainer,
    docker,
    shown,
    write_config,
)

PASSWORD = "seven green bottles"
OTHER = "eight brown barrels"
EXTRA = f"""{NO_PROXY}{SERVERS_INSIDE}
print("what an operator's configuration prints")
c.Authenticator.admin_users = {{*c.Authenticator.admin_users, "erin"}}
c.Spawner.default_url = "/hub/home"
"""
_serial = itertools.count(1)


def fresh(name: str) -> str:
    """Return a name that no other test uses."""
    return f"{name}{next(_serial)}"


class UsersHub:
    """A hub, and all results of the module."""

    def __init__(self, hub: HubContainer) -> None:
        self.hub = hub
        self.results: list[str] = []

    def declare(self, *users: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Run the module as site.yml does."""
        token_file = str(self.hub.directory / "secrets" / "api_token")
        try:
            result = run(jupyterhub_users, name=self.hub.name, token_file=token_file, users=list(users), **options)
        except ModuleError as error:
            self.results.append(json.dumps(error.result))
            raise
        self.results.append(json.dumps(result))
        # Administrators of the other tests are not declared here.
        result["messages"] = [line for line in result["messages"] if not line.startswith("not declared, but")]
        return result

    def sign_in(self, name: str, password: str = PASSWORD) -> Browser | None:
        """Return a browser in which the user is signed in, or None."""
        browser = Browser(self.hub)
        browser.sign_in(name, password)
        return browser if browser.get("home", allow_redirects=False).status_code == 200 else None

    def token(self, browser: Browser, name: str) -> str:
        """Return a token that the user created on the Token page."""
        answer = self.as_user(browser, "POST", f"users/{name}/tokens", json={"expires_in": 3600})
        return str(answer.json()["token"])

    def as_user(self, browser: Browser, method: str, path: str, **options: Any) -> requests.Response:
        """Call the API as the hub's pages in a browser do."""
        xsrf = browser.session.cookies.get("_xsrf", path="/hub/") or ""
        headers = {"X-XSRFToken": xsrf, "Referer": f"{self.hub.url}home"}
        return browser.session.request(method, f"{self.hub.url}api/{path}", headers=headers, timeout=30, **options)

    def servers(self) -> list[str]:
        """Return the users with a running server."""
        joined = "spawners s JOIN users u ON u.id = s.user_id WHERE s.server_id IS NOT NULL"
        return [row[0] for row in self.hub.sql(f"SELECT u.name FROM {joined}")]

    def api(self, method: str, path: str, token: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{self.hub.url}api/{path}", headers=headers, timeout=30, **options)

    def users(self) -> dict[str, dict[str, Any]]:
        """Return rights and groups of all users, from the database."""
        groups: dict[str, list[str]] = {}
        joined = "user_group_map m JOIN users u ON u.id = m.user_id JOIN groups g ON g.id = m.group_id"
        for name, group in self.hub.sql(f"SELECT u.name, g.name FROM {joined}"):
            groups.setdefault(name, []).append(group)
        rows = self.hub.sql("SELECT name, admin FROM users")
        return {name: {"admin": bool(admin), "groups": sorted(groups.get(name, []))} for name, admin in rows}

    def everything(self) -> list[list[Any]]:
        """Return the rows that a run may change; the first column is the number of the table."""
        parts = [
            "SELECT 1, id, name, admin, cookie_id FROM users",
            "SELECT 2, id, username, hex(password), is_authorized FROM users_info",
            "SELECT 3, id, name, 0, 0 FROM groups",
            "SELECT 4, user_id, group_id, 0, 0 FROM user_group_map",
            "SELECT 5, id, user_id, 0, 0 FROM api_tokens",
        ]
        return self.hub.sql(" UNION ALL ".join(parts) + " ORDER BY 1, 2, 3")


def started(image: str, directory: Path) -> Iterator[UsersHub]:
    write_config(directory, EXTRA)
    hub = HubContainer(image, directory)
    try:
        yield UsersHub(hub.start())
    finally:
        hub.remove()


@pytest.fixture(scope="module")
def site(hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsersHub]:
    yield from started(hub_image("5.5.4"), tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def newer_site(hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsersHub]:
    yield from started(hub_image("6.1.1"), tmp_path_factory.mktemp("newer"))


def alice() -> dict[str, Any]:
    return {"name": fresh("alice"), "admin": True, "groups": ["teachers"], "password": PASSWORD}


def bob() -> dict[str, Any]:
    return {"name": fresh("bob"), "groups": ["course-a", "course-b"], "password": PASSWORD}


def can_administer(site: UsersHub, browser: Browser) -> bool:
    """Return whether the admin page and the list of users behind it open."""
    page, users = browser.get("admin").status_code, site.as_user(browser, "GET", "users").status_code
    assert (page == 200) == (users == 200), (page, users)
    return page == 200


def signed_in(site: UsersHub, name: str, password: str = PASSWORD) -> Browser:
    browser = site.sign_in(name, password)
    assert browser is not None, name
    return browser


def test_check_mode_reports_and_changes_nothing(site: UsersHub) -> None:
    teacher, student, reserved = alice(), bob(), {"name": fresh("carol")}
    before = site.everything()
    result = site.declare(teacher, student, reserved, check=True, diff=True)
    assert result["changed"] is True
    assert result["messages"] == [
        f"{teacher['name']}: account created, added to the hub, made an administrator, joined group teachers",
        f"{student['name']}: account created, added to the hub, joined group course-a, joined group course-b",
        f"{reserved['name']}: name reserved until a password is set, added to the hub",
    ]
    assert result["diff"]["before"][student["name"]]["can sign in"] is False
    assert result["diff"]["after"][student["name"]]["groups"] == ["course-a", "course-b"]
    assert site.everything() == before


def test_declared_users_are_as_declared(site: UsersHub) -> None:
    teacher, student, reserved = alice(), bob(), {"name": fresh("carol")}
    assert site.declare(teacher, student, reserved)["changed"] is True
    users = site.users()
    assert users[teacher["name"]] == {"admin": True, "groups": ["teachers"]}
    assert users[student["name"]] == {"admin": False, "groups": ["course-a", "course-b"]}
    assert can_administer(site, signed_in(site, teacher["name"]))
    assert not can_administer(site, signed_in(site, student["name"]))

    before = site.everything()
    again = site.declare(teacher, student, reserved)
    assert (again["changed"], again["messages"], again["diff"]) == (False, [], {"before": {}, "after": {}})
    assert site.everything() == before


def test_nobody_signs_up_under_a_declared_name(site: UsersHub) -> None:
    name, disabled = fresh("carol"), fresh("mallory")
    assert site.declare({"name": name}, {"name": disabled, "state": "disabled"})["changed"] is True
    for taken in (name, disabled):
        refused = Browser(site.hub).sign_up(taken, OTHER)
        assert shown(refused) == f"The user name {taken} is taken or reserved. Choose another, or ask an administrator."
        assert site.sign_in(taken, OTHER) is None
    assert disabled not in site.users()
    assert site.declare({"name": name, "password": PASSWORD})["messages"] == [f"{name}: password set"]
    assert site.sign_in(name) is not None


def test_a_password_is_set_once_or_always_as_declared(site: UsersHub) -> None:
    carol = {"name": fresh("carol"), "password": PASSWORD}
    site.declare(carol)
    first = signed_in(site, carol["name"])
    token = site.token(first, carol["name"])
    assert site.api("POST", f"users/{carol['name']}/server", token).ok
    assert site.declare({**carol, "password": OTHER})["changed"] is False
    forced = {**carol, "password": OTHER, "update_password": "always"}
    assert site.declare(forced)["messages"] == [f"{carol['name']}: password replaced, signed out everywhere"]
    assert site.declare(forced)["changed"] is False
    assert not first.signed_in()
    assert not site.api("GET", "user", token).ok, "somebody else may have created it"
    assert carol["name"] in site.servers()
    assert site.sign_in(carol["name"]) is None
    assert site.sign_in(carol["name"], OTHER) is not None


def test_groups_are_what_is_declared(site: UsersHub) -> None:
    student, undeclared = bob(), fresh("zoe")
    site.declare(student)
    Browser(site.hub).sign_up(undeclared, PASSWORD)
    signed_in(site, undeclared)
    admin = signed_in(site, "admin", ADMIN_PASSWORD)
    assert site.as_user(admin, "POST", "groups/course-a/users", json={"users": [undeclared]}).ok
    changed = site.declare({**student, "groups": ["course-b", "Kurs ä/1"]})
    assert changed["messages"] == [f"{student['name']}: joined group Kurs ä/1, left group course-a"]
    users = site.users()
    assert users[student["name"]]["groups"] == ["Kurs ä/1", "course-b"]
    assert users[undeclared] == {"admin": False, "groups": ["course-a"]}
    assert site.declare({"name": student["name"]})["changed"] is False, "groups were omitted"
    assert site.declare({**student, "groups": []})["changed"] is True
    assert site.users()[student["name"]]["groups"] == []


def test_demotion_really_demotes(site: UsersHub) -> None:
    teacher = alice()
    name = teacher["name"]
    site.declare(teacher)
    browser = signed_in(site, name)
    token = site.token(browser, name)
    assert site.api("GET", "users", token).ok
    assert site.api("POST", f"users/{name}/server", token).ok
    assert site.declare({**teacher, "admin": False})["messages"] == [f"{name}: administrator rights removed"]
    assert browser.signed_in()
    assert name in site.servers()
    assert site.api("DELETE", f"users/{name}/server", token).ok
    assert not can_administer(site, browser)
    assert site.api("GET", "users", token).status_code == 403
    # Neither signing in nor a restart restores the rights.
    assert not can_administer(site, signed_in(site, name))
    before = site.users()
    site.hub.restart()
    assert site.users() == before
    assert not can_administer(site, signed_in(site, name))


def test_an_administrator_by_configuration_cannot_be_declared_otherwise(site: UsersHub) -> None:
    before = site.everything()
    with pytest.raises(ModuleError, match="erin is not declared as an administrator, but admin_users in"):
        site.declare({"name": "erin", "admin": False})
    assert site.everything() == before
    site.declare({"name": "erin", "admin": True, "password": PASSWORD})
    assert can_administer(site, signed_in(site, "erin"))


def test_undeclared_administrators_are_named_and_demoted_only_when_told(site: UsersHub) -> None:
    undeclared, declared = fresh("zoe"), {"name": fresh("alice"), "admin": True}
    Browser(site.hub).sign_up(undeclared, PASSWORD)
    signed_in(site, undeclared)
    admin = signed_in(site, "admin", ADMIN_PASSWORD)
    page = {"name": undeclared, "admin": True}  # what the page Admin sends
    answer = site.as_user(admin, "PATCH", f"users/{undeclared}", json=page)
    assert (answer.status_code, answer.json()["name"], answer.json()["admin"]) == (200, undeclared, True)
    assert undeclared in site.declare(declared)["undeclared_admins"]
    assert site.users()[undeclared]["admin"] is True
    result = site.declare(declared, undeclared_admins="demote")
    assert f"{undeclared}: administrator rights removed, because not declared" in result["messages"]
    admins = {name for name, user in site.users().items() if user["admin"]}
    assert admins == {"admin", "erin", declared["name"]}


def test_a_disabled_user_is_out_with_cookie_tokens_and_server(site: UsersHub) -> None:
    student = bob()
    name = student["name"]
    site.declare(student)
    browser = signed_in(site, name)
    token = site.token(browser, name)
    assert site.api("POST", f"users/{name}/server", token).ok
    assert name in site.servers()
    disabled = {"name": name, "state": "disabled"}
    assert site.declare(disabled)["messages"] == [f"{name}: disabled, signed out everywhere, running servers stopped"]
    assert not browser.signed_in()
    assert site.api("GET", "user", token).status_code == 403
    assert site.api("POST", f"users/{name}/server", token).status_code == 403
    assert site.as_user(browser, "POST", f"users/{name}/server").status_code == 403
    assert site.sign_in(name) is None
    assert Browser(site.hub).sign_up(name, OTHER).status_code == 200
    assert site.sign_in(name, OTHER) is None
    assert name not in site.servers()
    assert site.declare(disabled)["changed"] is False
    # Authorized again: the password is the old one, and old sessions stay ended.
    assert site.declare({"name": name})["messages"] == [f"{name}: authorized"]
    assert not browser.signed_in()
    assert site.sign_in(name) is not None


def test_an_account_that_waits_is_authorized_with_the_declared_password(site: UsersHub) -> None:
    without, with_password = fresh("dave"), fresh("frank")
    for name in (without, with_password):
        Browser(site.hub).sign_up(name, OTHER)
        site.hub.sql(f"UPDATE users_info SET is_authorized = 0 WHERE username = '{name}'")
        assert site.sign_in(name, OTHER) is None
    site.declare({"name": without}, {"name": with_password, "password": PASSWORD})
    assert site.sign_in(without, OTHER) is not None
    # Anyone may have signed up under the declared name: that password does not work.
    assert site.sign_in(with_password, OTHER) is None
    assert site.sign_in(with_password) is not None


def test_one_invalid_user_stops_the_whole_run(site: UsersHub) -> None:
    student = bob()
    site.declare(student)
    before, name, new = site.everything(), student["name"], {"name": fresh("new")}
    invalid = [{"name": name.title()}, {"name": name}, {"name": "a:b"}, {"name": "eve", "password": "é" * 37}]
    with pytest.raises(ModuleError) as refused:
        site.declare(new, *invalid, {"name": "admin", "state": "disabled"})
    message = str(refused.value)
    assert "'a:b' cannot be a user name. A user name cannot contain :" in message
    assert f"{name} is declared 2 times" in message
    assert "the password of eve: The password is too long" in message
    assert "admin is jupyterhub_admin_user" in message
    with pytest.raises(ModuleError, match=f"{name} is declared absent but still exists; no user was changed"):
        site.declare(new, {"name": name, "state": "absent"})
    with pytest.raises(ModuleError, match="the hub does not know alcie; check the name"):
        site.declare({"name": "alcie"}, create=False)
    assert site.everything() == before


def test_no_password_and_no_token_is_left_anywhere(site: UsersHub) -> None:
    site.declare(bob(), {**bob(), "password": OTHER, "update_password": "always"})
    shown_anywhere = "".join(site.results) + site.hub.logs() + docker("inspect", site.hub.name).stdout
    assert PASSWORD not in shown_anywhere
    assert OTHER not in shown_anywhere
    tokens = site.hub.sql("SELECT count(*) FROM api_tokens WHERE note = '" + accounts.TOKEN_NOTE + "'")
    assert tokens == [[0]]


def test_a_bug_of_the_program_is_reported_with_its_traceback(site: UsersHub) -> None:
    with pytest.raises(DeployError, match=r"failed \(KeyError: 'names'\); please report") as raised:
        Accounts(APIClient(), site.hub.name).request("read")
    assert "Traceback (most recent call last)" in raised.value.result["exception"]


def test_a_hub_that_is_down_is_one_clear_error(site: UsersHub) -> None:
    site.hub.stop()
    try:
        with pytest.raises(ModuleError, match=f"the hub container {site.hub.name} is not running; `docker logs"):
            site.declare({"name": "alice"})
        assert site.declare({"name": "alice"}, check=True)["changed"] is False
    finally:
        site.hub.restart()


def test_a_hub_of_an_older_image_says_what_to_run(site: UsersHub) -> None:
    name = f"{site.hub.name}-older"
    older = "rm /opt/jupyterhub-deploy/jupyterhub_deploy_hub/accounts.py && exec sleep 600"
    docker("run", "--detach", "--rm", "--name", name, "--entrypoint", "sh", site.hub.image, "-c", older)
    try:
        with pytest.raises(DeployError, match=f"image of hub {name} has no .* Run make site, which replaces the hub"):
            Accounts(APIClient(), name).request("exists", name="alice")
    finally:
        docker("rm", "--force", name)


@pytest.mark.long
def test_the_other_version_does_the_same(newer_site: UsersHub) -> None:
    test_declared_users_are_as_declared(newer_site)
    test_a_disabled_user_is_out_with_cookie_tokens_and_server(newer_site)
    test_demotion_really_demotes(newer_site)
    test_no_password_and_no_token_is_left_anywhere(newer_site)
