"""Whom the hub's configuration names, of one way to sign in and of several (the rest runs in the hub image)."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from jupyterhub_deploy_hub.signin import administrators, provider_prefix


class Config(dict[str, Any]):
    """As much of a traitlets Config as these functions use."""

    __getattr__ = dict.__getitem__


class Native:
    prefix = ""
    users: ClassVar[dict[str, str]] = {}


class GitHub:
    prefix = "github:"
    users: ClassVar[dict[str, str]] = {"octocat": "olga"}


SEVERAL = Config(
    HubMulti=Config(
        authenticators=[{"authenticator_class": Native}, {"authenticator_class": GitHub}],
        admin_users={"admin", "github:carol"},
    ),
    Native=Config(admin_users={"admin", "erin"}),
    GitHub=Config(admin_users={"carol", "octocat"}),
    JupyterHub=Config(port=1),
)


def test_administrators_of_one_way_are_whom_any_section_names() -> None:
    assert administrators(Config(Authenticator=Config(admin_users=["admin", "erin"]), Spawner=Config())) == {
        "admin",
        "erin",
    }


def test_administrators_of_several_ways_have_the_names_that_they_have_here() -> None:
    """carol of GitHub is nobody's namesake."""
    assert administrators(SEVERAL) == {"admin", "erin", "github:carol", "olga"}


@pytest.mark.parametrize(
    ("name", "prefix"), [("alice", None), ("github:alice", "github:"), ("olga", ""), ("gitlab:alice", None)]
)
def test_who_comes_by_another_way(name: str, prefix: str | None) -> None:
    assert provider_prefix(SEVERAL, name) == prefix
    assert provider_prefix(Config(), name) is None
