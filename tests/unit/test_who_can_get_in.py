"""Each row of the table in docs/explanation/who-can-get-in.md has a test on a real hub."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/explanation/who-can-get-in.md"

# Row of the table -> the tests that fail when one of its columns is wrong.
TESTS = {
    "`jupyterhub_native_signup: open` (default)": [
        "hub_image/test_signin.py::test_sign_up_sign_in_and_out",
        "hub_image/test_signin.py::test_a_taken_name_is_taken",
        "users/test_sync.py::test_nobody_signs_up_under_a_declared_name",
        "hub_image/test_oauth.py::test_a_change_of_authenticators_gives_nobody_another_users_name",
    ],
    "`jupyterhub_native_signup: approval`": ["hub_image/test_signin.py::test_approval"],
    "`jupyterhub_native_signup: closed`": [
        "hub_image/test_signin.py::test_closed",
        "hub_image/test_signin.py::test_the_admin_adds_users_to_a_closed_hub",
    ],
    "`jupyterhub_admin_user`": [
        "hub_image/test_signin.py::test_nobody_can_sign_up_as_the_admin",
        "hub_image/test_signin.py::test_nobody_can_sign_up_as_the_admin_before_the_account_exists",
        "hub_image/test_signin.py::test_the_admin_is_an_admin_and_others_are_not",
    ],
    "`jupyterhub_users` with `password`": [
        "users/test_sync.py::test_declared_users_are_as_declared",
        "users/test_sync.py::test_a_password_is_set_once_or_always_as_declared",
    ],
    "`jupyterhub_users` without `password`": ["users/test_sync.py::test_nobody_signs_up_under_a_declared_name"],
    "`jupyterhub_users` with `state: present`, for a waiting account": [
        "users/test_sync.py::test_an_account_that_waits_is_authorized_with_the_declared_password"
    ],
    "`jupyterhub_users` with `state: disabled`": [
        "users/test_sync.py::test_a_disabled_user_is_out_with_cookie_tokens_and_server"
    ],
    "`jupyterhub_users` with `admin: true`": ["users/test_sync.py::test_declared_users_are_as_declared"],
    "`jupyterhub_users` without `admin`": ["users/test_sync.py::test_demotion_really_demotes"],
    "not in `jupyterhub_users`": ["users/test_sync.py::test_groups_are_what_is_declared"],
    "`jupyterhub_undeclared_admins: demote`": [
        "users/test_sync.py::test_undeclared_administrators_are_named_and_demoted_only_when_told"
    ],
    "`jupyterhub_github_allowed_users`, `jupyterhub_gitlab_allowed_users`": [
        "hub_image/test_who_can_get_in.py::test_a_row",
        "hub_image/test_oauth.py::test_a_change_of_authenticators_gives_nobody_another_users_name",
    ],
    "`jupyterhub_github_allowed_organizations`": ["hub_image/test_who_can_get_in.py::test_a_row"],
    "`jupyterhub_gitlab_allowed_groups`": ["hub_image/test_who_can_get_in.py::test_a_row"],
    "`jupyterhub_gitlab_allowed_projects`": ["hub_image/test_who_can_get_in.py::test_a_row"],
    "`jupyterhub_github_admin_users`, `jupyterhub_gitlab_admin_users`": [
        "hub_image/test_who_can_get_in.py::test_a_row",
        "hub_image/test_who_can_get_in.py::test_an_admin_removed_from_admin_users_is_named_and_demoted_when_told",
        "hub_image/test_oauth.py::test_an_admin_of_github_is_an_admin_there_only",
    ],
    "`jupyterhub_github_allow_all`, `jupyterhub_gitlab_allow_all`": ["hub_image/test_who_can_get_in.py::test_a_row"],
    "`jupyterhub_github_users`, `jupyterhub_gitlab_users`": [
        "hub_image/test_who_can_get_in.py::test_a_row",
        "hub_image/test_oauth.py::test_a_joined_user_has_the_name_of_the_hub",
    ],
    "one authenticator that is not native": [
        "hub_image/test_oauth.py::test_only_github_gives_plain_names",
        "hub_image/test_oauth.py::test_a_change_of_authenticators_gives_nobody_another_users_name",
    ],
    "several authenticators": [
        "hub_image/test_oauth.py::test_equal_names_are_different_users",
        "hub_image/test_signin_volumes.py::test_equal_names_have_separate_volumes",
    ],
    "new password": [
        "users/test_sync.py::test_a_password_is_set_once_or_always_as_declared",
        "hub_image/test_signin.py::test_a_new_password_ends_other_sessions_and_keeps_this_one",
    ],
    "disable or unauthorize": [
        "users/test_sync.py::test_a_disabled_user_is_out_with_cookie_tokens_and_server",
        "hub_image/test_signin.py::test_unauthorizing_ends_sessions_and_tokens",
        "hub_image/test_signin.py::test_unauthorizing_stops_the_server",
    ],
    "remove administrator rights": ["users/test_sync.py::test_demotion_really_demotes"],
    "delete the user": [
        "users/test_delete.py::test_a_deleted_user_is_archived_and_the_next_one_of_that_name_starts_empty",
        "hub_image/test_oauth.py::test_a_user_who_leaves_keeps_the_session_until_an_admin_deletes_the_user",
    ],
    "act at the hub in that person's name: create a token, start or stop servers; as an administrator, everything": [
        "../e2e/test_subdomains.py::test_without_subdomains_a_page_of_a_user_takes_over_who_opens_it",
        "../e2e/test_subdomains.py::test_with_subdomains_the_same_page_has_no_power",
    ],
    "read the hub's pages of that person": [
        "../e2e/test_subdomains.py::test_without_subdomains_a_page_of_a_user_takes_over_who_opens_it",
        "../e2e/test_subdomains.py::test_with_subdomains_the_same_page_has_no_power",
    ],
    "get the session of somebody who signed in by a link with the user's address": [
        "../e2e/test_subdomains.py::test_nobody_can_sign_in_on_a_users_origin",
    ],
    "sign somebody in as another user (with native sign-in), by a form or by the hub's login cookie": [
        "front/test_front.py::test_a_form_of_another_site_signs_nobody_in",
        "../e2e/test_subdomains.py::test_cookies_that_a_users_page_sets_do_not_reach_the_hub",
    ],
}


HEADERS = ("---", "setting", "action", "what a user's page could do to anyone who opens it")


def test_every_row_has_its_test() -> None:
    rows = re.findall(r"^\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row for row in rows if row not in HEADERS] == list(TESTS)


def test_the_tests_exist() -> None:
    for place in [place for places in TESTS.values() for place in places]:
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / "tests/integration" / file).read_text(encoding="utf-8"), place
