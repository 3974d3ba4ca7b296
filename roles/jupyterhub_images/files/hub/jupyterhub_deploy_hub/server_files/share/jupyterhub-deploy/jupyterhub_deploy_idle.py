"""Extension of Jupyter Server: whether the server is used, when the hub stops it, and how much disk its files take.

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
    """GET: when the hub stops the server, and the disk use. POST: the same, and the server is used at this moment."""

    _track_activity = False

    def initialize(self, disk: DiskUse) -> None:
        """Get what all requests share."""
        self.disk = disk

    @web.authenticated
    async def get(self) -> None:
        idle, max_age = (int(os.environ.get(f"JUPYTERHUB_DEPLOY_CULL_{name}", "0")) for name in ("IDLE", "MAX_AGE"))
        used = self.application.last_activity()
        disk = await self.disk.get()
        self.finish(json.dumps({**end(utcnow(), used, self.settings["started"], idle, max_age), "disk": disk}))

    @web.authenticated
    async def post(self) -> None:
        self.settings["page_last_activity"] = utcnow()  # Jupyter Server reads all settings with such a name
        await self.get()


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
    path = app.web_app.settings["base_url"].rstrip("/") + "/jupyterhub-deploy/idle"
    app.web_app.add_handlers(".*$", [(path, IdleHandler, {"disk": DiskUse()})])
