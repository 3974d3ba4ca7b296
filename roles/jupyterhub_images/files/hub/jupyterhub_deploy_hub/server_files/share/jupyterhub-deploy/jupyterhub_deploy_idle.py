"""Extension of Jupyter Server: use of the server, when the hub stops it, kernels that have ended, and the disk use.

The hub adds this file to the containers of users' servers, whose Python may be older than the hub's.
"""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from typing import Any, Callable

from jupyter_server._tz import utcnow
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.httpclient import AsyncHTTPClient

#: The page warns so many seconds before the end, and at most in the last fifth of the limit.
WARN_SECONDS = 300
#: The setting of Jupyter Server's web application with the kernels that ended unused, until a user has read it.
ENDED = "jupyterhub_deploy_ended_kernels"
#: Seconds between two questions to the hub, which measures every ten minutes.
DISK_SECONDS = 120


def last_activity(original: Callable[[], datetime], kernels: Any, terminals: Any) -> datetime:
    """Return when the server was used last: now while a kernel computes or a command runs in a terminal.

    Args:
        original: Jupyter Server's own answer, which knows neither of them.
        kernels, terminals: by their ids.
    """
    if any(getattr(kernel, "execution_state", "") == "busy" for kernel in kernels.values()):
        return utcnow()
    if any(runs_command(terminal.ptyproc) for terminal in terminals.values()):
        return utcnow()
    return max([original(), *(terminal.last_activity for terminal in terminals.values())])


def runs_command(process: Any) -> bool:
    """Return whether a command of a terminal's shell is in the foreground. With one, the shell is not."""
    try:
        return os.tcgetpgrp(process.fd) not in (0, process.pid)  # 0: the shell is about to start
    except (OSError, ValueError):  # the terminal has just ended
        return False


def end(now: datetime, used: datetime, started: datetime, idle: int, max_age: int) -> dict[str, Any]:
    """Return when the hub stops the server, how long before the page warns (both in seconds), and if use prevents it.

    Args:
        used: the last use.
        idle, max_age: the limits in seconds; 0 means none.
    """
    ends = []
    if idle:
        ends.append((used + timedelta(seconds=idle), idle, True))
    if max_age:
        ends.append((started + timedelta(seconds=max_age), max_age, False))
    if not ends:
        return {"stops_in": None, "warn_before": 0, "can_stay": False}
    stops_at, limit, can_stay = min(ends)
    warn_before = min(WARN_SECONDS, limit / 5)
    return {"stops_in": (stops_at - now).total_seconds(), "warn_before": warn_before, "can_stay": can_stay}


class DiskUse:
    """What the hub has measured: ``used`` and ``limit`` in bytes, and the ``warning`` for the user."""

    def __init__(self) -> None:
        self._ask_at = 0.0
        self._answer: dict[str, Any] | None = None

    async def get(self) -> dict[str, Any] | None:
        """Return the last answer, an empty one if the hub does not answer, None without a limit."""
        if "JUPYTERHUB_DEPLOY_DISK_LIMIT" not in os.environ:
            return None
        if time.monotonic() > self._ask_at:
            self._ask_at = time.monotonic() + DISK_SECONDS
            self._answer = await self._ask()
        return self._answer or {}

    async def _ask(self) -> dict[str, Any]:
        url, token = (os.environ.get(f"JUPYTERHUB_API_{name}", "") for name in ("URL", "TOKEN"))
        try:
            answer = await AsyncHTTPClient().fetch(
                url + "/deploy/disk", headers={"Authorization": "token " + token}, request_timeout=5
            )
            return dict(json.loads(answer.body))
        except Exception:  # whatever it is, the page works without
            return {}


class IdleHandler(APIHandler):
    """GET: when the hub stops the server, how many unused kernels have ended, and the disk use.

    POST: the same, and the server is used at this moment. DELETE: the same, and the user has read of the kernels.
    """

    _track_activity = False

    def initialize(self, disk: DiskUse) -> None:
        """Get what all requests share."""
        self.disk = disk

    @web.authenticated
    async def get(self) -> None:
        names = ("IDLE", "MAX_AGE", "KERNELS")
        idle, max_age, kernels = (int(os.environ.get(f"JUPYTERHUB_DEPLOY_CULL_{name}", "0")) for name in names)
        disk = await self.disk.get()
        found = end(utcnow(), self.application.last_activity(), self.settings["started"], idle, max_age)
        ended = {"ends_kernels": bool(kernels), "ended_kernels": len(self.settings[ENDED])}
        self.finish(json.dumps({**found, **ended, "disk": disk}))

    @web.authenticated
    async def post(self) -> None:
        self.settings["page_last_activity"] = utcnow()  # Jupyter Server reads all settings with such a name
        await self.get()

    @web.authenticated
    async def delete(self) -> None:
        self.settings[ENDED].clear()
        await self.get()


def note_ended(manager: Any) -> list[str]:
    """Return a list to which `manager` adds the ids of kernels that it ends because nobody uses them."""
    ended: list[str] = []
    original = manager.cull_kernel_if_idle

    async def cull_kernel_if_idle(kernel: str) -> None:
        is_dead = getattr(manager.get_kernel(kernel), "execution_state", "") == "dead"
        await original(kernel)
        if kernel not in manager and not is_dead:
            ended.append(kernel)

    manager.cull_kernel_if_idle = cull_kernel_if_idle
    return ended


def is_use(method: str, path: str) -> bool:
    """Return whether an API request means that somebody uses the server.

    An open page of JupyterLab alone reads files, kernels and terminals, and saves its layout, every 10 seconds.
    """
    return method not in ("GET", "HEAD") and "/api/workspaces/" not in path


def _count_use_only() -> None:
    original = APIHandler.update_api_activity

    def update_api_activity(self: Any) -> None:
        if is_use(self.request.method, self.request.path):
            original(self)

    APIHandler.update_api_activity = update_api_activity


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_deploy_idle"}]


def _load_jupyter_server_extension(app: Any) -> None:
    _count_use_only()
    manager, original = app.kernel_manager, app.web_app.last_activity

    def used() -> datetime:
        terminals = getattr(app.web_app.settings.get("terminal_manager"), "terminals", {})
        kernels = {kernel: manager.get_kernel(kernel) for kernel in manager.list_kernel_ids()}
        return last_activity(original, kernels, terminals)

    app.web_app.last_activity = used
    app.web_app.settings[ENDED] = note_ended(manager)
    path = app.web_app.settings["base_url"].rstrip("/") + "/jupyterhub-deploy/idle"
    app.web_app.add_handlers(".*$", [(path, IdleHandler, {"disk": DiskUse()})])
