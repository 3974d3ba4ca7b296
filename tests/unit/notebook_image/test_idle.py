"""Whether a server is used, and when its page warns, as the extension of Jupyter Server finds out."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import jupyterhub_deploy_hub

FILES = Path(jupyterhub_deploy_hub.__file__).parent / "server_files"
NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The extension, without a Jupyter Server."""
    modules: dict[str, dict[str, Any]] = {
        "jupyter_server": {}, "jupyter_server.base": {}, "jupyter_server._tz": {"utcnow": lambda: NOW},
        "jupyter_server.base.handlers": {"APIHandler": type("APIHandler", (), {})},
    }  # fmt: skip
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(FILES / "share/jupyterhub-deploy"))
    import jupyterhub_deploy_idle

    yield jupyterhub_deploy_idle
    del sys.modules["jupyterhub_deploy_idle"]


@pytest.mark.parametrize(
    ("method", "path", "is_use"),
    [
        ("GET", "/user/alice/api/contents", False),
        ("HEAD", "/user/alice/api/contents", False),
        ("PUT", "/user/alice/lab/api/workspaces/default", False),
        ("PUT", "/user/alice/api/contents/a.txt", True),
        ("POST", "/user/alice/api/kernels", True),
    ],
)
def test_what_an_open_page_does_by_itself_is_not_use(idle: Any, method: str, path: str, is_use: bool) -> None:
    assert idle.is_use(method, path) == is_use


@pytest.mark.parametrize(
    ("used", "started", "limits", "end"),
    [
        (60, 600, (3600, 0), (3540, 300, True)),
        (60, 600, (600, 0), (540, 120, True)),
        (60, 600, (3600, 700), (100, 140, False)),
        (60, 600, (600, 86400), (540, 120, True)),
        (60, 600, (0, 86400), (85800, 300, False)),
        (60, 600, (0, 0), (None, 0, False)),
    ],
)
def test_the_page_warns_of_the_first_end(
    idle: Any, used: float, started: float, limits: tuple[int, int], end: tuple[Any, ...]
) -> None:
    assert tuple(idle.end(NOW, ago(used), ago(started), *limits).values()) == end


def test_a_kernel_that_computes_is_use(idle: Any) -> None:
    kernels = {"1": SimpleNamespace(execution_state="idle"), "2": SimpleNamespace(execution_state="busy")}
    assert idle.last_activity(lambda: ago(90), kernels, {}) == NOW
    del kernels["2"]
    assert idle.last_activity(lambda: ago(90), kernels, {}) == ago(90)


def test_unused_kernels_that_ended_are_noted(idle: Any) -> None:
    class Manager(dict[str, Any]):
        get_kernel = dict[str, Any].__getitem__

        async def cull_kernel_if_idle(self, kernel: str) -> None:
            if kernel != "used":
                del self[kernel]

    states = {"used": "idle", "unused": "idle", "crashed": "dead"}
    manager = Manager({kernel: SimpleNamespace(execution_state=state) for kernel, state in states.items()})
    ended = idle.note_ended(manager)
    for kernel in states:
        asyncio.run(manager.cull_kernel_if_idle(kernel))
    assert (ended, list(manager)) == (["unused"], ["used"])


def test_a_command_in_a_terminal_is_use(idle: Any) -> None:
    """A shell that is alone in its terminal, and one that runs a command."""
    process, terminal = pty.fork()
    if not process:
        os.execv("/bin/sh", ["sh", "-c", "echo begun; read line"])
    try:
        assert os.read(terminal, 100)
        shell = SimpleNamespace(pid=process, fd=terminal)
        other = SimpleNamespace(pid=process + 1, fd=terminal)
        terminals = {"1": SimpleNamespace(ptyproc=shell, last_activity=ago(30))}
        assert idle.last_activity(lambda: ago(90), {}, terminals) == ago(30)
        terminals["2"] = SimpleNamespace(ptyproc=other, last_activity=ago(60))
        assert idle.last_activity(lambda: ago(90), {}, terminals) == NOW
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    assert not idle.runs_command(shell)


def test_the_hub_is_asked_for_the_disk_use_now_and_then(idle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def ask() -> dict[str, Any]:
        asked.append(1)
        return {"used": len(asked)}

    disk = idle.DiskUse()
    monkeypatch.setattr(disk, "_ask", ask)
    assert asyncio.run(disk.get()) is None, "there is no limit"
    monkeypatch.setenv("JUPYTERHUB_DEPLOY_DISK_LIMIT", "1")
    assert [asyncio.run(disk.get()) for _ in range(3)] == [{"used": 1}] * 3
    monkeypatch.setattr(idle, "DISK_SECONDS", -1)
    disk._ask_at = 0.0
    assert [asyncio.run(disk.get())["used"] for _ in range(2)] == [2, 3]


def test_a_hub_that_does_not_answer_is_no_error(idle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_DEPLOY_DISK_LIMIT", "1")
    monkeypatch.setenv("JUPYTERHUB_API_URL", "http://127.0.0.1:1/hub/api")
    assert asyncio.run(idle.DiskUse().get()) == {}
