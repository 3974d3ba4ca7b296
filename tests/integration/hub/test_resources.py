"""Networks, volumes and secrets of a hub on real Docker, when two first runs create them at once."""

from __future__ import annotations

import ipaddress
import multiprocessing
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.hub import resources

import jupyterhub_resources
from hosts.run import name as run_name
from support.modules import ModuleError, run

NAME = run_name("at-once")


@pytest.fixture
def client(local_docker: None) -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto")
    yield client
    for network in client.networks(names=[NAME]):
        client.remove_network(network["Id"])
    subprocess.run(["docker", "volume", "rm", "--force", NAME], capture_output=True, check=False)


def run_slowly(arguments: dict[str, Any]) -> bool:
    """Run the module with a pause between the inspection and the creation; return whether it created something."""
    missing = resources.missing

    def slow(*given: Any) -> list[resources.Resource]:
        found = missing(*given)
        time.sleep(1)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "missing", slow)
        return bool(run(jupyterhub_resources, **arguments)["changed"])


def test_two_first_runs_at_once_create_one_network(client: docker.APIClient, tmp_path: Path) -> None:
    secrets = str(tmp_path / "hub" / "secrets")
    arguments: dict[str, Any] = {"name": NAME, "networks": [NAME], "volumes": [NAME], "secrets_dir": secrets}

    with multiprocessing.get_context("fork").Pool(2) as pool:
        created = pool.map(run_slowly, [arguments, arguments], chunksize=1)

    assert sorted(created) == [False, True]
    assert len(client.networks(names=[NAME])) == 1
    assert client.inspect_network(NAME)["Labels"] == client.inspect_volume(NAME)["Labels"]
    assert not run(jupyterhub_resources, check=True, **arguments)["changed"]


def test_networks_of_one_name_are_named_until_one_is_removed(client: docker.APIClient, tmp_path: Path) -> None:
    """Docker 20.10 creates a second network of a name when asked to, or for two requests at once."""
    try:
        ids = [client.create_network(NAME, check_duplicate=False, labels={LABEL_HUB: NAME})["Id"] for _ in range(2)]
    except docker.errors.APIError as error:
        pytest.skip(f"this Docker creates no duplicates: {error}")
    secrets = str(tmp_path / "hub" / "secrets")
    arguments: dict[str, Any] = {"name": NAME, "networks": [NAME], "volumes": [], "secrets_dir": secrets}

    with pytest.raises(ModuleError) as refused:
        run(jupyterhub_resources, **arguments)

    assert str(refused.value) == (
        f"network {NAME} exists 2 times: {ids[0][:12]} (used by no container); {ids[1][:12]} (used by no container); "
        f"run `docker network rm {ids[1][:12]}` and make site again"
    )
    client.remove_network(ids[1][:12])
    assert run(jupyterhub_resources, **arguments)["changed"]  # the secrets


def test_a_network_has_the_mtu_of_docker(client: docker.APIClient, tmp_path: Path) -> None:
    secrets = str(tmp_path / "hub" / "secrets")
    arguments: dict[str, Any] = {"name": NAME, "networks": [NAME], "volumes": [], "secrets_dir": secrets}
    with pytest.MonkeyPatch.context() as patch:
        # Docker's own option is tested with the docker role, because it needs a restart.
        patch.setattr(resources, "docker_mtu", lambda: "1450")
        run(jupyterhub_resources, **arguments)
        assert "warnings" not in run(jupyterhub_resources, **arguments)
    assert client.inspect_network(NAME)["Options"] == {resources.MTU: "1450"}


def test_containers_can_have_fixed_addresses(client: docker.APIClient, tmp_path: Path, proxy_image: str) -> None:
    arguments: dict[str, Any] = {
        "name": NAME,
        "fixed_networks": [NAME],
        "secrets_dir": str(tmp_path / "hub" / "secrets"),
    }
    client.create_network(f"{NAME}-subnet", labels={LABEL_HUB: NAME})  # as a run that was killed leaves it
    result = run(jupyterhub_resources, **arguments)

    assert [one["Name"] for one in client.networks(names=[NAME])] == [NAME]
    (part,) = client.inspect_network(NAME)["IPAM"]["Config"]
    subnet = ipaddress.ip_network(part["Subnet"])
    assert result["gateways"] == [str(subnet[1])]
    address = str(subnet[9])
    made = client.create_container(proxy_image, name=f"{NAME}-fixed", entrypoint=["sleep", "60"])
    client.connect_container_to_network(made, NAME, ipv4_address=address)
    try:
        client.start(made)
        assert client.inspect_container(made)["NetworkSettings"]["Networks"][NAME]["IPAddress"] == address
    finally:
        client.remove_container(made, force=True)
    assert not run(jupyterhub_resources, **arguments)["changed"]
