"""Old containers that accept no more connections and end with their last one.

Their names, ``<name>-draining-<time>``, are the whole state, so that the next run finds them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container, name_of

DRAINING = "-draining-"
# Seconds after which a container that drains is removed: front and proxy end after a day by themselves, if they can.
LONGEST = 25 * 3600


class Draining:
    """The old containers of one container.

    :param client: a low-level Docker client.
    :param name: name of the container that has replaced them.
    :param label: which all of them have, as Docker's filter: ``name`` or ``name=value``.
    :param signal: makes one of this name drain.
    """

    def __init__(self, client: Any, name: str, label: str, signal: Callable[[str], object]) -> None:
        self.client, self.name, self.label, self.signal = client, name, label, signal

    def ended(self) -> list[str]:
        """Return the names of those that have ended, or should have."""
        return [
            name_of(one)
            for one in self._all()
            if one["State"] in ("created", "exited", "dead") or self._age(name_of(one)) > LONGEST
        ]

    def open(self) -> list[str]:
        """Return the names of those that still have connections."""
        return [name_of(one) for one in self._all() if one["State"] == "running"]

    def remove_ended(self) -> None:
        """Remove those that have ended."""
        for name in self.ended():
            self.client.remove_container(name, force=True)

    def rename(self, name: str, then: str = "") -> str:
        """Give a container the name of one that drains; return that.

        :param name: of the container.
        :param then: the container that gets the name of the replaced one.
        """
        old = f"{self.name}{DRAINING}{time.time_ns()}"  # two may be replaced in one second
        self.client.rename(name, old)
        if then:
            self.client.rename(then, self.name)
        return old

    def drain(self, name: str) -> None:
        """Make a container drain, and not start again. One that has ended meanwhile is left as it is."""
        if not self._is_running(name):
            return
        try:
            if self._state(name).get("Paused"):
                self.client.unpause(name)  # Docker executes nothing in a paused container
            self.client.update_container(name, restart_policy={"Name": "no"})
            self.signal(name)
        except docker_errors.APIError:
            if self._is_running(name):
                raise  # otherwise its last connection has ended meanwhile

    def _all(self) -> list[dict[str, Any]]:
        found = self.client.containers(all=True, filters={"label": self.label})
        return [one for one in found if name_of(one).startswith(f"{self.name}{DRAINING}")]

    def _age(self, name: str) -> float:
        """Return the seconds since a container began to drain, which its name has; 0 if somebody else named it."""
        began = name.removeprefix(f"{self.name}{DRAINING}")
        return time.time() - int(began) / 10**9 if began.isdecimal() else 0.0

    def _is_running(self, name: str) -> bool:
        return bool(self._state(name).get("Running"))

    def _state(self, name: str) -> dict[str, Any]:
        return dict((inspect_container(self.client, name) or {}).get("State") or {})
