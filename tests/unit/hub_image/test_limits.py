"""Limits of users' servers, as Docker gets them."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from jupyterhub_deploy_hub import limits
from jupyterhub_deploy_hub.limits import Limits, automatic_memory, configure, largest, limited, parsed

GIB = 2**30
HUB = Limits(memory=2 * GIB, cpu=2, pids=4096, shm_size=GIB)
WITH_TMP = HUB._replace(tmp_size=GIB)


@pytest.mark.parametrize(
    ("host", "total", "limit"),
    [
        (8 * GIB, 0, 4 * GIB),
        (3 * GIB, 0, 1.5 * GIB),
        (GIB, 0, GIB),
        (8 * GIB, 2 * GIB, 2 * GIB),
        (GIB, GIB // 2, GIB // 2),
    ],
)
def test_auto_is_half_of_the_memory_of_the_host_and_at_most_the_total(host: int, total: int, limit: float) -> None:
    assert parsed({"memory": "auto"}, automatic_memory(host, total)) == {"memory": limit}


def test_sizes_are_numbers_of_bytes() -> None:
    assert parsed({"memory": "1.5G", "shm_size": "64M", "cpu": 1.5}) == {
        "memory": 1.5 * GIB, "shm_size": 64 * 2**20, "cpu": 1.5,
    }  # fmt: skip
    assert parsed({"memory": 0, "shm_size": "0"}) == {"memory": 0, "shm_size": 0}


@pytest.mark.parametrize(
    ("groups", "changes"),
    [
        ([], {}),
        ([{"memory": GIB, "cpu": 1}], {}),
        ([{"memory": 4 * GIB}], {"memory": 4 * GIB}),
        ([{"memory": 4 * GIB, "cpu": 1}, {"memory": 3 * GIB, "cpu": 8}], {"memory": 4 * GIB, "cpu": 8}),
        ([{"memory": 0}, {"memory": 4 * GIB}], {"memory": 0}),  # without a limit
        ([{"pids": 8192, "shm_size": 8 * GIB}], {"pids": 8192, "shm_size": 8 * GIB}),
    ],
)
def test_the_largest_limit_applies(groups: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    assert largest(HUB, groups) == HUB._replace(**changes)


def test_no_limit_of_the_hub_is_larger_than_that_of_a_group() -> None:
    assert largest(HUB._replace(memory=0), [{"memory": GIB}]).memory == 0


def test_the_container_has_the_limits() -> None:
    assert limited({"Memory": GIB}, HUB) == {
        "Memory": GIB, "MemorySwap": GIB, "OomScoreAdj": 500, "PidsLimit": 4096, "ShmSize": GIB,
    }  # fmt: skip
    assert limited({}, Limits(), "users.slice") == {"OomScoreAdj": 500, "CgroupParent": "users.slice"}
    assert limited({}, Limits()) == {"OomScoreAdj": 500}


def test_the_operators_own_options_have_precedence() -> None:
    own = {"Memory": GIB, "MemorySwap": 2 * GIB, "OomScoreAdj": 0, "PidsLimit": 10, "ShmSize": 1}
    assert limited(own, HUB) == own


def test_a_reservation_is_not_more_than_the_limit() -> None:
    assert limited({"Memory": GIB, "MemoryReservation": 2 * GIB}, HUB)["MemoryReservation"] == GIB
    assert limited({"MemoryReservation": 2 * GIB}, HUB)["MemoryReservation"] == 2 * GIB


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="ram is not known; use memory, cpu, pids, shm_size, tmp_size, disk"):
        parsed({"ram": "2G"})


def test_the_configuration_has_the_settings() -> None:
    c = SimpleNamespace(DockerSpawner=SimpleNamespace(), HubSpawner=SimpleNamespace())
    configure(
        c,
        {"memory": "auto", "cpu": 1.5, "pids": 100, "shm_size": "1G", "tmp_size": "64M", "disk": "10G"},
        {"gpu": {"memory": "3G"}},
    )
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert vars(c.DockerSpawner) == {"mem_limit": max(half, GIB), "cpu_limit": 1.5}
    assert vars(c.HubSpawner) == {
        "pids_limit": 100,
        "shm_size": GIB,
        "tmp_size": 64 * 2**20,
        "disk_limit": 10 * GIB,
        "group_limits": {"gpu": {"memory": "3G"}},
    }


def test_a_limited_tmp_runs_programs_and_leaves_other_directories_in_memory() -> None:
    tmp = f"size={GIB},mode=1777,exec"
    assert "Tmpfs" not in limited({}, HUB)
    assert limited({}, WITH_TMP)["Tmpfs"] == {"/tmp": tmp}
    assert limited({"Tmpfs": {"/run": ""}}, WITH_TMP)["Tmpfs"] == {"/tmp": tmp, "/run": ""}
    assert limited({"Tmpfs": {"/tmp": ""}}, WITH_TMP)["Tmpfs"] == {"/tmp": ""}


def config() -> SimpleNamespace:
    return SimpleNamespace(HubSpawner=SimpleNamespace(), JupyterHub=SimpleNamespace())


@pytest.mark.parametrize(("at_once", "found"), [("auto", 8), (3, 3)])
def test_starts_wait_instead_of_being_refused(at_once: int | str, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    c = config()
    limits.configure_starts(c, at_once)
    assert c.HubSpawner.concurrent_starts == found
    assert c.JupyterHub.concurrent_spawn_limit == 0


def test_without_a_queue_starts_have_the_limit_of_jupyterhub() -> None:
    c = config()
    limits.configure_starts(c, 0)
    assert (vars(c.HubSpawner), vars(c.JupyterHub)) == ({"concurrent_starts": 0}, {})


@pytest.mark.parametrize(("servers", "total", "limit"), [("auto", 8 * GIB, 128), (40, GIB, 40), (0, GIB, 0)])
def test_the_memory_of_all_servers_limits_their_number(servers: int | str, total: int, limit: int) -> None:
    c = config()
    limits.configure_servers(c, servers, total)
    assert c.JupyterHub.active_server_limit == limit


def test_without_a_limit_of_memory_servers_have_that_of_the_host() -> None:
    c = config()
    limits.configure_servers(c, "auto", 0)
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert c.JupyterHub.active_server_limit == host // limits.SERVER_MEMORY
