"""Run the steps for a hub's images in parallel, each as soon as its dependencies are done."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Callable

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.plan import BOOTSTRAP, BUILD, PULL, SAVE_CHOICE, SMOKE_TEST, Step

# Maximum number of parallel steps. Builds and pulls mostly wait for the network and the disk.
LIMIT = 4


class StoppedError(Exception):
    """A step stopped early because another step has failed."""


def check(stop: threading.Event) -> None:
    """Stop the calling step when another step has failed.

    :raises StoppedError: another step has failed.
    """
    if stop.is_set():
        raise StoppedError


def needs(step: Step, steps: Sequence[Step]) -> set[Step]:
    """Return the steps that must be done before a step."""
    if step.action == BUILD:
        return {other for other in steps if other.purpose == "base" and other.action in (BOOTSTRAP, PULL)}
    if step.action == SMOKE_TEST:
        return {other for other in steps if other.name == step.name and other.action in (BUILD, PULL)}
    if step.action == SAVE_CHOICE:
        return set(steps) - {step}
    return set()


def run(steps: Sequence[Step], apply: Callable[[Step, threading.Event], None], limit: int = LIMIT) -> None:
    """Run all steps, in parallel where they do not depend on each other.

    When one fails, no other is started, and running steps stop at their next :func:`check`.

    :param apply: runs one step; it gets the event that is set when another step has failed.
    :raises DeployError: the error of the first step that failed.
    """
    stop = threading.Event()
    waiting, done = list(steps), set[Step]()
    running: dict[Future[None], Step] = {}
    errors: list[BaseException] = []
    with ThreadPoolExecutor(max_workers=limit) as pool:
        while True:
            ready = [] if stop.is_set() else [step for step in waiting if needs(step, steps) <= done]
            for step in ready:
                waiting.remove(step)
                running[pool.submit(apply, step, stop)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step, error = running.pop(future), future.exception()
                if error is None:
                    done.add(step)
                else:
                    stop.set()
                    errors.append(error)
    errors = [error for error in errors if not isinstance(error, StoppedError)]
    # A bug is raised first, with its traceback.
    for error in sorted(errors, key=lambda error: isinstance(error, DeployError)):
        raise error
