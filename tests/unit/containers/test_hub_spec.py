"""The specification of the hub container: each reason to replace it, single and combined, and its message."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import HubOptions
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_NOTEBOOK_IMAGE_ID
from hypothesis import given
from hypothesis import strategies as st

from support.factories.container import inspected

PARAMS = {
    "name": "jupyterhub",
    "image": "hub:1",
    "notebook_image": "notebook:1",
    "environment": {"JUPYTERHUB_ADMIN": "admin"},
    "config_dir": "/etc/jupyterhub",
    "config_files": {"jupyterhub_config.py": "c = get_config()\n"},
    "ca_bundle": "",
    "data_volume": "jupyterhub-data",
    "networks": ["jupyterhub-network", "jupyterhub-control"],
    "sign_in": {},
    "public_probe": "",
    "health_timeout": 120,
    "notebook_images": [],
    "declared_users": [],
}
HUB_ID = "sha256:" + "1" * 64
NOTEBOOK_ID = "sha256:" + "2" * 64


def wanted(**changes):
    options = HubOptions(**{**copy.deepcopy(PARAMS), **changes})
    return hub_spec.wanted_spec(options, hub_spec.config_digest(options.config_files), HUB_ID, NOTEBOOK_ID)


def container(spec):
    """Docker's description of a hub made from a spec."""
    environment = {**spec["environment"], "DOCKER_NOTEBOOK_IMAGE": spec["notebook_image"]}
    return inspected(
        {**spec, "environment": environment},
        environment=("PATH=/usr/bin",),
        labels={
            hub_spec.LABEL_CONFIG: spec["config"],
            LABEL_NOTEBOOK_IMAGE_ID: spec["notebook_image_id"],
        },
    )


def differences(old, **changes):
    """Why a hub made from the spec `old` would be replaced."""
    return hub_spec.differences(wanted(**changes), hub_spec.observed_spec(container(old)))


def reasons(old):
    return [found.message for found in differences(old)]


def changed(**parts):
    return {**wanted(), **parts}


def test_a_container_has_its_spec_and_the_environment_of_its_image():
    observed = hub_spec.observed_spec(container(wanted()))
    assert observed.pop("environment") == {
        "PATH": "/usr/bin", "JUPYTERHUB_ADMIN": "admin", "DOCKER_NOTEBOOK_IMAGE": "notebook:1"
    }  # fmt: skip
    expected = wanted()
    del expected["environment"]
    assert observed == expected


def test_a_hub_that_matches_its_spec_is_kept():
    assert reasons(wanted()) == []


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ({"image": "hub:0"}, "hub image name changed: hub:0 → hub:1"),
        ({"image_id": "sha256:" + "9" * 64}, "hub image content changed: sha256:999999999999 → sha256:111111111111"),
        ({"notebook_image": "notebook:0"}, "notebook image name changed: notebook:0 → notebook:1"),
        (
            {"notebook_image_id": "sha256:" + "9" * 64},
            "notebook image content changed: sha256:999999999999 → sha256:222222222222",
        ),
        ({"notebook_image_id": None}, "notebook image content changed: none → sha256:222222222222"),
        ({"environment": {"JUPYTERHUB_ADMIN": "root"}}, "environment changed: JUPYTERHUB_ADMIN"),
        ({"environment": {}}, "environment changed: JUPYTERHUB_ADMIN"),
        ({"config": "0" * 12}, "configuration changed: 000000000000 → " + wanted()["config"]),
        ({"networks": ["jupyterhub-network"]}, "networks changed: +jupyterhub-control"),
        ({"networks": [*wanted()["networks"], "other"]}, "networks changed: -other"),
        (
            {"hardening": {**wanted()["hardening"], "read_only": False, "cap_drop": []}},
            "container restrictions changed: cap_drop, read_only",
        ),
        ({"restart_policy": "no"}, "restart policy changed: no → unless-stopped"),
        ({"mounts": [m.replace("jupyterhub-data", "other") for m in wanted()["mounts"]]}, None),
        ({"healthcheck": []}, None),
    ],
)
def test_each_single_difference_replaces_the_hub_and_is_named(old, reason):
    found = reasons(changed(**old))
    assert len(found) == 1
    if reason:
        assert found == [reason]


# One change for each key of the spec.
CHANGES = {
    "image": "hub:0",
    "image_id": "sha256:" + "9" * 64,
    "notebook_image": "notebook:0",
    "notebook_image_id": None,
    "config": "0" * 12,
    "environment": {},
    "mounts": [],
    "networks": [],
    "ports": ["0.0.0.0:8081:8081"],
    "hardening": {**wanted()["hardening"], "cap_drop": []},
    "restart_policy": "no",
    "healthcheck": [],
}


def test_every_part_of_the_spec_is_compared():
    assert set(CHANGES) == set(wanted()) == set(hub_spec.TITLES)


@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_all_differences_together_are_named(keys):
    found = differences(changed(**{key: CHANGES[key] for key in keys}))
    assert [one.key for one in found] == [key for key in hub_spec.TITLES if key in keys]
    assert all(one.message.startswith(f"{hub_spec.TITLES[one.key]} changed") for one in found)


@pytest.mark.parametrize("directory", ["/etc/jupyterhub", "/srv/hubs, old and new/a"])
def test_a_new_configuration_is_one_reason_although_its_directory_is_mounted_too(directory):
    found = differences(
        wanted(config_dir=directory), config_dir=directory, config_files={"jupyterhub_config.py": "c = None\n"}
    )
    assert [one.key for one in found] == ["config"]


def test_a_new_configuration_and_another_mount_are_two_reasons():
    found = differences(wanted(), config_files={"a": "b"}, data_volume="other")
    assert [one.key for one in found] == ["config", "mounts"]
    assert found[1].message == "mounts changed: +other:/data:rw, -jupyterhub-data:/data:rw"


def test_the_digest_of_a_configuration_depends_on_names_and_texts():
    digests = {
        hub_spec.config_digest({"a": "1", "b": "2"}),
        hub_spec.config_digest({"a": "12", "b": ""}),
        hub_spec.config_digest({"b": "2", "a": "1", "c": ""}),
    }
    assert len(digests) == 3
    assert hub_spec.config_digest({"a": "1", "b": "2"}) == hub_spec.config_digest({"b": "2", "a": "1"})
    assert hub_spec.config_digest({"a": "1"}, "key") != hub_spec.config_digest({"a": "1"}, "another key")


def test_own_authorities_are_added_to_those_of_the_image():
    assert "SSL_CERT_FILE" not in wanted()["environment"]
    environment = wanted(ca_bundle="/etc/ssl/site-ca.pem")["environment"]
    assert environment["SSL_CERT_FILE"] == "/etc/jupyterhub/config/ca-bundle.crt"
