"""Declared users on a real hub: what each of them can and cannot do afterwards.

The tests run in the order of the file, as an operator's weeks do. Servers live in the hub's own process: enough to see
who gets one and whose is stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

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


class Site:
    """A hub, the module at work on it, and all that the module said."""

    def __init__(self, hub: HubContainer) -> None:
        self.hub = hub
        self.said: list[str] = []

    def declare(self, *users: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Run the module as site.yml does."""
        token_file = str(self.hub.directory / "secrets" / "api_token")
        try:
            result = run(jupyterhub_users, name=self.hub.name, token_file=token_file, users=list(users), **options)
        except ModuleError as error:
            self.said.append(json.dumps(error.result))
            raise
        self.said.append(json.dumps(result))
        return result

    def sign_in(self, name: str, password: str = PASSWORD) -> Browser | None:
        """Return a browser in which the person is signed in, or None."""
        browser = Browser(self.hub)
        browser.sign_in(name, password)
        return browser if browser.get("home", allow_redirects=False).status_code == 200 else None

    def token(self, browser: Browser, name: str) -> str:
        """Return a token that the person made on the Token page."""
        answer = self.as_person(browser, "POST", f"users/{name}/tokens", json={"expires_in": 3600})
        return str(answer.json()["token"])

    def as_person(self, browser: Browser, method: str, path: str, **options: Any) -> requests.Response:
        """Call the API as the pages of a browser do."""
        xsrf = browser.session.cookies.get("_xsrf", path="/hub/") or ""
        headers = {"X-XSRFToken": xsrf, "Referer": f"{self.hub.url}home"}
        return browser.session.request(method, f"{self.hub.url}api/{path}", headers=headers, timeout=30, **options)

    def servers(self) -> list[str]:
        """Return whose servers run."""
        joined = "spawners s JOIN users u ON u.id = s.user_id WHERE s.server_id IS NOT NULL"
        return [row[0] for row in self.hub.sql(f"SELECT u.name FROM {joined}")]

    def api(self, method: str, path: str, token: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{self.hub.url}api/{path}", headers=headers, timeout=30, **options)

    def users(self) -> dict[str, dict[str, Any]]:
        """Return what the database has of everybody."""
        groups: dict[str, list[str]] = {}
        joined = "user_group_map m JOIN users u ON u.id = m.user_id JOIN groups g ON g.id = m.group_id"
        for name, group in self.hub.sql(f"SELECT u.name, g.name FROM {joined}"):
            groups.setdefault(name, []).append(group)
        rows = self.hub.sql("SELECT name, admin FROM users")
        return {name: {"admin": bool(admin), "groups": sorted(groups.get(name, []))} for name, admin in rows}

    def everything(self) -> list[list[Any]]:
        """Return the rows that a run may change, tables told apart by their number."""
        parts = [
            "SELECT 1, id, name, admin, cookie_id FROM users",
            "SELECT 2, id, username, hex(password), is_authorized FROM users_info",
            "SELECT 3, id, name, 0, 0 FROM groups",
            "SELECT 4, user_id, group_id, 0, 0 FROM user_group_map",
            "SELECT 5, id, user_id, 0, 0 FROM api_tokens",
        ]
        return self.hub.sql(" UNION ALL ".join(parts) + " ORDER BY 1, 2, 3")


def started(image: str, directory: Path) -> Iterator[Site]:
    write_config(directory, EXTRA)
    hub = HubContainer(image, directory)
    try:
        yield Site(hub.start())
    finally:
        hub.remove()


@pytest.fixture(scope="module")
def site(hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from started(hub_image("5.5.4"), tmp_path_factory.mktemp("users"))


@pytest.fixture
def newer_site(hub_image: Callable[[str], str], tmp_path: Path) -> Iterator[Site]:
    yield from started(hub_image("6.1.1"), tmp_path)


ALICE = {"name": "alice", "admin": True, "groups": ["teachers"], "password": PASSWORD}
BOB = {"name": "bob", "groups": ["course-a", "course-b"], "password": PASSWORD}
CAROL = {"name": "carol"}  # no password: an admin, or a later run, sets one


def may_administer(site: Site, browser: Browser) -> bool:
    """Say whether the admin page and the list of users behind it open."""
    page, users = browser.get("admin").status_code, site.as_person(browser, "GET", "users").status_code
    assert (page == 200) == (users == 200), (page, users)
    return page == 200


def test_check_mode_tells_and_changes_nothing(site: Site) -> None:
    zoe = Browser(site.hub)
    zoe.sign_up("zoe", PASSWORD)  # nobody declares her, ever
    before = site.everything()
    told = site.declare(ALICE, BOB, CAROL, check=True, diff=True)
    assert told["changed"] is True
    assert told["messages"] == [
        "alice: account created, added to the hub, made an administrator, joined group teachers",
        "bob: account created, added to the hub, joined group course-a, joined group course-b",
        "carol: name reserved until a password is set, added to the hub",
    ]
    assert told["diff"]["before"]["bob"]["can sign in"] is False
    assert told["diff"]["after"]["bob"]["groups"] == ["course-a", "course-b"]
    assert site.everything() == before


def test_declared_users_are_as_declared(site: Site) -> None:
    assert site.declare(ALICE, BOB, CAROL)["changed"] is True
    users = site.users()
    assert users["alice"] == {"admin": True, "groups": ["teachers"]}
    assert users["bob"] == {"admin": False, "groups": ["course-a", "course-b"]}
    alice, bob = site.sign_in("alice"), site.sign_in("bob")
    assert alice is not None
    assert bob is not None
    assert may_administer(site, alice)
    assert not may_administer(site, bob)


def test_a_second_run_changes_nothing(site: Site) -> None:
    before = site.everything()
    again = site.declare(ALICE, BOB, CAROL)
    assert (again["changed"], again["messages"], again["diff"]) == (False, [], {"before": {}, "after": {}})
    assert site.everything() == before


def test_nobody_signs_up_under_a_declared_name(site: Site) -> None:
    refused = Browser(site.hub).sign_up("carol", OTHER)
    assert shown(refused) == "The user name carol is taken. Choose another."
    assert site.sign_in("carol", OTHER) is None
    assert site.declare({**CAROL, "password": PASSWORD})["messages"] == ["carol: password set"]
    assert site.sign_in("carol") is not None


def test_a_password_is_set_once_or_always_as_declared(site: Site) -> None:
    first = site.sign_in("carol")
    assert first is not None
    token = site.token(first, "carol")
    assert site.api("POST", "users/carol/server", token).ok
    assert site.declare({**CAROL, "password": OTHER})["changed"] is False
    forced = {**CAROL, "password": OTHER, "update_password": "always"}
    assert site.declare(forced)["messages"] == ["carol: password replaced, signed out everywhere"]
    assert site.declare(forced)["changed"] is False
    assert not first.signed_in()
    assert site.api("GET", "user", token).ok  # made by name, to outlive a password
    assert site.servers() == ["carol"]
    assert site.api("DELETE", "users/carol/server", token).ok
    assert site.sign_in("carol") is None
    assert site.sign_in("carol", OTHER) is not None


def test_groups_are_what_is_declared(site: Site) -> None:
    admin = site.sign_in("admin", ADMIN_PASSWORD)
    assert admin is not None
    assert site.sign_in("zoe") is not None
    assert site.as_person(admin, "POST", "groups/course-a/users", json={"users": ["zoe"]}).ok
    changed = site.declare({**BOB, "groups": ["course-b", "Kurs ä/1"]})
    assert changed["messages"] == ["bob: joined group Kurs ä/1, left group course-a"]
    users = site.users()
    assert users["bob"]["groups"] == ["Kurs ä/1", "course-b"]
    assert users["zoe"] == {"admin": False, "groups": ["course-a"]}  # undeclared: as she was
    assert site.declare({"name": "bob"})["changed"] is False  # groups not given: left as they are
    assert site.declare({**BOB, "groups": []})["changed"] is True
    assert site.users()["bob"]["groups"] == []


def test_demotion_really_demotes(site: Site) -> None:
    alice = site.sign_in("alice")
    assert alice is not None
    token = site.token(alice, "alice")
    assert site.api("GET", "users", token).ok
    assert site.api("POST", "users/alice/server", token).ok
    assert site.declare({**ALICE, "admin": False})["messages"] == ["alice: administrator rights removed"]
    assert alice.signed_in()
    assert site.servers() == ["alice"]
    assert site.api("DELETE", "users/alice/server", token).ok
    assert not may_administer(site, alice)
    assert site.api("GET", "users", token).status_code == 403
    again = site.sign_in("alice")
    assert again is not None
    assert not may_administer(site, again)


def test_a_name_in_admin_users_of_the_configuration_is_refused_as_no_administrator(site: Site) -> None:
    before = site.everything()
    with pytest.raises(ModuleError, match="erin is not declared as an administrator, but admin_users in"):
        site.declare({"name": "erin", "admin": False})
    assert site.everything() == before
    assert site.declare({"name": "erin", "admin": True, "password": PASSWORD})["changed"] is True


def test_administrators_that_nobody_declares_are_named_and_demoted_only_when_told(site: Site) -> None:
    admin = site.sign_in("admin", ADMIN_PASSWORD)
    assert admin is not None
    assert site.as_person(admin, "PATCH", "users/zoe", json={"admin": True}).ok
    assert site.declare({"name": "alice"})["undeclared_admins"] == ["zoe"]
    assert site.users()["zoe"]["admin"] is True
    told = site.declare({"name": "alice"}, undeclared_admins="demote")
    assert told["messages"] == ["zoe: administrator rights removed, because not declared"]
    assert {name for name, user in site.users().items() if user["admin"]} == {"admin", "erin"}


def test_a_disabled_user_is_out_with_cookie_tokens_and_server(site: Site) -> None:
    bob = site.sign_in("bob")
    assert bob is not None
    token = site.token(bob, "bob")
    assert site.api("POST", "users/bob/server", token).ok
    assert site.servers() == ["bob"]
    told = site.declare({"name": "bob", "state": "disabled"})
    assert told["messages"] == ["bob: disabled, signed out everywhere, running servers stopped"]
    assert not bob.signed_in()
    assert site.api("GET", "user", token).status_code == 403
    assert site.api("POST", "users/bob/server", token).status_code == 403
    assert site.as_person(bob, "POST", "users/bob/server").status_code == 403
    assert site.sign_in("bob") is None
    assert Browser(site.hub).sign_up("bob", OTHER).status_code == 200
    assert site.sign_in("bob", OTHER) is None
    assert site.servers() == []
    assert site.declare({"name": "bob", "state": "disabled"})["changed"] is False
    # And back: the password is the old one, the old sessions stay ended.
    assert site.declare({"name": "bob"})["messages"] == ["bob: authorized"]
    assert not bob.signed_in()
    assert site.sign_in("bob") is not None


def test_a_disabled_name_that_nobody_has_stays_nobodys(site: Site) -> None:
    assert site.declare({"name": "mallory", "state": "disabled"})["changed"] is True
    assert shown(Browser(site.hub).sign_up("mallory", PASSWORD)) == "The user name mallory is taken. Choose another."
    assert site.sign_in("mallory") is None
    assert "mallory" not in site.users()


def test_an_account_that_waits_is_authorized_with_the_declared_password_alone(site: Site) -> None:
    for name in ("dave", "frank"):
        Browser(site.hub).sign_up(name, OTHER)
        site.hub.sql(f"UPDATE users_info SET is_authorized = 0 WHERE username = '{name}'")
        assert site.sign_in(name, OTHER) is None
    site.declare({"name": "dave"}, {"name": "frank", "password": PASSWORD})
    assert site.sign_in("dave", OTHER) is not None
    # Whoever was first to sign up as frank is not let in by the operator's word for frank.
    assert site.sign_in("frank", OTHER) is None
    assert site.sign_in("frank") is not None


def test_what_cannot_be_is_refused_whole(site: Site) -> None:
    before = site.everything()
    names = [{"name": "Bob"}, {"name": "bob"}, {"name": "a:b"}, {"name": "eve", "password": "é" * 37}]
    with pytest.raises(ModuleError) as refused:
        site.declare({"name": "new"}, *names, {"name": "admin", "state": "disabled"})
    said = str(refused.value)
    assert "'a:b' cannot be a user name. A user name cannot contain :" in said
    assert "bob is declared 2 times" in said
    assert "the password of eve: The password is too long" in said
    assert "admin is jupyterhub_admin_user" in said
    with pytest.raises(ModuleError, match="bob is declared absent but still exists; no user was changed"):
        site.declare({"name": "new"}, {"name": "bob", "state": "absent"})
    with pytest.raises(ModuleError, match="the hub does not know alcie; check the name"):
        site.declare({"name": "alcie"}, create=False)
    assert site.everything() == before


def test_a_restart_brings_no_rights_back(site: Site) -> None:
    before = site.users()
    site.hub.restart()
    assert site.users() == before
    alice = site.sign_in("alice")
    assert alice is not None
    assert not may_administer(site, alice)


def test_no_password_and_no_token_is_left_anywhere(site: Site) -> None:
    said = "".join(site.said) + site.hub.logs() + docker("inspect", site.hub.name).stdout
    assert PASSWORD not in said
    assert OTHER not in said
    notes = site.hub.sql("SELECT count(*) FROM api_tokens WHERE note = '" + accounts.TOKEN_NOTE + "'")
    assert notes == [[0]]


def test_a_hub_that_is_down_is_one_clear_error(site: Site) -> None:
    site.hub.stop()
    with pytest.raises(ModuleError, match=f"the hub container {site.hub.name} is not running; `docker logs"):
        site.declare(ALICE)
    told = site.declare(ALICE, check=True)
    assert told["changed"] is False


def test_the_other_version_does_the_same(newer_site: Site) -> None:
    test_declared_users_are_as_declared(newer_site)
    test_a_disabled_user_is_out_with_cookie_tokens_and_server(newer_site)
    test_demotion_really_demotes(newer_site)
    test_no_password_and_no_token_is_left_anywhere(newer_site)
