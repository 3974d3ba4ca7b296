"""Objects that have a hub's names: those of the hub, of another hub, and of somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.ownership import CONTAINER, NETWORK, VOLUME
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

ROLE = Path(__file__).resolve().parents[3] / "roles/jupyterhub"
OURS = {LABEL_HUB: "lab"}


def container(name: str, labels: dict[str, str] | None = None, volume: str = "", network: str = "") -> dict[str, Any]:
    return {
        "Id": name * 12,
        "Names": [f"/{name}"],
        "Labels": labels,
        "Mounts": [{"Name": volume}] if volume else [{"Source": "/run"}],
        "NetworkSettings": {"Networks": {network: {}} if network else {}},
    }


def test_the_names_are_those_of_the_role() -> None:
    names = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    variables = ("network", "control_network", "front_network", "data_volume", "proxy")
    written = [str(names[f"_jupyterhub_{key}"]).replace("{{ jupyterhub_name }}", "lab") for key in variables]
    assert written[:3] == ownership.networks_of("lab")
    assert written[3] == ownership.data_volume_of("lab")
    assert {written[4], "lab"} < set(ownership.containers_of("lab"))


@pytest.mark.parametrize("kind", [CONTAINER, NETWORK, VOLUME])
def test_each_kind_of_object_without_the_hubs_label_is_refused_with_advice(kind: str) -> None:
    assert ownership.problem(kind, "lab-x", OURS, "lab") is None
    for labels, whose in ((None, "was not created for hub lab"), ({LABEL_HUB: "b"}, "belongs to hub b, not to lab")):
        message = ownership.problem(kind, "lab-x", labels, "lab") or ""
        assert message.startswith(f"{kind} lab-x {whose}")
        assert message.endswith("or choose another jupyterhub_name")


def test_all_foreign_objects_with_a_hubs_names_are_listed() -> None:
    containers = [
        container("lab"), container("lab-proxy", OURS), container("lab-next", {LABEL_HUB: "b"}), container("postgres"),
        container("lab-proxy-previous"), container("lab-check"),
    ]  # fmt: skip
    networks: list[dict[str, Any]] = [
        {"Name": "lab-network", "Labels": {}},
        {"Name": "lab-control", "Labels": OURS},
        {"Name": "bridge"},
    ]
    volumes: list[dict[str, Any]] = [{"Name": "lab-data", "Labels": None}, {"Name": "lab-user-alice"}]

    found = ownership.problems(containers, networks, volumes, "lab")

    assert [message.split(" ")[:2] for message in found] == [
        ["container", "lab"], ["container", "lab-next"],
        ["container", "lab-proxy-previous"], ["container", "lab-check"],
        ["network", "lab-network"], ["volume", "lab-data"],
    ]  # fmt: skip


def test_what_the_hub_already_uses_is_its_own_also_without_a_label() -> None:
    """A hub of an earlier version may use a network or a volume that was there before it."""
    networks, volumes = [{"Name": "lab-network", "Labels": {}}], [{"Name": "lab-data", "Labels": {}}]
    hub = container("lab", OURS, volume="lab-data", network="lab-network")
    assert ownership.problems([hub], networks, volumes, "lab") == []

    server = {**hub, "Names": ["/jupyter-alice"], "Labels": {**OURS, LABEL_USER: "alice"}}
    assert len(ownership.problems([server], networks, volumes, "lab")) == 2, "a user's server proves nothing"
    other = {**hub, "Names": ["/other"], "Labels": {LABEL_HUB: "other"}}
    assert len(ownership.problems([other], networks, volumes, "lab")) == 2
    networks[0]["Labels"] = {LABEL_HUB: "other"}
    assert len(ownership.problems([hub], networks, volumes, "lab")) == 1, "the label counts"


def test_an_object_that_the_hub_uses_is_accepted_without_a_label() -> None:
    client = Mock()
    client.containers.return_value = [container("lab", OURS, volume="lab-data")]
    assert ownership.foreign(client, VOLUME, "lab-data", None, "lab") is None
    client.containers.assert_called_once_with(all=True)  # the hub may be stopped
    assert ownership.foreign(client, VOLUME, "lab-data", OURS, "lab") is None
    for kind, name, labels in (
        (VOLUME, "lab-data", {LABEL_HUB: "other"}), (VOLUME, "lab-more", None), (CONTAINER, "lab-data", None),
    ):  # fmt: skip
        assert ownership.foreign(client, kind, name, labels, "lab")


def test_users_volumes_without_the_label_of_their_user() -> None:
    both = {**OURS, LABEL_USER: "alice"}
    volumes: list[dict[str, Any]] = [
        {"Name": "lab-user-b", "Labels": None},
        {"Name": "lab-user-a", "Labels": OURS},
        {"Name": "lab-user-alice", "Labels": both},
        {"Name": "lab-user-c", "Labels": {LABEL_USER: "c"}},
        {"Name": "lab-user-x", "Labels": {LABEL_HUB: "other"}},
        {"Name": "lab-data", "Labels": None},
    ]
    assert ownership.without_owner(volumes, "lab") == ["lab-user-a", "lab-user-b", "lab-user-c"]


def test_a_foreign_container_stops_a_change_before_it_begins() -> None:
    client = Mock()
    client.inspect_container.side_effect = lambda name: {"Name": f"/{name}", "Config": {"Labels": OURS}}
    ownership.require_containers(client, "lab", ["lab", "lab-next"])
    client.inspect_container.side_effect = lambda name: {"Name": f"/{name}", "Config": {"Labels": None}}
    with pytest.raises(DeployError, match=r"container lab was not created for hub lab .*; nothing was changed"):
        ownership.require_containers(client, "lab", ["lab", "lab-next"])
