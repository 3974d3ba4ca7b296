"""Authenticators as an operator writes them: the hub's settings, and errors in preflight with their remedies."""

from __future__ import annotations

import json
from typing import Any

import pytest

import jupyterhub_signin

EMPTY: dict[str, Any] = {
    "authenticators": ["native"],
    "public_url": "https://hub.example.com/",
    "users": [],
    "extra_config": "",
    "hub_extra_requirements": [],
    "hub_image": "",
}
for provider, lists in {"github": ["allowed_organizations"], "gitlab": ["allowed_groups", "allowed_projects"]}.items():
    EMPTY |= {f"{provider}_{key}": "" for key in ("client_id", "client_secret", "url")}
    EMPTY |= {f"{provider}_{key}": [] for key in ("allowed_users", "admin_users", *lists)}
    EMPTY |= {f"{provider}_allow_all": False, f"{provider}_users": {}}
GITHUB = {
    **EMPTY, "authenticators": ["github"], "github_client_id": "id", "github_client_secret": "s3cret",
    "github_allowed_organizations": ["course"], "github_admin_users": ["Alice"],
}  # fmt: skip
BOTH = {
    **GITHUB, "authenticators": ["native", "github", "gitlab"], "gitlab_client_id": "id",
    "gitlab_client_secret": "s4cret",
    "gitlab_allowed_groups": ["faculty/lab"], "gitlab_url": "https://gitlab.example.com/",
}  # fmt: skip
OTHER = {
    "name": "lab",
    "class": "ldapauthenticator.LDAPAuthenticator",
    "traits": {"server_address": "ldap.example.com"},
}


@pytest.mark.parametrize(
    "settings",
    [
        EMPTY,
        GITHUB,
        BOTH,
        {**EMPTY, "authenticators": ["native", OTHER]},
        {**GITHUB, "users": [{"name": "alice", "groups": ["course"]}]},
        {
            **GITHUB,
            "github_admin_users": [],
            "authenticators": ["github", {**OTHER, "traits": {"admin_users": ["bob"]}}],
        },
        {
            **EMPTY,
            "authenticators": [{**OTHER, "class": "google", "traits": {"admin_google_groups": {"a.org": ["b"]}}}],
        },
        {**EMPTY, "authenticators": [{**OTHER, "class": "course_authenticator.Course"}]},
        {**EMPTY, "authenticators": [OTHER], "extra_config": "c.LDAPAuthenticator.admin_users = {'alice'}"},
    ],
)
def test_good_settings_have_no_problem(settings):
    assert jupyterhub_signin.problems(settings) == []


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (EMPTY, {"authenticators": []}, "authenticators is empty; use a list such as [native]"),
        (EMPTY, {"authenticators": [["native"]]}, "authenticators has ['native'], which is not known; use native, "),
        (
            EMPTY,
            {"authenticators": ["githb"]},
            "authenticators has 'githb', which is not known; use native, ",
        ),
        (EMPTY, {"authenticators": ["native", "native"]}, "authenticators has native twice; give each its own name"),
        (
            GITHUB,
            {"github_client_id": ""},
            "github_client_id is empty; docs/how-to/sign-in-github.md explains where",
        ),
        (GITHUB, {"github_client_secret": ""}, "github_client_secret is empty; docs/how-to/sign-in-github.md explains"),
        (
            GITHUB,
            {"github_allowed_organizations": ["staff/teachers"]},
            "github_allowed_organizations has 'staff/teachers'; write an organisation as its address has it",
        ),
        (GITHUB, {"github_admin_users": ["alice@example.com x"]}, "write names as they are at GitHub"),
        (BOTH, {"gitlab_allowed_groups": ["https://gitlab.example.com/lab"]}, "write a group as its path (faculty)"),
        (BOTH, {"gitlab_allowed_groups": ["/lab"]}, "gitlab_allowed_groups has '/lab'; write a group as its path"),
        (GITHUB, {"public_url": ""}, "public_url is empty, but GitHub needs it"),
        (
            GITHUB,
            {"github_allowed_organizations": [], "github_admin_users": []},
            "nobody can sign in with it: set jupyterhub_github_allowed_users, jupyterhub_github_allowed_organizations",
        ),
        (GITHUB, {"github_users": {0o123: "alice"}}, "github_users has 83: 'alice'; write two names, in quotes"),
        (GITHUB, {"github_users": {"octocat": 20261234}}, "github_users has 'octocat': 20261234; write two names"),
        (GITHUB, {"github_users": {"octocat": ""}}, "github_users has 'octocat': ''; write two names"),
        (GITHUB, {"authenticators": [{**OTHER, "users": {"a": None}}]}, "users of "),
        (GITHUB, {"github_admin_users": []}, "there would not be an administrator; set jupyterhub_github_admin_users"),
        (EMPTY, {"authenticators": [OTHER]}, "would not be an administrator; set admin_users in the traits of lab"),
        (
            EMPTY,
            {"authenticators": [{**OTHER, "class": "Generic-OAuth", "traits": {"admin_users": []}}]},
            "would not be an administrator; set admin_users in the traits of lab",
        ),
        (
            GITHUB,
            {"github_admin_users": [], "authenticators": ["github", {**OTHER, "traits": None}]},
            "would not be an administrator; set jupyterhub_github_admin_users",
        ),
        (
            GITHUB,
            {"users": [{"name": "bob", "state": "disabled"}]},
            "users: bob has a password or is disabled, but authenticators lacks native; set who can sign in by",
        ),
        (GITHUB, {"users": [{"name": "bob", "password": "x"}]}, "users: bob has a password or is disabled"),
        (BOTH, {"gitlab_allowed_groups": []}, "authenticators has gitlab, but nobody can sign in with it"),
        (EMPTY, {"authenticators": [{**OTHER, "name": "Lab!"}]}, "has an entry with the name 'Lab!'"),
        (EMPTY, {"authenticators": [{**OTHER, "name": "admin"}]}, "has an entry with the name 'admin'"),
        (EMPTY, {"authenticators": [{"name": "lab"}]}, "lab lacks class"),
        (EMPTY, {"authenticators": [{**OTHER, "clas": 1}]}, "lab has clas, which is not known"),
        (EMPTY, {"authenticators": [{**OTHER, "traits": ["x"]}]}, "traits of lab must be a dictionary"),
        (EMPTY, {"authenticators": [{**OTHER, "label": 5}]}, "label of lab must be a string; put it in quotes"),
        (EMPTY, {"authenticators": [{**OTHER, "secrets": {"a": ""}}]}, "the secret a of lab is empty"),
        (
            EMPTY,
            {"authenticators": [{**OTHER, "secrets": {"a": 123456}}]},
            "the secret a of lab is not a string; put it in",
        ),
        (EMPTY, {"authenticators": [{**OTHER, "traits": {"client_secret": "x"}}]}, "move it from traits to secrets"),
        (EMPTY, {"authenticators": ["native", {**OTHER, "prefix": ""}]}, "one user could get the files of another"),
        (EMPTY, {"authenticators": ["native", {**OTHER, "prefix": "x-"}]}, "the prefix 'x-' must end with a colon"),
        (EMPTY, {"hub_extra_requirements": ["a>=1"]}, "hub_extra_requirements has 'a>=1'; pin each package"),
        (EMPTY, {"hub_extra_requirements": ["a==1; rm"]}, "hub_extra_requirements has 'a==1; rm'; pin each package"),
        (EMPTY, {"hub_extra_requirements": ["-r /srv/list.txt"]}, "has '-r /srv/list.txt'; pin each package"),
        (
            EMPTY,
            {"images_hub_extra_requirements": ["a"], "hub_extra_requirements": ["b==1"]},
            "images_hub_extra_requirements has 'a'; pin each package, as in example-package==1.2.3",
        ),
        (
            EMPTY,
            {"images_front_extra_requirements": ["--requirement=list.txt"]},
            "images_front_extra_requirements has '--requirement=list.txt'; pin each package",
        ),
        (EMPTY, {"hub_extra_requirements": ["a==1"], "hub_image": "x"}, "has no effect on jupyterhub_hub_image"),
    ],
)
def test_a_bad_setting_has_a_remedy(settings, changes, message):
    found = jupyterhub_signin.problems({**settings, **changes})
    assert any(message in problem for problem in found), found


def test_a_package_that_one_setting_has_from_another_is_named_once():
    same = {"hub_extra_requirements": ["a"], "images_hub_extra_requirements": ["a"]}
    assert len(jupyterhub_signin.problems({**EMPTY, **same})) == 1


def test_a_setting_that_is_missing_leads_to_no_other_problem():
    """Its type is wrong, which another message says."""
    for settings in (EMPTY, BOTH):
        for name in settings:
            assert jupyterhub_signin.problems({key: settings[key] for key in settings if key != name}) == []


def test_no_secret_is_in_the_hubs_configuration_or_a_message():
    shown = json.dumps([jupyterhub_signin.entries(BOTH), jupyterhub_signin.problems({**BOTH, "public_url": ""})])
    assert "s3cret" not in shown
    assert "s4cret" not in shown
    secrets = {"github": {"client_secret": "s3cret"}, "gitlab": {"client_secret": "s4cret"}}
    assert jupyterhub_signin.secret_values(BOTH) == secrets
    assert jupyterhub_signin.secret_values(EMPTY) == {}


def test_github_gets_the_scope_for_memberships_only_where_they_are_needed():
    github = jupyterhub_signin.entries(GITHUB)[0]
    assert github["traits"]["scope"] == ["read:org"]
    without = jupyterhub_signin.entries({**GITHUB, "github_allowed_organizations": []})[0]
    assert without["traits"]["scope"] == []
    assert "github_url" not in without["traits"], "the class knows its own"


def test_names_have_the_hubs_spelling():
    assert jupyterhub_signin.entries(GITHUB)[0]["traits"]["admin_users"] == ["alice"]


def test_a_self_hosted_gitlab():
    gitlab = jupyterhub_signin.entries(BOTH)[2]
    assert gitlab["traits"]["gitlab_url"] == "https://gitlab.example.com"
    assert gitlab["traits"]["allowed_gitlab_groups"] == ["faculty/lab"]
    assert gitlab["traits"]["scope"] == ["read_api"]
    assert gitlab["prefix"] == "gitlab:"


def test_another_authenticator_is_passed_on_without_its_secrets():
    way = {**OTHER, "label": "the lab", "users": {"a": "b"}, "secrets": {"lookup_dn_search_password": "s3cret"}}
    settings = {**EMPTY, "authenticators": ["native", way]}
    assert jupyterhub_signin.entries(settings) == [
        "native",
        {
            "name": "lab",
            "class": "ldapauthenticator.LDAPAuthenticator",
            "label": "the lab",
            "prefix": "lab:",
            "users": {"a": "b"},
            "traits": {"server_address": "ldap.example.com"},
        },
    ]
    assert jupyterhub_signin.secret_values(settings) == {"lab": {"lookup_dn_search_password": "s3cret"}}
