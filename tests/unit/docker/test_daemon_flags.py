"""Options that dockerd gets as flags."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_flags


@pytest.mark.parametrize(
    "flags",
    [["--default-address-pool", "base=172.20.0.0/14,size=24"], ["--default-address-pool=base=172.20.0.0/14"]],
)
def test_a_conflict_is_reported(flags):
    assert daemon_flags.conflicts({"default-address-pools": [], "debug": True}, flags) == [
        "default-address-pools cannot be set in daemon.json while dockerd is started with --default-address-pool"
    ]


@pytest.mark.parametrize(
    ("option", "flags"),
    [
        ("hosts", ["-H", "fd://"]),
        ("hosts", ["--host=fd://"]),
        ("debug", ["-D"]),
        ("log-level", ["-ldebug"]),
        ("insecure-registries", ["--insecure-registry", "registry.example.com"]),
        ("runtimes", ["--add-runtime=runsc=/usr/bin/runsc"]),
        ("mtu", ["--mtu=1400"]),
    ],
)
def test_each_form_of_a_flag_counts(option, flags):
    assert daemon_flags.without_flagged({option: 1, "icc": False}, flags) == {"icc": False}


def test_values_of_flags():
    assert daemon_flags.flag_value(["--config-file", "/a"], "config-file") == "/a"
    assert daemon_flags.flag_value(["--config-file=/a"], "config-file") == "/a"
    assert daemon_flags.flag_value(["--config-file"], "config-file") is None
