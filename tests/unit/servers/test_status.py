"""The status of a hub as an operator reads it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.servers import status as hub_status
from ansible.module_utils.jupyterhub_deploy.text import problems

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


def server(user: str, current: bool, idle: int | None = 30, old_url: bool = False) -> dict[str, Any]:
    facts = {"image": "notebook:1", "image_id": ID, "age_seconds": 7200, "state": "ready", "old_url": old_url}
    return {"user": user, "server": "", "current": current, "idle_seconds": idle, **facts}


def shown(problem: str | None = None, unknown: str | None = None, **status: Any) -> list[str]:
    return hub_status.messages("lab", unknown, {**NOTHING, **status}, problem)


def test_a_host_without_a_hub() -> None:
    assert shown() == ["Hub lab does not exist on this host; run make site to create it."]


def test_a_host_that_cannot_be_inspected_is_not_one_without_a_hub() -> None:
    assert shown(unknown="Docker does not answer") == ["CANNOT TELL whether hub lab runs: Docker does not answer"]


def test_a_hub_and_its_servers() -> None:
    lines = shown(
        hub=hub_status.describe(container("lab"), NOW),
        proxy=hub_status.describe(container("lab-proxy", health=None), NOW),
        notebook_image={"image": "notebook:1", "image_id": ID},
        servers=[server("alice", False), {**server("bob@example.com", True, None), "server": "gpu"}],
    )
    assert lines == [
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
        ([server("alice", True, old_url=True)], "1 server runs, 1 with an old URL"),
        ([server("alice", False, old_url=True)], "1 server runs, 1 on an old image, 1 with an old URL"),
    ],
)
def test_how_many_servers(servers: list[dict[str, Any]], line: str) -> None:
    assert line in shown(hub=hub_status.describe(container("lab"), NOW), servers=servers)


def test_a_server_that_was_started_for_another_url_is_not_current() -> None:
    servers = [server("alice", True, old_url=True), server("bob", True), server("carol", False, old_url=True)]
    _, *rows = shown(hub=hub_status.describe(container("lab"), NOW), servers=servers)[-4:]
    ages = [row.split(")  ")[1].split("  ")[0] for row in rows]
    assert ages == ["old URL", "current", "old"]


def test_users_near_the_disk_limit_are_in_one_line() -> None:
    uses = {"bob": {"used": 12 * 2**30, "limit": 10 * 2**30}, "alice": {"used": 90 * 2**20, "limit": 100 * 2**20}}
    line = "disk: near or above the limit: alice (90 MiB of 100 MiB), bob (12.0 GiB of 10.0 GiB)"
    assert (hub_status.disk(uses), hub_status.disk({})) == ([line], [])


@pytest.mark.parametrize("health", ["starting", "unhealthy"])
def test_a_container_that_is_not_healthy(health: str) -> None:
    lines = shown(hub=hub_status.describe(container("lab", health=health), NOW))
    assert lines[0] == f"hub: lab runs for 1 d 1 h, {health}, from lab:1 (aaaaaaaaaaaa)"


def test_problems_are_shown() -> None:
    lines = shown(hub=hub_status.describe(container("lab", "exited", None), NOW), problem="it is silent")
    assert lines[0] == "hub: lab is exited, from lab:1 (aaaaaaaaaaaa)"
    assert lines[1] == "proxy: the container does not exist; run make site to create it"
    assert lines[2] == "the hub cannot be asked, so activity is not shown: it is silent"
    left = shown(servers=[server("alice", True)], problem="there is no hub container lab")
    assert left[0] == "hub: the container does not exist; run make site to create it"
    assert "1 server runs" in left


def test_the_age_of_images_and_updates_for_them() -> None:
    image = {"packages": {"openssl": "1"}, "updates": {"openssl": "2"}, "missing": {}}
    times = {"old": datetime(2026, 2, 28, 12, tzinfo=timezone.utc), "pulled": datetime(2020, 1, 1, tzinfo=timezone.utc)}
    built = "images: the oldest was built 2 d ago; "
    pending = f"{built}updates are pending for openssl: "
    assert hub_status.images({"images": {"old": image}}, times, NOW, True) == [f"{pending}run make site"]
    assert hub_status.images({"images": {"old": image}}, times, NOW, False) == [
        f"{pending}make site installs them with jupyterhub_update_images: true"
    ]
    current: dict[str, Any] = {"images": {"old": {**image, "updates": {}}}}
    assert hub_status.images(current, times, NOW, True) == [f"{built}no updates are pending"]
    assert hub_status.images({**current, "problem": "no route"}, times, NOW, True) == [
        f"{built}whether updates are pending is unknown, because apt-get update failed: no route"
    ]
    assert hub_status.images({"images": {}}, times, NOW, True) == []
    looked = NOW.timestamp() - 60 * 86400
    assert hub_status.images({**current, "refreshed": looked}, times, NOW, True) == [
        f"{built}no updates were pending 60 d ago, and nothing has looked since; run make site"
    ]
    assert hub_status.images({**current, "refreshed": looked + 59 * 86400}, times, NOW, True)[0].endswith("are pending")
    failed = {"images": {"old": image}, "problem": "no route"}
    assert hub_status.images(failed, times, NOW, True) == [f"{pending}run make site; apt-get update failed: no route"]


def described(status: str = "running", health: str | None = "healthy") -> dict[str, Any] | None:
    return hub_status.describe(container("lab", status, health), NOW)


def test_problems_are_told_from_what_is_only_shown() -> None:
    fine = [hub_status.container("hub", described(health=health)) for health in ("healthy", "starting", None)]
    assert problems(fine) == []
    wrong = [hub_status.container("hub", one) for one in (described(health="unhealthy"), described("exited"), None)]
    assert problems(wrong) == wrong
    line = "the hub cannot be asked, so activity is not shown: no answer"
    assert problems(shown("no answer", hub=described(), proxy=described())) == [line]
    assert problems(hub_status.disk({"alice": {"used": 2**30, "limit": 2**30}})) == []
