"""How many servers of a rehearsal fit beside those of real users."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.rehearsal import plan
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import MIB, Memory, Places, Wanted

from jupyterhub_deploy_hub import limits, names

GIB = 1024 * MIB
HOST = Memory(16 * GIB, 8 * GIB)
NO_LIMIT = Places(2, 0, True)


def test_the_hub_image_has_the_same_constants() -> None:
    assert (plan.PREFIX, plan.AUTOMATIC_MEMORY) == (names.REHEARSAL_PREFIX, limits.SERVER_MEMORY)


def test_temporary_users_are_counted_from_one() -> None:
    assert plan.names(2) == ["rehearsal-1", "rehearsal-2"]
    assert plan.names(0) == []


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (Wanted(1), "rehearsal-1, all at once"),
        (Wanted(60), "rehearsal-1 to rehearsal-60, all at once"),
        (Wanted(60, 60), "rehearsal-1 to rehearsal-60, all at once"),
        (Wanted(60, 5, True), "rehearsal-1 to rehearsal-60, 5 at a time, each with a kernel"),
    ],
)
def test_the_plan_in_words(wanted: Wanted, shown: str) -> None:
    assert wanted.shown() == shown


@pytest.mark.parametrize(
    ("setting", "total", "limit"), [("auto", 0, 256), ("auto", 8 * GIB, 128), (40, 0, 40), (0, 0, 0)]
)
def test_the_server_limit_of_the_hub(setting: int | str, total: int, limit: int) -> None:
    assert plan.server_limit(setting, total, 16 * GIB) == limit


@pytest.mark.parametrize(("wanted", "name"), [(Wanted(-1), "users"), (Wanted(1, -2), "at_once")])
def test_a_negative_number_is_refused(wanted: Wanted, name: str) -> None:
    with pytest.raises(DeployError, match=rf"^{name} is -\d; use a whole number of 0 or more; nothing was changed$"):
        plan.check_numbers(wanted)


def test_what_all_servers_together_can_use_is_less_than_the_host_has() -> None:
    memory = HOST._replace(used=3 * GIB, limit=4 * GIB)
    assert memory.left() == GIB - 256 * MIB
    assert "3.2 GB of 4.3 GB (jupyterhub_total_memory_limit)" in memory.shown()
    assert HOST.left() == 8 * GIB - 16 * GIB // 20
    assert HOST.shown() == "the host has 8.6 GB available, and 859.0 MB stay free"


@pytest.mark.parametrize(
    ("wanted", "memory", "places", "disk", "most"),
    [
        (Wanted(74), HOST, NO_LIMIT, 100 * GIB, 73),
        (Wanted(60, 0, True), HOST, NO_LIMIT, 100 * GIB, 40),
        (Wanted(60), HOST._replace(used=0, limit=2 * GIB), NO_LIMIT, 100 * GIB, 17),
        (Wanted(35), HOST, Places(2, 40, True), 100 * GIB, 34),  # a tenth of the places is for real users
        (Wanted(5), HOST, Places(2, 5, True), 100 * GIB, 2),
        (Wanted(20), HOST, NO_LIMIT, GIB + 200 * MIB, 10),
    ],
    ids=["memory", "kernels", "all servers together", "places", "few places", "disk"],
)
def test_too_many_users_are_refused_with_the_number_that_fits(
    wanted: Wanted, memory: Memory, places: Places, disk: int, most: int
) -> None:
    with pytest.raises(DeployError, match=rf"only {most} more .*nothing was changed; pass -e users={most} or less"):
        plan.check_space(wanted, memory, places, disk)
    plan.check_space(wanted._replace(users=most), memory, places, disk)


def test_a_host_without_space_says_so() -> None:
    with pytest.raises(
        DeployError, match=r"only 0 more servers fit: .* real users; .*; stop servers that nobody needs"
    ):
        plan.check_space(Wanted(1), HOST, Places(40, 40, True), 100 * GIB)


def test_a_hub_without_a_queue_is_not_filled_with_starts() -> None:
    places = NO_LIMIT._replace(queue=False)
    with pytest.raises(
        DeployError, match=r"^the hub has no queue .*; nothing was changed; pass -e at_once=50 or less$"
    ):
        plan.check_space(Wanted(60), HOST, places, 100 * GIB)
    plan.check_space(Wanted(60, 50), HOST, places, 100 * GIB)
    plan.check_space(Wanted(60), HOST, NO_LIMIT, 100 * GIB)
