"""Networks, volumes and secrets of a hub: created when missing, kept otherwise, and never another hub's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import cgroup, daemon_info
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.hub import resources, secrets

import jupyterhub_resources
from support.modules import ModuleError, run


class Docker:
    """A fake Docker client with networks and volumes by name."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None
        self.running: list[dict[str, Any]] = []

    def info(self) -> dict[str, Any]:
        return {"MemoryLimit": False}  # unit/docker/test_cgroup.py has the others

    def inspect(self, name: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        if name not in self.found:
            raise docker_errors.NotFound(name)
        return self.found[name]

    inspect_volume = inspect

    def inspect_network(self, name: str) -> dict[str, Any]:
        named = self.networks([name])
        if len(named) > 1:
            raise docker_errors.APIError(f"network {name} is ambiguous ({len(named)} matches found on name)")
        return named[0] if named else self.inspect(name)

    def networks(self, names: list[str]) -> list[dict[str, Any]]:
        return [one for one in self.found.values() if {one.get("Name"), one.get("Id")} & {*names}]

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return self.running

    def create_network(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str], check_duplicate: bool
    ) -> None:
        self.found[name] = {"Name": name, "Options": options, "Labels": labels}

    def create_volume(self, name: str, labels: dict[str, str]) -> None:
        self.found[name] = {"Labels": labels}


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Docker:
    client = Docker()
    monkeypatch.setattr(jupyterhub_resources, "connect", lambda: client)
    monkeypatch.setattr(jupyterhub_resources, "connect_or_none", lambda: client)
    monkeypatch.setattr(daemon_info, "option", lambda _: None)
    monkeypatch.setattr(resources, "LOCK", str(tmp_path / "lock"))
    # Only root can own a secret.
    monkeypatch.setattr(secrets, "_own", lambda path, mode: None)
    monkeypatch.setattr(secrets, "_is", lambda path, mode: True)
    return client


@pytest.fixture
def arguments(tmp_path: Any) -> dict[str, Any]:
    return {
        "name": "lab", "networks": ["lab-network"], "volumes": ["lab-data"], "secrets_dir": f"{tmp_path}/lab/secrets"
    }  # fmt: skip


def test_what_is_missing_is_created_once(docker: Docker, arguments: dict[str, Any]) -> None:
    first = run(jupyterhub_resources, **arguments)
    assert first["changed"]
    assert first["messages"] == [
        "created: network lab-network, volume lab-data",
        f"written to {arguments['secrets_dir']}: " + ", ".join(secrets.GENERATORS),
    ]
    labels = {"org.jupyterhub.deploy.hub": "lab"}
    assert docker.found == {
        "lab-network": {"Name": "lab-network", "Options": {resources.MTU: "1500"}, "Labels": labels},
        "lab-data": {"Labels": labels},
    }
    token = secrets.read(arguments["secrets_dir"], "api_token")
    assert token
    assert token not in str(first)
    second = run(jupyterhub_resources, **arguments)
    assert (second["changed"], second["messages"]) == (False, [])
    assert second["diff"]["before"] == second["diff"]["after"]
    assert secrets.read(arguments["secrets_dir"], "api_token") == token


def test_a_network_gets_the_mtu_of_docker_and_keeps_its_own(
    docker: Docker, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_info, "option", {"mtu": 1450}.get)
    run(jupyterhub_resources, **arguments)
    assert docker.found["lab-network"]["Options"] == {resources.MTU: "1450"}

    for options, warned in (
        ({resources.MTU: "1400"}, False), ({}, True), (None, True), ({resources.MTU: "1500"}, True)
    ):  # fmt: skip
        docker.found["lab-network"]["Options"] = options
        assert not run(jupyterhub_resources, **arguments)["changed"]
        assert docker.found["lab-network"]["Options"] == options
        messages = resources.other_mtus(docker, resources.resources(["lab-network"], ["lab-data"]))
        warning = "network lab-network has an MTU of 1500, and Docker's option mtu is 1450; docs/how-to/docker.md"
        assert [message[: len(warning)] for message in messages] == [warning] * warned


def test_check_mode_reports_and_creates_nothing(
    docker: Docker, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(jupyterhub_resources, "connect_or_none", lambda: None)
    result = run(jupyterhub_resources, **arguments, check=True)
    assert result["changed"]
    assert result["messages"][0] == "would be created: network lab-network, volume lab-data"
    assert (docker.found, list(tmp_path.iterdir())) == ({}, [])


def test_a_new_password_waits_for_the_hub(docker: Docker, arguments: dict[str, Any]) -> None:
    assert not run(jupyterhub_resources, **arguments, admin_password="first")["password_pending"]
    changed = run(jupyterhub_resources, **arguments, admin_password="second")
    assert (changed["password_pending"], changed["messages"]) == (
        True, [f"written to {arguments['secrets_dir']}: admin_password"]
    )  # fmt: skip
    assert run(jupyterhub_resources, **arguments)["password_pending"], "the marker has not been removed"


def test_another_hubs_network_is_not_used(docker: Docker, arguments: dict[str, Any]) -> None:
    docker.found["lab-network"] = {"Labels": {"org.jupyterhub.deploy.hub": "other"}}
    with pytest.raises(ModuleError, match="network lab-network belongs to hub other, not to lab"):
        run(jupyterhub_resources, **arguments)


def network(digit: str, created: str, *containers: str) -> dict[str, Any]:
    """Return one of two networks of the same name, as Docker describes it."""
    connected = {name: {"Name": name} for name in containers}
    return {"Name": "lab-network", "Id": digit * 64, "Created": created, "Containers": connected}


@pytest.mark.parametrize(
    ("connected", "advice"),
    [
        ((), "run `docker network rm bbbbbbbbbbbb` and make site again"),
        (
            ("jupyter-alice",),
            "disconnect their containers with `docker network disconnect`, then run `docker network rm",
        ),
    ],
)
def test_networks_of_one_name_are_listed_with_what_to_remove(
    docker: Docker, arguments: dict[str, Any], connected: tuple[str, ...], advice: str
) -> None:
    docker.found["2"] = network("b", "2026-11-27T02:00:00Z", *connected)
    docker.found["1"] = network("a", "2026-11-27T01:00:00Z", "lab", "lab-proxy")
    with pytest.raises(ModuleError) as error:
        run(jupyterhub_resources, **arguments)
    used = ", ".join(connected) or "no container"
    assert str(error.value).startswith(
        "network lab-network exists 2 times: aaaaaaaaaaaa (used by lab, lab-proxy); "
        f"bbbbbbbbbbbb (used by {used}); {advice}"
    )


@pytest.mark.parametrize("name", ["lab-network", "lab-data"])
def test_a_network_or_volume_that_somebody_else_made_is_not_used(
    docker: Docker, arguments: dict[str, Any], name: str, tmp_path: Path
) -> None:
    docker.found[name] = {"Labels": None}
    for check in (True, False):
        with pytest.raises(ModuleError, match=f"{name} was not created for hub lab"):
            run(jupyterhub_resources, **arguments, check=check)
    assert (list(docker.found), [path.name for path in tmp_path.iterdir()]) == ([name], ["lock"])


@pytest.mark.parametrize("error", [docker_errors.APIError("server gone"), OSError("no space")])
def test_a_failure_of_docker_is_one_sentence(docker: Docker, arguments: dict[str, Any], error: Exception) -> None:
    docker.error = error
    with pytest.raises(ModuleError, match=f"failed while creating the hub's networks, volumes and secrets: {error}"):
        run(jupyterhub_resources, **arguments)


def test_a_linux_kernel_that_cannot_limit_memory_is_a_warning(docker: Docker, arguments: dict[str, Any]) -> None:
    params = {"fixed_networks": [], "admin_password": "", "total_memory": "auto", **arguments}
    for check in (True, False):
        assert jupyterhub_resources.create_missing(docker, params, check)["warnings"] == [cgroup.NOT_LIMITED]
