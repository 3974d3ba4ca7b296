"""Which unused accounts are discarded (tests/integration/users/test_unused.py discards them on a real hub)."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.storage import Storage
from ansible.module_utils.jupyterhub_deploy.users import unused

SINCE = datetime(2026, 11, 27, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("2026-11-27T10:30", 10, 30),
        ("2026-11-27 10:30", 10, 30),
        ("2026-11-27T10:30:00Z", 10, 30),
        ("2026-11-27T11:30+01:00", 10, 30),
        ("2026-11-27", 0, 0),
    ],
)
def test_a_time(text: str, hour: int, minute: int) -> None:
    assert unused.parse_since(text) == datetime(2026, 11, 27, hour, minute, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text", ["yesterday", "10:30", "2026-02-31", "2026-11-27T25:00", "27.11.2026", "2026-11-27T10"]
)
def test_something_else(text: str) -> None:
    with pytest.raises(DeployError, match=r"^since is .*; write a time in UTC such as 2026-11-27T10:00, or "):
        unused.parse_since(text)


def account(name: str, known: bool = False) -> dict[str, Any]:
    return {"name": name, "created": SINCE.timestamp(), "known": known}


def volume(name: str, user: str | None, hub: str = "lab") -> Volume:
    labels = {LABEL_HUB: hub, LABEL_USER: user} if user else {}
    return Volume(name, user, "local", labels, {}, "")


def host(*volumes: Volume, directories: str = "") -> unused.Host:
    made = object.__new__(unused.Host)
    made.hub, made._volumes, made._backups = "lab", list(volumes), {}
    made._storage = Storage("", [directories] if directories else [])
    return made


def test_users_with_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "carol").mkdir()
    with_files = host(volume("lab-user-bob", None), volume("x", "dave"), directories=f"{tmp_path}/{{username}}")
    found = [account(name) for name in ("alice", "bob", "carol", "dave")]
    planned = unused.plan(found, with_files)
    assert planned.discard == [account("alice")]
    assert planned.keep == {
        "bob": "volume lab-user-bob", "carol": f"directory {tmp_path}/carol", "dave": "volume x",
    }  # fmt: skip


class Hub:
    """The two interfaces of a hub: its API, and the program in its container."""

    def __init__(self, **users: dict[str, Any]) -> None:
        self.users, self.deleted, self.discarded = users, list[str](), list[str]()

    def user(self, name: str) -> dict[str, Any] | None:
        return self.users.get(name)

    def api_request(self, method: str, path: str, **_: Any) -> None:
        self.deleted.append(f"{method} {path}")

    def request(self, action: str, *rest: Any, **arguments: Any) -> Any:
        if rest:
            return self.api_request(action, *rest, **arguments)
        self.discarded = arguments["names"]
        return {"discarded": arguments["names"][1:]}  # somebody has signed in with the first one meanwhile


def test_only_what_is_still_unused_is_discarded() -> None:
    hub = Hub(alice={"servers": {}}, bob={"servers": {"": {}}})
    found = [account("alice", True), account("bob", True), account("gone", True), account("u1"), account("u2")]
    done = unused.apply(hub, hub, unused.Plan(found, {}), SINCE)  # type: ignore[arg-type]
    assert hub.deleted == ["DELETE /users/alice"]
    assert hub.discarded == ["u1", "u2"]
    assert done == ["alice", "u2"]


def test_messages() -> None:
    planned = unused.Plan([], {"bob": "volume lab-user-bob"})
    kept = "bob is kept, because there is volume lab-user-bob"
    what = "that signed up since 2026-11-27 10:00 UTC"
    assert unused.messages(["u1", "u2"], planned, SINCE, True) == [
        f"2 unused accounts {what} would be discarded: u1, u2", kept,
    ]  # fmt: skip
    assert unused.messages(["u1"], planned, SINCE, False)[0] == f"1 unused account {what} was discarded: u1"
    assert unused.messages([], planned, SINCE, False) == [
        "no unused account has signed up since 2026-11-27 10:00 UTC; nothing was discarded", kept,
    ]  # fmt: skip
