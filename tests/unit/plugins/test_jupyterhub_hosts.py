"""Two hosts that cannot both be on their machine are found before a run."""

from __future__ import annotations

from typing import Any

import pytest

from jupyterhub_hosts import conflict

HERE: dict[str, Any] = {"ansible_connection": "local"}
THERE: dict[str, Any] = {"ansible_host": "hub.example.com"}
LAB = {"jupyterhub_name": "lab", "jupyterhub_port": 8001}
HTTPS = {"jupyterhub_https": "own", "jupyterhub_domain": "hub.example.com"}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            HERE,
            {**HERE, "jupyterhub_port": 8003},
            "are the same hub, jupyterhub, on the same machine, the one that",
        ),
        ({**THERE, **LAB}, {**THERE, **LAB}, "are the same hub, lab, on the same machine, hub.example.com."),
        (HERE, {**HERE, "jupyterhub_name": "lab"}, "both have jupyterhub_port 8000 on the same machine, the one that"),
        (
            {**HERE, **HTTPS},
            {**HERE, **HTTPS, **LAB},
            "both have jupyterhub_domain hub.example.com on the same machine, the one that runs Ansible. Give each hub "
            "its own, in host_vars/first.yml and host_vars/second.yml.",
        ),
    ],
    ids=["local", "remote", "port", "domain"],
)
def test_two_hosts_that_conflict_are_named(first: dict[str, Any], second: dict[str, Any], message: str) -> None:
    found = conflict({"first": first, "second": second})
    assert found
    assert found.startswith(f"Nothing was done, because first and second in the inventory {message}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (HERE, {**HERE, **LAB}),
        (THERE, {**THERE, "ansible_port": 2222}),
        (THERE, {"ansible_host": "other.example.com"}),
        (
            {"ansible_host": "{{ inventory_hostname }}"},
            {"ansible_host": "{{ inventory_hostname }}"},
        ),
        ({**HERE, **HTTPS}, {**HERE, "jupyterhub_name": "lab"}),
        ({**HERE, **HTTPS}, {**HERE, **HTTPS, **LAB, "jupyterhub_domain": "lab.example.com"}),
        ({**HERE, **HTTPS}, {**HERE, **HTTPS, **LAB, "jupyterhub_domain": "{{ domain }}"}),
        (
            {**HERE, "jupyterhub_bind_address": "192.0.2.1"},
            {**HERE, "jupyterhub_name": "lab", "jupyterhub_bind_address": "192.0.2.2"},
        ),
    ],
    ids=[
        "name and port",
        "SSH port",
        "machine",
        "templates",
        "HTTPS",
        "domains",
        "template",
        "addresses",
    ],
)
def test_other_hosts_are_not_refused(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert conflict({"first": first, "second": second}) is None
