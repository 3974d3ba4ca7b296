"""Users in the hub's configuration, with one authenticator and with several (the rest runs in the hub image)."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from jupyterhub_deploy_hub.signin import administrators, provider_prefix


class Config(dict[str, Any]):
    """The part of a traitlets Config that these functions use."""

    __getattr__ = dict.__getitem__


class Native:
    prefix = ""
    users: ClassVar[dict[str, str]] = {}


class GitHub:
    prefix = "github:"
    users: ClassVar[dict[str, str]] = {"octocat": "olga"}


MULTI = Config(
    HubMulti=Config(
        authenticators=[{"authenticator_class": Native}, {"authenticator_class": GitHub}],
        admin_users={"admin", "github:carol"},
    ),
    Native=Config(admin_users={"admin", "erin"}),
    GitHub=Config(admin_users={"carol", "octocat"}),
    JupyterHub=Config(port=1),
)


def test_administrators_of_one_authenticator_are_those_of_all_sections() -> None:
    assert administrators(Config(Authenticator=Config(admin_users=["admin", "erin"]), Spawner=Config())) == {
        "admin",
        "erin",
    }


def test_administrators_of_several_authenticators_have_their_names_at_the_hub() -> None:
    """GitHub's carol is not the native user carol."""
    assert administrators(MULTI) == {"admin", "erin", "github:carol", "olga"}


@pytest.mark.parametrize(
    ("name", "prefix"), [("alice", None), ("github:alice", "github:"), ("olga", ""), ("gitlab:alice", None)]
)
def test_users_of_a_provider_have_its_prefix(name: str, prefix: str | None) -> None:
    assert provider_prefix(MULTI, name) == prefix
    assert provider_prefix(Config(), name) is None
