"""A hub's status as an operator reads it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.servers import status as status_text

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=timezone.utc)
ID = "sha256:" + "a" * 64
NOTHING: dict[str, Any] = {"hub": None, "proxy": None, "notebook_image": None, "servers": []}


def container(name: str, status: str = "running", health: str | None = "healthy") -> dict[str, Any]:
    return {
        "Name": f"/{name}",
        "Image": ID,
        "Config": {"Image": f"{name}:1"},
        "State": {
            "Status": status,
            "StartedAt": "2026-03-01T11:00:00Z",
            **({"Health": {"Status": health}} if health else {}),
        },
    }


def server(user: str, current: bool, idle: int | None = 30) -> dict[str, Any]:
    facts = {"image": "notebook:1", "image_id": ID, "age_seconds": 7200, "state": "ready"}
    return {"user": user, "server": "", "current": current, "idle_seconds": idle, **facts}


def text(problem: str | None = None, engine: bool = True, **status: Any) -> str:
    return status_text.text("lab", engine, {**NOTHING, **status}, problem)


def test_a_host_without_a_hub() -> None:
    assert text() == "There is no hub lab on this host; site.yml makes one."
    assert text(engine=False) == (
        "There is no hub lab on this host (and no Docker engine that answers); site.yml makes one."
    )


def test_a_hub_and_its_servers() -> None:
    shown = text(
        hub=status_text.describe(container("lab"), NOW),
        proxy=status_text.describe(container("lab-proxy", health=None), NOW),
        notebook_image={"image": "notebook:1", "image_id": ID},
        servers=[server("alice", False), {**server("bob@example.com", True, None), "server": "gpu"}],
    )
    assert shown.splitlines() == [
        "hub: lab runs for 1 d 1 h, healthy, from lab:1 (aaaaaaaaaaaa)",
        "proxy: lab-proxy runs for 1 d 1 h, from lab-proxy:1 (aaaaaaaaaaaa)",
        "next servers get: notebook:1 (aaaaaaaaaaaa)",
        "2 servers run, 1 on an old image",
        "",
        "USER             SERVER  IMAGE                               AGE  LAST ACTIVE  STATE",
        "alice            -       notebook:1 (aaaaaaaaaaaa)  old      2 h  30 s ago     ready",
        "bob@example.com  gpu     notebook:1 (aaaaaaaaaaaa)  current  2 h  ?            ready",
    ]


@pytest.mark.parametrize(
    ("servers", "line"),
    [
        ([], "no server runs"),
        ([server("alice", True)], "1 server runs"),
        ([server("alice", False)], "1 server runs, 1 on an old image"),
    ],
)
def test_how_many_servers(servers: list[dict[str, Any]], line: str) -> None:
    assert line in text(hub=status_text.describe(container("lab"), NOW), servers=servers).splitlines()


def test_what_is_wrong_is_told() -> None:
    shown = text(hub=status_text.describe(container("lab", "exited", None), NOW), problem="it is silent").splitlines()
    assert shown[0] == "hub: lab is exited, from lab:1 (aaaaaaaaaaaa)"
    assert shown[1] == "proxy: there is no container; site.yml makes one"
    assert shown[2] == "what the hub knows is missing here: it is silent"
    left = text(servers=[server("alice", True)], problem="there is no hub container lab").splitlines()
    assert left[0] == "hub: there is no container; site.yml makes one"
    assert "1 server runs" in left
