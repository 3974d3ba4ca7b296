"""The report of a rehearsal."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.rehearsal import summary
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import MIB, Memory, Places, Wanted
from ansible.module_utils.jupyterhub_deploy.rehearsal.starts import Start
from ansible.module_utils.jupyterhub_deploy.rehearsal.summary import Latency, Measured

BEFORE = Memory(10_000 * MIB, 5_000 * MIB)
MEASURED = Measured(
    [80 * MIB, 100 * MIB, 120 * MIB],
    BEFORE,
    BEFORE._replace(available=4_600 * MIB),
    4_500 * MIB,
    Places(4, 0, True),
    Latency([0.01] * 10),
    Latency([0.02] * 18 + [0.3, 1.5], 1),
)


def test_all_have_started() -> None:
    starts = [Start(3.0), Start(4.0, "", 1, 1.5), Start(48.2, "", 2, 41.0)]
    assert summary.report(Wanted(3), starts, MEASURED, "") == [
        "temporary users: rehearsal-1 to rehearsal-3, all at once",
        "started: 3 of 3",
        "time until ready: median 4.0 s, slowest 48 s",
        "queue: 2 users waited in it, the last as number 2, for 41 s at most",
        "memory of their servers: 314.6 MB together, 104.9 MB each on average, 125.8 MB at most",
        "available memory of the host: 5.2 GB before, 4.8 GB with these servers, 4.7 GB at the least",
        "sign-in page of the hub before: median 10 ms, p95 10 ms, slowest 10 ms",
        "sign-in page during the starts: median 20 ms, p95 300 ms, slowest 1.5 s; 1 request failed",
        "3 of 3 servers started; the slowest user waited 48 s; the host has memory for about 41 more servers of this "
        "size",
    ]


def test_each_kind_of_failure_is_shown_with_its_number() -> None:
    starts = [Start(2.0), Start(None, "no place"), Start(None, "no\nplace"), Start(None, "no place"), Start()]
    lines = summary.report(Wanted(5, 1, True), starts, MEASURED._replace(servers=[]), "alice waits")
    assert lines[:6] == [
        "temporary users: rehearsal-1 to rehearsal-5, 1 at a time, each with a kernel",
        "started: 1 of 5",
        "time until ready: median 2.0 s, slowest 2.0 s",
        "failed: 3",
        "  2: no place",
        "  1: no place",
    ]
    assert "not ready when the rehearsal was stopped: 1" in lines
    assert "queue: nobody saw a position in it" in lines
    assert "kernels: 1 of 1 started" in lines
    assert lines[-1] == (
        "the rehearsal was stopped early: alice waits; 1 of 5 servers started; the slowest user waited 2.0 s"
    )


def test_kernels_that_do_not_start_are_shown() -> None:
    starts = [Start(2.0), Start(2.0, kernel="the server answers 500")]
    lines = summary.report(Wanted(2, 0, True), starts, MEASURED, "")
    assert lines[4:6] == ["kernels: 1 of 2 started", "  1: the server answers 500"]


def test_the_report_fits_on_a_screen_whatever_fails() -> None:
    starts = [Start(None, f"reason {number} {'x' * 1000}") for number in range(60)]
    lines = summary.report(Wanted(60), starts, MEASURED, "")
    assert len(lines) < 20
    assert max(map(len, lines)) < 320
    assert "  and 55 other reasons" in lines


def test_a_smaller_limit_of_servers_is_shown() -> None:
    measured = MEASURED._replace(places=Places(4, 10, True))
    assert summary.conclusion([Start(1.0)], measured, "").endswith(
        "about 41 more servers of this size; jupyterhub_server_limit allows 6 more"
    )
    assert "limit" not in summary.conclusion([Start(1.0)], MEASURED._replace(places=Places(4, 100, True)), "")


def test_a_server_without_memory_has_ended_and_does_not_count() -> None:
    assert summary.servers_left(MEASURED._replace(servers=[0, 100 * MIB])) == 41
    assert summary.servers_left(MEASURED._replace(servers=[0])) is None


def test_a_hub_that_does_not_answer() -> None:
    assert summary.latency(Latency([], 2)) == "no answer; 2 requests failed"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 10), (0.95, 19), (1, 20), (0.01, 1)])
def test_quantiles(share: float, expected: int) -> None:
    assert summary.quantile(range(1, 21), share) == expected
    assert summary.quantile([7], share) == 7
