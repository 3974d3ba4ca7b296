"""The user of a volume, how it can be read, and the containers that use it."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import volumes
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_REHEARSAL, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_deploy_hub import disk_measurement, names


def volume(name: str, hub: str | None = None, user: str | None = None, **more: Any) -> Volume:
    labels = {key: value for key, value in ((LABEL_HUB, hub), (LABEL_USER, user)) if value is not None}
    return Volume.of({"Name": name, "Driver": "local", "Labels": labels or None, "Options": None, **more})


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=140))
def test_the_rule_is_that_of_the_hub(user: str) -> None:
    assert volumes.docker_name(user) == names.docker_name(user)


def test_a_long_name_is_shortened_as_by_the_hub() -> None:
    for user in ("a" * 128, "a" * 129, "ü" * 128, "-" * 60):
        assert volumes.docker_name(user) == names.docker_name(user)


def test_names() -> None:
    assert volumes.volume_name("jupyterhub", "alice") == "jupyterhub-user-alice"
    assert volumes.volume_name("lab", "github:alice") == "lab-user-github-3aalice"


def test_a_volume_belongs_to_the_user_in_its_label_or_in_its_name_when_it_has_none() -> None:
    assert volumes.is_of("alice", "lab", "any-name", "alice")
    assert volumes.is_of("a.b", "lab", "lab-user-a-2eb", None)
    assert not volumes.is_of("alice", "lab", "lab-user-alice", "bob")
    assert not volumes.is_of("alice", "lab", "course-user-alice", None)
    assert not volumes.is_of("alice", "lab", None, None)  # the hub's own state


def test_a_volume_of_a_user_of_the_same_name_at_another_hub_is_not_found() -> None:
    assert volume("lab-user-alice", "lab", "alice").is_of("alice", "lab")
    assert volume("lab-user-alice").is_of("alice", "lab")
    assert not volume("course-user-alice", "course", "alice").is_of("alice", "lab")
    assert not volume("lab-user-alice", "course").is_of("alice", "lab")


def test_users_volumes_are_found_by_label_or_else_by_name() -> None:
    ours = [volume("a", "jupyterhub", "alice"), volume("jupyterhub-user-b"), volume("jupyterhub-user-c", None, "carol")]
    ours.append(volume("jupyterhub-user-f", "jupyterhub"))  # as a restore creates one that had no labels
    others = [
        volume("jupyterhub-data", "jupyterhub"),
        volume("jupyterhub-user-d", "course", "dave"),
        volume("course-user-e"),
        volume("x", "course", "erin"),
        volume("jupyterhub-users"),
    ]

    assert volumes.users_volumes("jupyterhub", others + ours) == ours
    assert [found.user for found in ours] == ["alice", None, "carol", None]


def test_volumes_of_temporary_users_are_left_out_of_backups() -> None:
    temporary = volume("lab-user-rehearsal-2d1", "lab", "rehearsal-1")
    assert volumes.users_volumes("lab", [temporary]) == [temporary]
    assert volumes.users_volumes("lab", [temporary._replace(labels={**temporary.labels, LABEL_REHEARSAL: ""})]) == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (volume("a1", Driver="nfs"), "volume a1 belongs to the driver nfs"),
        (
            volume("a1", Options={"type": "nfs", "o": "addr=x"}),
            "volume a1 has options of its driver (o=addr=x, type=nfs)",
        ),
        (
            volume("a1", Options={"type": "tmpfs", "device": "tmpfs", "size": "10G"}),
            "volume a1 has options of its driver (device=tmpfs, size=10G, type=tmpfs)",
        ),
        (volume("a1"), None),
        (volume("a1", Options={"size": "10G"}), None),  # a quota
    ],
)
def test_a_volume_whose_files_are_not_visible_on_the_host_needs_a_container(found: Volume, reason: str | None) -> None:
    assert volumes.needs_container(found) == reason


def container(name: str, state: str = "running", **mount: str) -> dict[str, Any]:
    return {"Id": name * 12, "Names": [f"/{name}"], "State": state, "Mounts": [mount]}


def test_a_volume_is_used_by_its_name_or_by_its_directory_while_the_container_may_have_files_open() -> None:
    data = "/var/lib/docker/volumes/a/_data"
    using = [
        container("by-name", Name="a"),
        container("by-path", Source=data),
        container("by-subpath", "paused", Source=f"{data}/notebooks"),
        container("coming-back", "restarting", Name="a"),
    ]
    others = [
        container("stopped", "exited", Name="a"),
        container("another", Name="b"),
        container("beside", Source=f"{data}-old"),
        {"Id": "1", "Names": ["/bare"], "State": "running", "Mounts": None},
        {**container("measuring", Source=data), "Labels": {disk_measurement.MEASURES_LABEL: "lab"}},
    ]
    client = Mock()
    client.containers.return_value = [*reversed(using), *others]

    assert volumes.containers_using(client, "a", data) == using
