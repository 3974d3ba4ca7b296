"""Replace a container with rollback: start the new one beside the old, switch over, or restore the old one.

Names on the host, for a container called ``jupyterhub``: ``jupyterhub-next`` is its replacement before the switch;
``jupyterhub-previous`` is the old container until the new one has answered; ``jupyterhub-check`` exists for a moment,
while something is tried before anything is changed. These names are the whole state of a replacement, so that
:meth:`ReplaceableContainer.recover` can clean up after a run that was killed at any moment.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers.container import DeployedContainer
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

STOP_TIMEOUT = 20  # seconds that a container gets to end by itself; a hub needs about one


class Times(NamedTuple):
    """How long a replacement took, in seconds: ``down`` from the stop of the old container until users got an answer
    from the new one, ``start`` from the start of the new one until it was healthy."""

    down: float
    start: float


class ReplaceableContainer(DeployedContainer):
    """A container that another one can replace."""

    def __init__(self, client: Any, name: str, public_probe: str, health_timeout: float) -> None:
        super().__init__(client, name, public_probe, health_timeout)
        self.next = f"{name}-next"
        self.previous = f"{name}-previous"
        self.trial = f"{name}-check"

    def names(self) -> list[str]:
        """Return the names of all containers that a replacement creates, renames or removes."""
        return [self.name, self.next, self.previous, self.trial]

    def supports_standby(self) -> bool:
        """Return whether the replacement may start beside the old container and takes over when that ends."""
        return False

    def is_on_standby(self) -> bool:
        """Return whether the replacement has loaded and waits for the old container to end."""
        return False

    def take_requests(self) -> None:
        """Make a replacement on standby accept requests, which wait until it serves."""

    def before_rollback(self, container: dict[str, Any]) -> None:
        """Do what an old container needs before it can run again.

        :param container: Docker's description of it.
        """

    def has_leftovers(self) -> bool:
        """Return whether a killed run left one of its containers behind."""
        return any(inspect_container(self.client, name) for name in (self.trial, self.next, self.previous))

    def recover(self) -> list[str]:
        """Clean up after a killed run; return a message for each thing done.

        An old container is restored when nothing has its name. When the new container exists too, the old one is kept,
        because the new one has perhaps never answered: :meth:`apply` decides, or :meth:`remove_old` once it answers.
        """
        messages = []
        for name in (self.trial, self.next):
            if inspect_container(self.client, name):
                self._remove(name)
                messages.append(f"removed {name}, left by an unfinished run")
        current, previous = self.observe(), inspect_container(self.client, self.previous)
        if current and previous:
            self.client.stop(self.previous, timeout=STOP_TIMEOUT)  # or the new container would wait on standby for ever
        elif previous:
            if not previous["State"]["Running"]:  # otherwise it still serves
                self.before_rollback(previous)
            self.client.rename(self.previous, self.name)
            messages.append(f"restored {self.name} from {self.previous}, left by an unfinished run")
        elif current and messages and not current["State"]["Running"]:
            self.before_rollback(current)  # a replacement on standby has taken over, and perhaps changed things
        return messages

    def apply(self, action: str) -> Times:
        """Carry out an action of ``spec.plan`` and wait until the container answers.

        To replace or create it, the replacement has to exist. The old container stays until :meth:`remove_old`, so that
        the next run recognises a run that was killed here.

        :raises DeployError: it does not answer; with its last log lines, and with what runs now.
        """
        loading = self._start_on_standby() if action == "replace" and self.supports_standby() else 0.0
        began = time.monotonic()
        try:
            if loading:
                self._hand_over()
            elif action in ("create", "replace"):
                self._stop_and_start()
            elif action == "start":
                self.client.start(self.name)
            else:
                self.client.restart(self.name, timeout=STOP_TIMEOUT)
            started = began if loading else time.monotonic()
            self.wait_until(self.is_healthy, "answering its health check")
            start = loading + time.monotonic() - started
            self.wait_until(self.is_reachable, f"reachable by users at {self.public_probe}")
            down = time.monotonic() - began
        except FAILURES as error:
            raise self.restore_old(action, error) from error
        return Times(down, start)

    def discard_replacement(self) -> None:
        """Remove the replacement that has not taken over."""
        self._remove_if_exists(self.next)

    def remove_old(self) -> list[str]:
        """Remove the old container, now that the new one answers; return a message if that was done."""
        if not inspect_container(self.client, self.previous):
            return []
        self._remove(self.previous)
        return [f"removed {self.previous}, left by an unfinished run"]

    def _start_on_standby(self) -> float:
        """Start the replacement beside the old container and wait until it is on standby; return the seconds it took.

        :raises DeployError: it does not get there. The old container was not touched.
        """
        began = time.monotonic()
        try:
            self.client.start(self.next)
            self.wait_until(self.is_on_standby, "loaded", self.next)
        except FAILURES as error:
            self._remove_if_exists(self.next)
            raise DeployError(
                f"the new {self.what} does not start, so the running one was left as it was: {error}"
            ) from error
        return time.monotonic() - began

    def _hand_over(self) -> None:
        """End the old container, and give its name to the replacement on standby."""
        self._keep_one()
        replaces = bool(self.observe())
        if replaces:
            self.take_requests()
            self.client.rename(self.name, self.previous)
        # For a moment, this removes a container's names from Docker's DNS. So both have to accept requests now.
        self.client.rename(self.next, self.name)
        if replaces:
            # Not stop(), which returns only when all of the container has been cleared away.
            self.client.kill(self.previous, signal="SIGTERM")
        if not wait_until(lambda: self.is_healthy() or self.has_crashed(), STOP_TIMEOUT):
            self.client.stop(self.previous, timeout=0)

    def _stop_and_start(self) -> None:
        """Stop the old container, then start the replacement under its name."""
        self._keep_one()
        if self.observe():
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
            self.client.rename(self.name, self.previous)
        self.client.rename(self.next, self.name)
        self.client.start(self.name)

    def _keep_one(self) -> None:
        """Remove one of two old containers, left by a run that was killed before the newer one answered."""
        if self.observe() and inspect_container(self.client, self.previous):
            self._remove(self.previous if self.is_healthy() else self.name)

    def restore_old(self, action: str, error: Exception) -> DeployError:
        """Restore the old container after a failure; return the error for the operator.

        :param action: what :meth:`apply` did.
        """
        try:
            if not self._roll_back(action):
                return DeployError(f"the {self.what} failed: {error}")
            self.wait_until(self.is_healthy, "answering its health check after it was restored")
        except FAILURES as second:
            return DeployError(
                f"the new {self.what} failed, and the old one does not run either: {second}. Fix that and run make "
                f"site again: it first restores {self.name}. The first failure: {error}"
            )
        return DeployError(f"the new {self.what} failed, and the old one was restored: {error}")

    def _roll_back(self, action: str) -> bool:
        """Remove a container that failed and start the old one; return whether there is an old one."""
        self._remove_if_exists(self.next)
        previous = inspect_container(self.client, self.previous)
        if previous:
            self._remove_if_exists(self.name)
            self.client.stop(self.previous, timeout=STOP_TIMEOUT)  # the signal may not have ended it yet
            self.before_rollback(previous)
            self.client.rename(self.previous, self.name)
        if previous or action == "replace":
            self.client.start(self.name)
            return True
        if action == "create":
            # Otherwise Docker would start it again and again; its log stays readable.
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
        return False
