"""The isolation as an operator reads it."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.hub import isolation


def test_an_isolated_hub() -> None:
    reached = {"the host": False, "another server": False}
    assert isolation.messages("lab-guard", "full", True, reached) == [
        "isolation: full; blocked for a new server: the host, another server"
    ]


def test_what_is_reached_is_named() -> None:
    reached = {"the host": True, "another server": False}
    assert isolation.messages("lab-guard", "full", True, reached) == [
        "isolation: full; blocked for a new server: another server",
        "NOT ISOLATED: a new server reaches the host; run make site, then read `docker logs lab-guard`",
    ]


def test_a_guard_without_rules() -> None:
    assert isolation.messages("lab-guard", "peers", False, {}) == [
        "isolation: peers",
        "NOT GUARDED: lab-guard does not keep the rules of the isolation; run make site",
    ]
