"""Rows of the table in docs/explanation/who-can-get-in.md about GitHub and GitLab: each setting, on a real hub.

Users that a setting names can sign in; similar ones cannot, and get no server. test_signin.py and users/test_sync.py
have the rows about native accounts; tests/unit/test_who_can_get_in.py lists the test of each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import jupyterhub_user
import jupyterhub_users
from support.modules import ModuleError, run
from support.oauth_hub import Visitor, configure, hub_of, provider_of
from support.oauth_provider import OAuthProvider
from support.signin_hub import HubContainer, shown

PASSWORD = "three unrelated words"


class Row(NamedTuple):
    """Settings, and who can sign in: name at the provider to name at the hub."""

    github: dict[str, Any]
    gitlab: dict[str, Any]
    github_in: dict[str, str]
    gitlab_in: dict[str, str]
    github_out: list[str]
    gitlab_out: list[str]
    admins: tuple[str, ...] = ()


ROWS = {
    "allowed_users": Row(
        {"allowed_users": ["Bob"]}, {"allowed_users": ["Alice"]},
        {"bob": "github:bob"}, {"alice": "gitlab:alice"}, ["alice", "frida"], ["bob", "frida"],
    ),
    "organisation, group": Row(
        {"allowed_organizations": ["course"]}, {"allowed_groups": ["faculty"]},
        {"alice": "github:alice"}, {"frida": "gitlab:frida"}, ["bob", "frida"], ["bob", "alice"],
    ),
    "team, subgroup": Row(
        {"allowed_organizations": ["staff:teachers"]}, {"allowed_groups": ["faculty/lab"]},
        {"alice": "github:alice"}, {"alice": "gitlab:alice", "frida": "gitlab:frida"}, ["admin", "frida"], ["bob"],
    ),
    "admin_users, project": Row(
        {"admin_users": ["Alice"]}, {"allowed_projects": [77]},
        {"alice": "github:alice"}, {"carol": "gitlab:carol"}, ["bob", "admin"], ["dave", "bob", "alice"],
        admins=("github:alice",),
    ),
    "all, admin_users": Row(
        {"allow_all": True}, {"admin_users": ["Bob"]},
        {"bob": "github:bob", "dave": "github:dave"}, {"bob": "gitlab:bob"}, [], ["alice", "admin"],
        admins=("gitlab:bob",),
    ),
    "users, all": Row(
        {"users": {"Bob": "robert"}, "allowed_users": ["bob"]}, {"users": {"Bob": "rob"}, "allow_all": True},
        {"bob": "robert"}, {"bob": "rob", "alice": "gitlab:alice"}, ["robert", "alice"], [],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def provider() -> Iterator[OAuthProvider]:
    made = provider_of()
    made.people["robert"] = made.people["bob"]  # an account with the name that bob has at the hub
    yield made
    made.stop()


def settings_of(row: Row) -> dict[str, Any]:
    github = {f"github_{key}": value for key, value in row.github.items()}
    return {**github, **{f"gitlab_{key}": value for key, value in row.gitlab.items()}}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row(hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path, row: Row) -> None:
    hub = hub_of(
        hub_image("5.5.4"), tmp_path, provider, authenticators=["native", "github", "gitlab"], **settings_of(row)
    )
    try:
        provider.callback = hub.start().url
        for way, people in (("github", row.github_in), ("gitlab", row.gitlab_in)):
            for there, here in people.items():
                can_sign_in(hub, way, there, here, here in row.admins)
        for way, names in (("github", row.github_out), ("gitlab", row.gitlab_out)):
            for there in names:
                cannot_sign_in(hub, way, there)
        for joined in {**row.github.get("users", {}), **row.gitlab.get("users", {})}.values():
            assert "is taken" in shown(Visitor(hub).sign_up(joined, PASSWORD))
    finally:
        hub.remove()


def can_sign_in(hub: HubContainer, way: str, there: str, here: str, is_admin: bool) -> None:
    person = Visitor(hub)
    assert person.by(f"{way}/", there).status_code == 302, (way, there)
    assert person.name() == here
    assert (person.get("admin").status_code == 200) == is_admin
    assert person.api("POST", f"users/{here}/server").status_code == 201
    assert person.api("DELETE", f"users/{here}/server").status_code in (202, 204)


def cannot_sign_in(hub: HubContainer, way: str, there: str) -> None:
    person, here = Visitor(hub), f"{way}:{there}"
    answer = person.by(f"{way}/", there)
    assert answer.status_code == 403, (way, there)
    assert "knows you, but this hub does not let you in" in answer.text
    assert hub.logged(f"'{here}' not allowed")
    assert person.name() == ""
    person.get("login")
    assert person.api("POST", f"users/{here}/server").status_code == 403
    assert hub.sql(f"SELECT count(*) FROM users WHERE name = '{here}'") == [[0]]


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param(["github"], id="github"),
        pytest.param(["native", "github"], id="native+github"),
        pytest.param(["github", "gitlab"], id="github+gitlab", marks=pytest.mark.long),
    ],
)
def test_an_admin_removed_from_admin_users_is_named_and_demoted_when_told(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path, ways: list[str]
) -> None:
    """With and without native accounts, and so with and without the deployment's own admin."""
    settings: dict[str, Any] = {"authenticators": ways, "gitlab_allowed_users": ["dave"], "auth_state": True}
    hub = hub_of(hub_image("5.5.4"), tmp_path, provider, github_admin_users=["alice", "carol"], **settings)
    multi = len(ways) > 1
    carol, prefix = Visitor(hub), "github:" if multi else ""

    def module(**options: Any) -> dict[str, Any]:
        token_file = str(tmp_path / "secrets" / "api_token")
        native = "native" in ways
        return run(jupyterhub_users, name=hub.name, token_file=token_file, users=[], native=native, **options)

    try:
        provider.callback = hub.start().url
        page = carol.get("login?next=%2Fhub%2Ftoken").text
        assert ('name="password"' in page) == ("native" in ways)
        for way, label in (("github", "GitHub"), ("gitlab", "GitLab")) if multi else ():
            button = rf'href="/hub/{way}/oauth_login\?next=%2Fhub%2Ftoken">Sign in with {label}</a>'
            assert bool(re.search(button, page)) == (way in ways)
        assert carol.by("github/" if multi else "", "carol").status_code == 302
        assert carol.get("admin").status_code == 200
        if "native" in ways:
            # A native administrator with the name of GitHub's alice is undeclared.
            hub.sql("INSERT INTO users (name, admin, cookie_id) VALUES ('alice', 1, 'x')")
        configure(
            tmp_path, provider, public_url=f"http://{hub.address}/", github_admin_users=["alice"],
            github_allowed_users=["carol"], **settings,
        )  # fmt: skip
        hub.restart()
        expected = ["alice"] * ("native" in ways) + [f"{prefix}carol"]
        assert module()["undeclared_admins"] == expected
        assert carol.get("admin").status_code == 200, "keep demoted an administrator"
        result = module(undeclared_admins="demote")
        assert result["messages"] == [
            f"{name}: administrator rights removed, because not declared" for name in expected
        ]
        assert carol.signed_in()
        assert carol.get("admin").status_code == 403
        assert module(undeclared_admins="demote")["changed"] is False
        assert hub.sql("SELECT count(*) FROM api_tokens WHERE note LIKE 'jupyterhub_users%'") == [[0]]
    finally:
        hub.remove()


def test_users_of_a_provider_can_be_declared(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    """Groups and administrators can be declared, but not accounts, whose passwords would be a second way in."""
    hub = hub_of(
        hub_image("5.5.4"), tmp_path, provider, authenticators=["native", "github"], github_allowed_users=["alice"],
        github_admin_users=["carol"], github_users={"octocat": "olga"},
    )  # fmt: skip

    def declare(*users: dict[str, Any], **options: Any) -> dict[str, Any]:
        token_file = str(tmp_path / "secrets" / "api_token")
        return run(jupyterhub_users, name=hub.name, token_file=token_file, users=list(users), **options)

    alice = {"name": "github:Alice", "groups": ["course"], "admin": True}
    olga = {"name": "olga", "groups": ["course"]}
    try:
        provider.callback = hub.start().url
        result = declare(alice, olga)
        assert result["messages"] == [
            "github:alice: added to the hub, made an administrator, joined group course",
            "olga: added to the hub, joined group course",
        ]
        assert declare(alice, olga)["changed"] is False
        assert hub.sql("SELECT username FROM users_info ORDER BY 1") == [["admin"]]
        person = Visitor(hub)
        assert person.by("github/", "alice").status_code == 302
        assert person.get("admin").status_code == 200
        assert person.api("GET", "users/github:alice").json()["groups"] == ["course"]
        result = declare({**alice, "admin": False, "groups": []})
        assert result["messages"] == ["github:alice: administrator rights removed, left group course"]
        assert person.get("admin").status_code == 403
        for refused, message in (
            ({"name": "github:alice", "state": "disabled"}, "github:alice: only native accounts have passwords"),
            ({"name": "olga", "password": PASSWORD}, "olga: only native accounts have passwords"),
            ({"name": "github:carol", "admin": False}, "admin_users in the settings of an authenticator makes"),
            ({"name": "other:bob"}, "'other:bob' cannot be a user name"),
            ({"name": "github:a b"}, "'github:a b' cannot be a user name"),
        ):
            with pytest.raises(ModuleError, match=message):
                declare(refused)
        gone = run(
            jupyterhub_user, name=hub.name, user="github:alice", state="absent", directory=str(tmp_path / "backups"),
            token_file=str(tmp_path / "secrets" / "api_token"),
        )  # fmt: skip
        assert gone["messages"] == ["user github:alice was deleted, with no volumes"]
        assert not person.signed_in()
    finally:
        hub.remove()
