"""A user's volume has the name that the hub gives it."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.docker import user_volumes
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_deploy_hub import names


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=140))
def test_the_rule_is_that_of_the_hub(user: str) -> None:
    assert user_volumes.docker_name(user) == names.docker_name(user)


def test_a_long_name_is_shortened_as_by_the_hub() -> None:
    for user in ("a" * 128, "a" * 129, "ü" * 128, "-" * 60):
        assert user_volumes.docker_name(user) == names.docker_name(user)


def test_names() -> None:
    assert user_volumes.volume_name("jupyterhub", "alice") == "jupyterhub-user-alice"
    assert user_volumes.volume_name("lab", "github:alice") == "lab-user-github-3aalice"


def test_a_label_says_whose_a_volume_is_and_without_one_its_name() -> None:
    assert user_volumes.is_of("alice", "lab", "any-name", "alice")
    assert user_volumes.is_of("a.b", "lab", "lab-user-a-2eb", None)
    assert not user_volumes.is_of("alice", "lab", "lab-user-alice", "bob")
    assert not user_volumes.is_of("alice", "lab", "course-user-alice", None)
    assert not user_volumes.is_of("alice", "lab", None, None)  # the hub's own state
