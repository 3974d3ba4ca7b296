"""The plan for the hub container: every reason alone and combined, and the words for it."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.jupyterhub_deploy import hub_plan

PARAMS = {
    "image": "hub:1",
    "environment": {"DOCKER_NOTEBOOK_IMAGE": "notebook:1", "JUPYTERHUB_ADMIN": "admin"},
    "config_dir": "/etc/jupyterhub",
    "config_files": {"jupyterhub_config.py": "c = get_config()\n"},
    "data_volume": "jupyterhub-data",
    "networks": ["jupyterhub-network", "jupyterhub-control"],
}
HUB_ID = "sha256:" + "1" * 64
NOTEBOOK_ID = "sha256:" + "2" * 64


def wanted(**changes):
    return hub_plan.wanted_spec({**copy.deepcopy(PARAMS), **changes}, HUB_ID, NOTEBOOK_ID)


def container(spec, running=True):
    """The engine's description of a container made from a spec, as `docker inspect` words it."""
    return {
        "Image": spec["image_id"],
        "State": {"Running": running},
        "Config": {
            "Image": spec["image"],
            "Env": ["PATH=/usr/bin", f"DOCKER_NOTEBOOK_IMAGE={spec['notebook_image']}"]
            + [f"{name}={value}" for name, value in spec["environment"].items()],
            "Labels": {
                hub_plan.LABEL_CONFIG: spec["config"],
                hub_plan.LABEL_NOTEBOOK_IMAGE_ID: spec["notebook_image_id"],
            },
            "Healthcheck": {"Test": spec["healthcheck"]},
        },
        "HostConfig": {
            "Binds": [mount[: -len(":rw")] if mount.endswith(":rw") else mount for mount in spec["mounts"]],
            "CapDrop": spec["hardening"]["cap_drop"],
            "SecurityOpt": spec["hardening"]["security_opt"],
            "ReadonlyRootfs": spec["hardening"]["read_only"],
            "Tmpfs": dict.fromkeys(spec["hardening"]["tmpfs"], "mode=1777"),
            "RestartPolicy": {"Name": spec["restart_policy"]},
        },
        "NetworkSettings": {"Networks": {name: {} for name in spec["networks"]}},
    }


def changed(**parts):
    return {**wanted(), **parts}


def test_a_container_made_from_a_spec_is_observed_as_that_spec_but_for_the_images_own_environment():
    observed = hub_plan.observed_spec(container(wanted()))
    assert observed.pop("environment") == {"PATH": "/usr/bin", "JUPYTERHUB_ADMIN": "admin"}
    expected = wanted()
    del expected["environment"]
    assert observed == expected


def test_nothing_is_done_about_a_hub_that_is_as_wanted_and_answers():
    assert hub_plan.plan(wanted(), container(wanted()), answering=True) == ("none", [])


def test_the_first_hub_is_created():
    assert hub_plan.plan(wanted(), None, answering=False) == ("create", ["there is no hub container yet"])


def test_a_stopped_hub_is_started():
    stopped = container(wanted(), running=False)
    assert hub_plan.plan(wanted(), stopped, answering=False) == ("start", ["the hub container is stopped"])


def test_a_silent_hub_is_restarted():
    action, reasons = hub_plan.plan(wanted(), container(wanted()), answering=False)
    assert (action, reasons) == ("restart", ["the hub does not answer its health check"])


def test_a_stopped_hub_that_also_differs_is_replaced():
    old = container(changed(image="hub:0"), running=False)
    assert hub_plan.plan(wanted(), old, answering=False) == ("replace", ["hub image name changed: hub:0 → hub:1"])


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
def test_each_difference_alone_replaces_the_hub_and_is_named(old, reason):
    action, reasons = hub_plan.plan(wanted(), container(changed(**old)), answering=True)
    assert action == "replace"
    assert len(reasons) == 1
    if reason:
        assert reasons == [reason]


def test_all_differences_together_are_all_named():
    old = changed(
        image="hub:0", image_id="sha256:" + "9" * 64, notebook_image="notebook:0", notebook_image_id=None, networks=[]
    )
    old["environment"] = {}
    reasons = hub_plan.differences(wanted(), hub_plan.observed_spec(container(old)))
    titles = [reason.partition(" changed")[0] for reason in reasons]
    assert titles == [
        "hub image name",
        "hub image content",
        "notebook image name",
        "notebook image content",
        "environment",
        "networks",
    ]


def test_a_new_configuration_is_one_reason_although_its_directory_is_mounted_too():
    other = wanted(config_files={"jupyterhub_config.py": "c = None\n"})
    reasons = hub_plan.differences(wanted(), hub_plan.observed_spec(container(other)))
    assert len(reasons) == 1
    assert reasons[0].startswith("configuration changed: ")


def test_the_digest_of_a_configuration_depends_on_names_and_texts():
    digests = {
        hub_plan.config_digest({"a": "1", "b": "2"}),
        hub_plan.config_digest({"a": "12", "b": ""}),
        hub_plan.config_digest({"b": "2", "a": "1", "c": ""}),
    }
    assert len(digests) == 3
    assert hub_plan.config_digest({"a": "1", "b": "2"}) == hub_plan.config_digest({"b": "2", "a": "1"})
