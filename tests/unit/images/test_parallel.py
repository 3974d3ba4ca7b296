"""Which steps for images run in parallel, and what happens when one fails."""

from __future__ import annotations

import threading

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import parallel
from ansible.module_utils.jupyterhub_deploy.images.plan import BOOTSTRAP, BUILD, PULL, SAVE_CHOICE, SMOKE_TEST, Step

BASE = Step(BOOTSTRAP, "base", "base:1", "")
HUB, PROXY, NOTEBOOK = (Step(BUILD, purpose, f"{purpose}:1", "") for purpose in ("hub", "proxy", "notebook"))
TEST = Step(SMOKE_TEST, "notebook", "notebook:1", "")
EXTRA, EXTRA_TEST = Step(PULL, "extra", "extra:1", ""), Step(SMOKE_TEST, "extra", "extra:1", "")
CHOICE = Step(SAVE_CHOICE, "choice", "/etc/choice", "")
STEPS = [EXTRA, EXTRA_TEST, BASE, HUB, PROXY, NOTEBOOK, TEST, CHOICE]


def test_each_step_needs_only_what_it_uses() -> None:
    assert parallel.needs(EXTRA, STEPS) == parallel.needs(BASE, STEPS) == set()
    assert parallel.needs(EXTRA_TEST, STEPS) == {EXTRA}
    assert parallel.needs(PROXY, STEPS) == {BASE}
    assert parallel.needs(TEST, STEPS) == {NOTEBOOK}
    assert parallel.needs(CHOICE, STEPS) == {*STEPS} - {CHOICE}


def test_a_step_starts_after_those_that_it_needs() -> None:
    done: list[Step] = []

    def apply(step: Step, stop: threading.Event) -> None:
        assert parallel.needs(step, STEPS) <= set(done)
        done.append(step)

    parallel.run(STEPS[::-1], apply)
    assert sorted(done) == sorted(STEPS)


def test_builds_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    def apply(step: Step, stop: threading.Event) -> None:
        if step.action == BUILD:
            together.wait()

    parallel.run([BASE, HUB, PROXY, NOTEBOOK], apply)


def test_after_a_failure_the_others_stop_and_nothing_starts() -> None:
    started: list[Step] = []
    both_run = threading.Barrier(2, timeout=20)

    def apply(step: Step, stop: threading.Event) -> None:
        started.append(step)
        both_run.wait()
        if step == EXTRA:
            raise DeployError("no such image")
        assert stop.wait(20)
        parallel.check(stop)

    with pytest.raises(DeployError, match="no such image"):
        parallel.run([EXTRA, EXTRA_TEST, BASE, HUB], apply)
    assert sorted(started) == sorted([BASE, EXTRA])


def test_a_bug_is_raised_before_an_error_of_the_operator() -> None:
    together = threading.Barrier(2, timeout=20)

    def apply(step: Step, stop: threading.Event) -> None:
        together.wait()
        raise DeployError("a wrong name") if step == BASE else ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parallel.run([BASE, EXTRA], apply)
