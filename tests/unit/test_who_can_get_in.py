"""Each row of the table in docs/explanation/who-can-get-in.md is kept by a test on a real hub."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/explanation/who-can-get-in.md"

# Row of the table -> the test that fails when it is not true any more.
TESTS = {
    "`jupyterhub_native_signup: open` (default)": "test_signin.py::test_sign_up_sign_in_and_out",
    "`jupyterhub_native_signup: approval`": "test_signin.py::test_approval",
    "`jupyterhub_native_signup: closed`": "test_signin.py::test_closed",
    "`jupyterhub_admin_user`": "test_signin.py::test_nobody_can_sign_up_as_the_admin",
    "`jupyterhub_users`, with `password`": "test_users.py::test_declared_users_are_as_declared",
    "`jupyterhub_users`, without `password`": "test_users.py::test_nobody_signs_up_under_a_declared_name",
    "`jupyterhub_users`, `state: present` for an account that waits": (
        "test_users.py::test_an_account_that_waits_is_authorized_with_the_declared_password_alone"
    ),
    "`jupyterhub_users`, `state: disabled`": (
        "test_users.py::test_a_disabled_user_is_out_with_cookie_tokens_and_server"
    ),
    "`jupyterhub_users`, `admin: true`": "test_users.py::test_declared_users_are_as_declared",
    "`jupyterhub_users`, without `admin`": "test_users.py::test_demotion_really_demotes",
    "not in `jupyterhub_users`": "test_users.py::test_groups_are_what_is_declared",
    "`jupyterhub_undeclared_admins: demote`": (
        "test_users.py::test_administrators_that_nobody_declares_are_named_and_demoted_only_when_told"
    ),
    "`jupyterhub_github_allowed_users`, `jupyterhub_gitlab_allowed_users`": (
        "test_oauth.py::test_a_joined_person_has_the_name_here"
    ),
    "`jupyterhub_github_allowed_organizations`": "test_oauth.py::test_who_is_not_allowed_stays_out",
    "`jupyterhub_gitlab_allowed_groups`": "test_oauth.py::test_who_is_not_allowed_stays_out",
    "`jupyterhub_gitlab_allowed_projects`": "test_oauth.py::test_an_admin_of_github_is_an_admin_there_only",
    "`jupyterhub_github_admin_users`, `jupyterhub_gitlab_admin_users`": (
        "test_oauth.py::test_an_admin_of_github_is_an_admin_there_only"
    ),
    "`jupyterhub_github_allow_all`, `jupyterhub_gitlab_allow_all`": (
        "test_oauth.py::test_everybody_may_come_in_when_told"
    ),
    "`jupyterhub_github_users`, `jupyterhub_gitlab_users`": "test_oauth.py::test_a_joined_person_has_the_name_here",
    "several in `jupyterhub_authenticators`": "test_oauth.py::test_equal_names_are_different_users",
    "a new password": "test_users.py::test_a_password_is_set_once_or_always_as_declared",
    "disabling or unauthorizing": "test_users.py::test_a_disabled_user_is_out_with_cookie_tokens_and_server",
    "no administrator any more": "test_users.py::test_demotion_really_demotes",
}


def test_every_row_has_its_test() -> None:
    rows = re.findall(r"^\| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row for row in rows if row not in ("---", "setting", "what")] == list(TESTS)


def test_the_tests_exist() -> None:
    for place in TESTS.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / "tests/integration" / file).read_text(encoding="utf-8"), place
