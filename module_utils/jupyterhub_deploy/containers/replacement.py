"""The life of a container that is never without a successor or a predecessor: created beside the one that runs, proven,
swapped in, or taken back.

Names on the host, for a container called ``jupyterhub``: it is ``jupyterhub`` itself; ``jupyterhub-next`` is its
successor before the swap; ``jupyterhub-previous`` is its predecessor until the successor has answered;
``jupyterhub-check`` lives for a moment, when something is tried before anything is touched. The state of a
swap is in these names alone, so that whoever was killed half-way leaves something that
:meth:`SwappedContainer.recover` can bring back to one container.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers.container import POLL_SECONDS, DeployedContainer
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError

STOP_TIMEOUT = 20  # seconds that a container gets to end by itself; a hub needs about one
FAILURES: tuple[type[Exception], ...] = (DeployError, *DOCKER_ERRORS)


class Times(NamedTuple):
    """What a swap took, in seconds: ``down`` from the old one's stop to the new one's answer to users, ``start`` from
    the new one's start until it answered for itself."""

    down: float
    start: float


class SwappedContainer(DeployedContainer):
    """A container that another one can follow."""

    stands_by = ""

    def __init__(self, client: Any, name: str, public_probe: str, health_timeout: float) -> None:
        super().__init__(client, name, public_probe, health_timeout)
        self.next = f"{name}-next"
        self.previous = f"{name}-previous"
        self.trial = f"{name}-check"

    def can_stand_by(self) -> bool:
        """Tell whether the successor may be started beside the one that runs, and takes over by itself when that ends.

        One that may prints :attr:`stands_by` when it is ready.
        """
        return False

    def take_requests(self) -> None:
        """Have the successor that stands by take requests, which wait until it serves."""

    def before_return(self, container: dict[str, Any]) -> None:
        """Do what a predecessor needs before it can run again; ``container`` is the engine's description of it."""

    def unfinished(self) -> bool:
        """Tell whether a killed run left something behind."""
        return any(inspect_container(self.client, name) for name in (self.trial, self.next, self.previous))

    def recover(self) -> list[str]:
        """Finish what a killed run began; return a sentence for each thing done.

        A predecessor that is still aside while there is nothing in its place is put back. A predecessor beside a
        container stays, since that one has not been seen to answer yet: :meth:`bring_up` will decide, or :meth:`finish`
        when it answers.
        """
        done = []
        for name in (self.trial, self.next):
            if inspect_container(self.client, name):
                self._remove(name)
                done.append(f"removed {name}, left by an unfinished run")
        current, previous = self.observe(), inspect_container(self.client, self.previous)
        if current and previous:
            self.client.stop(self.previous, timeout=STOP_TIMEOUT)  # or the other would stand by for ever
        elif previous:
            self.before_return(previous)
            self.client.rename(self.previous, self.name)
            done.append(f"put {self.previous} back as {self.name}, left by an unfinished run")
        elif current and done and not current["State"]["Running"]:
            self.before_return(current)  # a successor that stood by has taken over, and perhaps changed things
        return done

    def bring_up(self, action: str) -> Times:
        """Carry out an action of ``container_plan.plan`` and see it answer; for a swap, the successor is there already.

        The predecessor stays aside until :meth:`finish`, so that the next run knows of one that was killed here.

        :raises DeployError: when it does not answer, with its last log lines, and with what runs now.
        """
        loading = self._start_beside() if action == "replace" and self.can_stand_by() else 0.0
        began = time.monotonic()
        try:
            if loading:
                self._hand_over()
            elif action in ("create", "replace"):
                self._swap_in()
            elif action == "start":
                self.client.start(self.name)
            else:
                self.client.restart(self.name, timeout=STOP_TIMEOUT)
            started = began if loading else time.monotonic()
            self.wait_until(self.answers, "answering its health check")
            start = loading + time.monotonic() - started
            self.wait_until(self.answers_users, f"reachable by users at {self.public_probe}")
            down = time.monotonic() - began
        except FAILURES as error:
            raise self._after_failure(action, error) from error
        return Times(down, start)

    def finish(self) -> list[str]:
        """Remove a predecessor, because the container has answered; return a sentence for what was done."""
        if not inspect_container(self.client, self.previous):
            return []
        self._remove(self.previous)
        return [f"removed {self.previous}, left by an unfinished run"]

    def _start_beside(self) -> float:
        """Start the successor beside the one that runs, and see it stand by; return how many seconds that took.

        :raises DeployError: when it does not. The one that runs is as it was.
        """
        began = time.monotonic()
        try:
            self.client.start(self.next)
            self.wait_until(
                lambda: self.stands_by in self.client.logs(self.next).decode(errors="replace"), "loaded", self.next
            )
        except FAILURES as error:
            self._remove_if_there(self.next)
            raise DeployError(
                f"the new {self.what} does not start, so the one that runs was left as it was: {error}"
            ) from error
        return time.monotonic() - began

    def _hand_over(self) -> None:
        """End the one that runs, and give its name to the successor that stands by."""
        self._keep_one()
        if self.observe():
            self.take_requests()
            # Not stop(), which returns only when all of the container has been cleared away.
            self.client.kill(self.name, signal="SIGTERM")
            self.client.rename(self.name, self.previous)
        self.client.rename(self.next, self.name)
        deadline = time.monotonic() + STOP_TIMEOUT
        while not self.answers() and not self.given_up():
            if time.monotonic() > deadline:
                self.client.stop(self.previous, timeout=0)
                break
            time.sleep(POLL_SECONDS)

    def _swap_in(self) -> None:
        """Put the successor in the place of the one that runs, which stays aside, stopped."""
        self._keep_one()
        if self.observe():
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
            self.client.rename(self.name, self.previous)
        self.client.rename(self.next, self.name)
        self.client.start(self.name)

    def _keep_one(self) -> None:
        """Keep the one that works, if a run was killed before it had seen its successor answer."""
        if self.observe() and inspect_container(self.client, self.previous):
            self._remove(self.previous if self.answers() else self.name)

    def _after_failure(self, action: str, error: Exception) -> DeployError:
        """Put the predecessor back after ``error``; return what to tell the operator."""
        try:
            if not self._take_back(action):
                return DeployError(f"the {self.what} failed: {error}")
            self.wait_until(self.answers, "answering its health check after it was put back")
        except FAILURES as second:
            return DeployError(
                f"the new {self.what} failed, and the one that ran before does not run either: {second}. "
                f"Mend that and run site.yml again: it begins by putting {self.name} right. The first failure: {error}"
            )
        return DeployError(f"the new {self.what} failed, the one that ran before was put back: {error}")

    def _take_back(self, action: str) -> bool:
        """Remove a container that failed and start its predecessor; ``False`` when there is none."""
        self._remove_if_there(self.next)
        previous = inspect_container(self.client, self.previous)
        if previous:
            self._remove_if_there(self.name)
            self.client.stop(self.previous, timeout=STOP_TIMEOUT)  # it may only have been told to end
            self.before_return(previous)
            self.client.rename(self.previous, self.name)
        if previous or action == "replace":
            self.client.start(self.name)
            return True
        if action == "create":
            # Without this the engine would start it again and again; its log stays readable.
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
        return False
