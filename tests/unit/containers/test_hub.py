"""Administrators without an account: from the output of the check of the configuration to the warning."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import hub
from ansible.module_utils.jupyterhub_deploy.update import hub as update_hub


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('{"without_account": ["alice"]}', ["alice"]),
        ('printed by the configuration\n{"without_account": ["alice", "bob"]}', ["alice", "bob"]),
        ("", []),
        ("[1]", []),
        ('{"changed": true}', []),
        ("printed by the configuration", []),
    ],
)
def test_only_the_line_of_the_check_counts(output: str, expected: list[str]) -> None:
    assert hub.without_account(output) == expected


def test_administrators_who_get_no_account_are_named_with_the_remedy() -> None:
    (warning,) = update_hub.without_account(["bob", "alice", "carol"], ["Carol "])
    assert warning.startswith(
        "administrators in the hub's configuration have no account: alice, bob. Nobody can sign up with"
    )
    assert "add them to jupyterhub_users with admin: true and a password" in warning
    assert update_hub.without_account(["carol"], ["carol"]) == []
    assert update_hub.without_account([], []) == []
