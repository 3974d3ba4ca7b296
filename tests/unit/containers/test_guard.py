"""The specification of the guard's container, and the module without Docker."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import guard
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer, GuardOptions

import jupyterhub_guard
from support.modules import ModuleError, run

OPTIONS = GuardOptions("lab", "front:1", "full", "lab-network", [443, 80, 80], ["10.0.0.0/8"], [], 60)


def test_a_guard_has_one_capability_and_the_network_of_the_host() -> None:
    spec = guard.wanted_spec(OPTIONS, "sha256:1")
    assert spec["networks"] == ["host"]
    assert (spec["hardening"]["cap_drop"], spec["hardening"]["cap_add"]) == (["ALL"], ["NET_ADMIN"])
    assert spec["hardening"]["read_only"]
    assert all(mount.endswith(":ro") for mount in spec["mounts"])
    assert spec["environment"]["GUARD_PORTS"] == "80,443"


@pytest.mark.parametrize(
    ("urls", "hosts"),
    [
        (["http://proxy.example.com:3128", "http://proxy.example.com:3128/"], ["proxy.example.com:3128"]),
        (["https://user:pass@mirror.example.com/simple"], ["mirror.example.com:443"]),
        (["http://[fd00::1]/simple"], ["[fd00::1]:80"]),
        (["", "localhost,10.0.0.1", "1", "http://[::1", "http://a:99999", "ftp://a"], []),
    ],
)
def test_hosts_of_urls(urls: list[str], hosts: list[str]) -> None:
    spec = guard.wanted_spec(dataclasses.replace(OPTIONS, allowed_urls=urls), None)
    assert spec["environment"]["GUARD_HOSTS"] == ",".join(hosts)
    assert "pass" not in str(spec)


def test_without_docker_check_mode_says_what_would_be() -> None:
    arguments: dict[str, Any] = {"name": "lab", "network": "lab-network", "image": "front:1"}
    result = run(jupyterhub_guard, check=True, **arguments)
    assert (result["changed"], result["action"]) == (True, "create")
    none = run(jupyterhub_guard, check=True, isolation="none", **arguments)
    assert (none["changed"], none["action"]) == (False, "none")
    with pytest.raises(ModuleError, match="Docker does not answer"):
        run(jupyterhub_guard, **arguments)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the containers that probe; each reaches the host."""
    names: list[str] = []

    def run_once(self: GuardContainer, name: str, *_: object) -> tuple[int, str]:
        names.append(name)
        return 0, json.dumps({"the host": True})

    monkeypatch.setattr(GuardContainer, "_run_once", run_once)
    monkeypatch.setattr(GuardContainer, "observe", lambda self: {"Image": "sha256:1"})
    return names


def test_probes_of_several_runs_have_names_of_their_own(probes: list[str]) -> None:
    for _ in range(2):
        client = Mock(containers=lambda **_: [])
        assert GuardContainer(client, "lab", 0).reached("lab-network", {"the host": ("198.18.4.1", 9)})["the host"]
    assert len(set(probes)) == 2
    assert all(name.startswith("lab-guard-probe-") for name in probes)


def test_a_probe_of_a_run_that_was_killed_is_removed(probes: list[str]) -> None:
    now = int(time.time())
    ages = {"lab-guard-probe-old": 3600, "lab-guard-probe-new": 30, "lab-guard": 3600, "lab-jupyter-alice": 3600}
    found = [{"Id": name, "Names": [f"/{name}"], "Created": now - age} for name, age in ages.items()]
    client = Mock(containers=lambda **_: found)
    GuardContainer(client, "lab", 0).reached("lab-network", {})
    assert [call.args[0] for call in client.remove_container.call_args_list] == ["lab-guard-probe-old"]
