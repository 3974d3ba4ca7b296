"""Which passwords are refused, and the messages."""

from __future__ import annotations

import pytest

from jupyterhub_deploy_hub.passwords import password_problem, too_long


def common(password: str) -> bool:
    return password in {"password123", "iloveyou99"}


@pytest.mark.parametrize("password", ["three unrelated words", "x7" * 36, "é" * 36, " spaces count "])
def test_good_passwords(password: str) -> None:
    assert password_problem(password, "alice", 8, common) is None


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("", "at least 8"),
        ("seven77", "at least 8"),
        ("x" * 73, "at most 72 bytes"),
        ("é" * 37, "at most 72 bytes"),
        ("with\0zero", "cannot be used"),
        ("password123", "most common"),
        ("Password123", "most common"),
        ("Alice.Smith", "differ from the user name"),
    ],
)
def test_bad_passwords_are_explained(password: str, message: str) -> None:
    assert message in (password_problem(password, "alice.smith", 8, common) or "")


def test_common_passwords_are_allowed_when_the_check_is_off() -> None:
    assert password_problem("password123", "alice", 8, None) is None


def test_an_empty_password_is_refused_even_with_no_minimum() -> None:
    assert "at least 1 " in (password_problem("", "alice", 0, None) or "")


def test_length_is_counted_in_bytes() -> None:
    assert too_long("é" * 37)
    assert not too_long("é" * 36)
