"""User names and the Docker names made from them: a change would separate users from their data."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_deploy_hub.names import docker_name, is_reserved, is_temporary, name_problem, normalise, skeleton

DOCKER_NAMES = {
    "alice": "alice",
    "alice2": "alice2",
    "alice.b@example.com": "alice-2eb-40example-2ecom",
    "alice_b": "alice-5fb",
    "alice-b": "alice-2db",
    "Alice": "-41lice",
    "großmann": "gro-c3-9fmann",
    "müller": "m-c3-bcller",
    "李": "-e6-9d-8e",
    "github:alice": "github-3aalice",
    "a+b": "a-2bb",
    "x" * 128: "x" * 128,
    "x" * 250: "x" * 93 + "---086d4a1c293bde318dc1fec9a21b9d82",
}


@pytest.mark.parametrize(("user", "expected"), DOCKER_NAMES.items())
def test_docker_names_never_change(user: str, expected: str) -> None:
    assert docker_name(user) == expected


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_docker_names_are_valid_short_and_unique(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,128}", docker_name(one))
    assert (docker_name(one) == docker_name(other)) == (one == other)


def test_long_names_that_differ_late_have_different_docker_names() -> None:
    assert docker_name("x" * 200 + "a") != docker_name("x" * 200 + "b")


@pytest.mark.parametrize("typed", ["admin", "ADMIN", " Admin ", "ａｄｍｉｎ", "ａＤmin\u3000"])
def test_one_name_has_one_spelling(typed: str) -> None:
    assert normalise(typed) == "admin"


def test_composed_and_decomposed_letters_are_one_name() -> None:
    assert normalise("Mu\u0308ller") == normalise("M\u00fcller") == "m\u00fcller"


@given(st.text())
def test_normalising_twice_changes_nothing(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)


@pytest.mark.parametrize("name", ["ádmin", "ad\u00admin", "adm\u200bin", "admin\u0301", "AdMiN", "𝐚dmin", "ad min"])
def test_what_looks_like_the_admin_is_reserved(name: str) -> None:
    assert is_reserved(name, {"admin"})


@pytest.mark.parametrize(
    "name", ["administrator", "admi", "alice", "аdmin"]
)  # the last one begins with a Cyrillic letter
def test_other_names_are_not_reserved(name: str) -> None:
    assert not is_reserved(name, {"admin"})


def test_a_skeleton_keeps_letters_of_every_script() -> None:
    assert skeleton("李Ω") == "李ω"


@pytest.mark.parametrize("name", ["alice", "alice.b@example.com", "müller", "李", "o'brien", "a+b", "x" * 128])
def test_good_names(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "enter a user name"),
        ("x" * 129, "at most 128"),
        ("a b", "spaces"),
        ("a\tb", "invisible"),
        ("adm\u200bin", "invisible"),
        ("github:alice", "cannot contain :"),
        ("a,b/c", "cannot contain , /"),
        ("a{b}", "cannot contain { }"),
        ("..", "dots"),
    ],
)
def test_bad_names_are_explained(name: str, message: str) -> None:
    assert message in (name_problem(name) or "")


def test_the_end_of_a_name_that_is_much_too_long_is_not_read() -> None:
    """Unicode's normal form of such a name takes a time that grows with the square of its length."""
    name = normalise("a" + "\u0301" * 2**18 + "\u0316" * 2**18)
    assert len(name) <= 1024
    assert "too long" in str(name_problem(name))


def test_names_of_temporary_users() -> None:
    assert [is_temporary(name) for name in ("rehearsal-1", "rehearsal-of-mine", "rehearsal")] == [True, False, False]
