"""Limits of users' servers are checked before a run."""

from __future__ import annotations

from typing import Any

import pytest

from jupyterhub_limits import problems

SIZE = "use a size such as 512M or 2G, or 0 for no limit"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"memory_limit": "auto", "cpu_limit": 0.0, "pids_limit": 4096, "shm_size": "1G", "group_limits": {}},
        {"memory_limit": 0, "cpu_limit": 1.5, "pids_limit": 0, "shm_size": "1M", "tmp_size": 0},
        {"cull_idle_seconds": 120, "cull_max_age_seconds": 0, "cull_kernels_seconds": 0},
        {"memory_limit": 2 * 2**30, "shm_size": "1.5G", "disk_limit": "10G"},
        {
            "group_limits": {
                "gpu": {"memory": "32G", "cpu": 8, "pids": 8192, "shm_size": "8G", "tmp_size": "4G", "disk": "50G"},
                "staff": {},
            }
        },
        {"memory_limit": "4G", "total_memory_limit": "4096M", "group_limits": {"staff": {"memory": 2**32}}},
        {"memory_limit": "4G", "total_memory_limit": 0, "group_limits": {"staff": {"memory": "8G"}}},
        {"memory_limit": "4G", "total_memory_limit": "auto"},
        {"memory_limit": "auto", "total_memory_limit": "1G", "group_limits": {"staff": {"memory": 0}}},
        {"concurrent_starts": "auto", "server_limit": "auto"},
        {"concurrent_starts": 0, "server_limit": 40},
        {"concurrent_starts": "8", "server_limit": "0"},  # as -e passes them
    ],
)
def test_valid_limits(settings: dict[str, Any]) -> None:
    assert list(problems(settings)) == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("memory_limit", "2 GB", f"is '2 GB'; {SIZE}"),
        ("memory_limit", "lots", f"is 'lots'; {SIZE}"),
        ("memory_limit", -1, f"is -1; {SIZE}"),
        ("memory_limit", None, f"is None; {SIZE}"),
        ("memory_limit", True, f"is True; {SIZE}"),
        ("memory_limit", ["2G"], f"is ['2G']; {SIZE}"),
        ("memory_limit", 2, "is 2; use at least 128M, or 0 for no limit"),
        ("memory_limit", "64M", "is 64M; use at least 128M, or 0 for no limit"),
        ("shm_size", "auto", "is 'auto'; use a size such as 512M or 2G"),
        ("shm_size", 0, "is 0; use at least 1M"),
        ("shm_size", "1K", "is 1K; use at least 1M"),
        ("tmp_size", "1K", "is 1K; use at least 16M, or 0 for no limit"),
        ("disk_limit", "10 GB", f"is '10 GB'; {SIZE}"),
        ("disk_limit", "1M", "is 1M; use at least 64M, or 0 for no limit"),
        ("cpu_limit", -2.0, "is -2.0; use a number of at least 0.1, or 0 for no limit"),
        ("cpu_limit", 0.01, "is 0.01; use a number of at least 0.1, or 0 for no limit"),
        ("cull_idle_seconds", 60, "is 60; use a whole number of at least 120, or 0 for no limit"),
        ("cull_idle_seconds", -1, "is -1; use a whole number of at least 120, or 0 for no limit"),
        ("cull_kernels_seconds", 1, "is 1; use a whole number of at least 120, or 0 for no limit"),
        ("cull_max_age_seconds", 300, "is 300; use a whole number of at least 600, or 0 for no limit"),
        ("concurrent_starts", -1, "is -1; use auto, a whole number, or 0 to start all servers at once"),
        ("concurrent_starts", "many", "is 'many'; use auto, a whole number, or 0 to start all servers at once"),
        ("server_limit", 2.5, "is 2.5; use auto, a whole number, or 0 for no limit"),
        ("server_limit", None, "is None; use auto, a whole number, or 0 for no limit"),
        ("server_limit", True, "is True; use auto, a whole number, or 0 for no limit"),
        ("pids_limit", 5, "is 5; use a whole number of at least 100, or 0 for no limit"),
        (
            "group_limits",
            {"a": {"pids": 800.0}},
            ": a: pids is 800.0; use a whole number of at least 100, or 0 for no limit",
        ),
        (
            "group_limits",
            {"gpu": {"cpu": float("inf")}},
            ": gpu: cpu is inf; use a number of at least 0.1, or 0 for no limit",
        ),
        ("group_limits", {"gpu": "32G"}, ": gpu is not a dictionary; use one such as {memory: 8G, cpu: 4}"),
        (
            "group_limits",
            {"gpu": {"ram": "32G"}},
            ": gpu has ram, which is not known; use memory, cpu, pids, shm_size, tmp_size, disk",
        ),
        ("group_limits", {"gpu": {"memory": "auto"}}, f": gpu: memory is 'auto'; {SIZE}"),
        ("group_limits", {"gpu": {"cpu": "8"}}, ": gpu: cpu is '8'; use a number of at least 0.1, or 0 for no limit"),
    ],
)
def test_an_invalid_limit_is_one_problem(name: str, value: Any, problem: str) -> None:
    space = "" if problem.startswith(":") else " "
    assert list(problems({name: value})) == [f"{name}{space}{problem}"]


def test_a_server_cannot_have_more_memory_than_all_servers_together() -> None:
    found = problems({
        "memory_limit": "8G", "total_memory_limit": "4G",
        "group_limits": {"students": {"memory": "2G"}, "staff": {"memory": "16G"}},
    })  # fmt: skip
    advice = "and all servers together have 4G; use at most 4G, or set a higher jupyterhub_total_memory_limit"
    assert list(found) == [f"memory_limit is 8G, {advice}", f"group_limits: staff: memory is 16G, {advice}"]
