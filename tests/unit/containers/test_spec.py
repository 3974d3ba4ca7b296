"""What to do about any container, and the reason for it."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import spec

from support.factories.container import inspected

SPEC = {
    "image": "proxy:1",
    "image_id": "sha256:" + "1" * 64,
    "environment": {"A": "1"},
    "mounts": ["/etc/token:/token:ro", "data:/data:rw"],
    "networks": ["inner", "outer"],
    "ports": ["0.0.0.0:8000:8000"],
    "hardening": spec.hardening(cap_add=["SETUID", "SETGID"]),
    "restart_policy": "unless-stopped",
    "healthcheck": ["CMD", "true"],
}


def test_a_container_has_the_spec_that_it_was_created_from():
    assert spec.observed_spec(inspected(SPEC)) == SPEC


def test_a_directory_in_memory_can_have_a_size():
    tmpfs = ["/run,size=64m", "/tmp"]
    wanted = {**SPEC, "hardening": {**spec.hardening(cap_add=[]), "tmpfs": tmpfs}}
    assert spec.tmpfs_options(tmpfs) == {"/run": "mode=1777,size=64m", "/tmp": "mode=1777"}
    assert spec.observed_spec(inspected(wanted)) == wanted
    assert spec.differences(spec.TITLES, SPEC, spec.observed_spec(inspected(wanted)))


def test_the_environment_of_an_image_is_not_a_difference():
    observed = spec.observed_spec(inspected(SPEC, environment=("PATH=/usr/bin",)))
    assert observed["environment"] == {"PATH": "/usr/bin", "A": "1"}
    assert spec.comparable(SPEC, observed) == SPEC
    assert spec.differences(spec.TITLES, SPEC, observed) == []


def test_an_empty_variable_is_the_same_as_a_missing_one():
    wanted = {**SPEC, "environment": {"A": "1", "HTTPS_PROXY": ""}}
    assert spec.differences(spec.TITLES, wanted, spec.observed_spec(inspected(SPEC))) == []
    removed = spec.observed_spec(inspected(SPEC, environment=("HTTPS_PROXY=http://proxy.example.com:3128",)))
    assert [found.key for found in spec.differences(spec.TITLES, wanted, removed)] == ["environment"]


@pytest.mark.parametrize(
    ("container", "reasons", "serving", "expected"),
    [
        (inspected(SPEC), [], True, ("none", [])),
        (None, [], False, ("create", ["the hub container does not exist yet"])),
        (inspected(SPEC, running=False), [], False, ("start", ["the hub container is stopped"])),
        (inspected(SPEC), [], False, ("restart", ["the hub does not answer its health check"])),
        (inspected(SPEC), ["mounts changed: +x"], True, ("replace", ["mounts changed: +x"])),
        (inspected(SPEC, running=False), ["mounts changed: +x"], False, ("replace", ["mounts changed: +x"])),
    ],
    ids=["matches", "first", "stopped", "silent", "different", "different and stopped"],
)
def test_each_state_has_its_action(container, reasons, serving, expected):
    assert spec.plan("hub", container, reasons, serving) == expected


def test_a_new_container_was_created_and_check_mode_shows_why_it_would_be():
    reasons = ["the hub container does not exist yet"]
    assert spec.shown("hub", "create", reasons, check=False) == ["created the hub container"]
    assert spec.shown("hub", "create", reasons, check=True) == reasons
    assert spec.shown("hub", "replace", ["mounts changed: +x"], check=False) == ["mounts changed: +x"]
