"""Pause containers while their volume is read, and always unpause them, also when this process is killed.

This process unpauses them as soon as tar has ended. A watchdog (``backup.pause_watchdog``) does so when this process is
killed. And a file beside the backups names each container that was paused here, so that the next run can unpause it if
the watchdog was killed, too. Containers that somebody else has paused stay paused.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import pause_watchdog
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container, name_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

MARK = re.compile(r"\.paused-([0-9a-f]{64})-[0-9a-f]{8}")


class Pauses:
    """The containers that this run has paused. Several threads may pause the same one: the last of them unpauses it.

    :param directory: of the backups; the caller holds its lock.
    """

    def __init__(self, client: Any, directory: str) -> None:
        self.client = client
        self.directory = directory
        self._lock = threading.Lock()
        self._users: dict[str, int] = {}
        self._marks: dict[str, str] = {}
        self._watchdog: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def paused(self, identity: str) -> Iterator[None]:
        """Pause a container in this context.

        :param identity: its full id; it is running.
        :raises DeployError: it cannot be paused, or cannot be unpaused.
        """
        with self._lock:
            if not self._users.get(identity):
                self._pause(identity)
            self._users[identity] = self._users.get(identity, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._users[identity] -= 1
                if not self._users[identity] and identity in self._marks:
                    unpause(self.client, identity)
                    self._mark_done(identity)

    def close(self) -> None:
        """End the watchdog."""
        if self._watchdog and self._watchdog.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it still has containers to unpause, and continues
                self._watchdog.wait(5)

    def _pause(self, identity: str) -> None:
        mark = os.path.join(self.directory, f".paused-{identity}-{secrets.token_hex(4)}")
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._marks[identity] = mark
        try:
            self._send(f"pausing {identity} {mark}")
        except DeployError:
            self._mark_done(identity)
            raise
        try:
            self.client.pause(identity)
        except docker_errors.APIError as error:
            self._mark_done(identity)
            found = (inspect_container(self.client, identity) or {}).get("State", {})
            if found.get("Running") and not found.get("Paused"):
                raise DeployError(f"it cannot be paused: {error}") from error
            return  # it has ended, or somebody else has paused it: either way it does not write
        try:
            self._send(f"paused {identity}")
        except DeployError:
            unpause(self.client, identity)
            self._mark_done(identity)
            raise

    def _mark_done(self, identity: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._marks.pop(identity))
        self._send(f"done {identity}")

    def _send(self, line: str) -> None:
        if not self._watchdog:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-c", inspect.getsource(pause_watchdog)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                text=True,
                start_new_session=True,  # signals to our process group must not reach it
            )
        assert self._watchdog.stdin  # noqa: S101  (for mypy)
        try:
            self._watchdog.stdin.write(f"{line}\n")
            self._watchdog.stdin.flush()
        except BrokenPipeError as error:
            if line.startswith("done "):
                return
            raise DeployError(
                "the process that would unpause containers when this one is killed has ended; nothing more is paused"
            ) from error


def unpause(client: Any, identity: str) -> str | None:
    """Unpause a container if it is paused; return its name if it was.

    :raises DeployError: Docker reports an error.
    """
    found = inspect_container(client, identity)
    if not found or not found["State"]["Paused"]:
        return None
    name = name_of(found)
    try:
        client.unpause(identity)
    except docker_errors.APIError as error:
        now = inspect_container(client, identity)
        if now and now["State"]["Paused"]:
            raise DeployError(
                f"container {name} cannot be unpaused: {error}; run `docker unpause {name}`, or its server stays paused"
            ) from error
    return name


def recover(client: Any, directory: str) -> list[str]:
    """Unpause the containers that a killed run has left paused; return what was done. The caller holds the lock.

    :raises DeployError: Docker reports an error.
    """
    done = []
    for entry in sorted(os.listdir(directory)):
        match = MARK.fullmatch(entry)
        if match:
            name = unpause(client, match[1])
            with contextlib.suppress(FileNotFoundError):  # the watchdog of that run may remove it at the same time
                os.unlink(os.path.join(directory, entry))
            if name:
                done.append(f"container {name}, which it had left paused")
    return done
