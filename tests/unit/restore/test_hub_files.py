"""The hub's database and secrets replaced on a real file system, and killed after each step of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import hub_files, swap
from ansible.module_utils.jupyterhub_deploy.restore.hub_files import Places

BACKUP = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)


class Killed(BaseException):
    """Stands for a SIGKILL: ends the code at this step."""


def database(path: Path, user: str) -> None:
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA synchronous = OFF")
        made.execute("CREATE TABLE users (name TEXT)")
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
        made.execute("INSERT INTO users VALUES (?)", (user,))
    made.close()


def secrets(path: Path, **values: str) -> None:
    path.mkdir(parents=True)
    for name, value in values.items():
        (path / name).write_text(f"{value}\n")


class Hub:
    """A volume's directory and one in /etc, with an old state, and a new one where an archive is extracted to."""

    def __init__(self, path: Path, old: bool = True) -> None:
        self.places = Places(str(path / "volume"), str(path / "etc"))
        self.places.data.mkdir(parents=True)
        if old:
            database(self.places.database, "old")
            secrets(self.places.secrets, cookie_secret="old", proxy_token="old", own="old")

    def extract(self) -> None:
        self.places.new_tree.mkdir(parents=True)
        database(self.places.new_database, "new")
        secrets(self.places.new_tree / "secrets", cookie_secret="new", proxy_token="new", crypt_key="new")

    def state(self) -> tuple[str | None, str | None]:
        """Return whose the database and the cookie secret are."""
        user = None
        if self.places.database.exists():
            with sqlite3.connect(self.places.database) as opened:
                ((user,),) = opened.execute("SELECT name FROM users").fetchall()
            opened.close()
        cookie = self.places.secrets / "cookie_secret"
        return user, cookie.read_text().strip() if cookie.exists() else None

    def left(self) -> list[str]:
        """Return what is beside data and secrets."""
        return sorted({*os.listdir(self.places.home), *os.listdir(self.places.config)} - {"_data", "secrets"})

    def replace(self) -> str | None:
        self.extract()
        hub_files.check_state(self.places, "an archive")
        hub_files.prepare(self.places)
        hub_files.put_in_place(self.places, BACKUP)
        return hub_files.keep(self.places, keep_old=True)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def test_new_state_comes_and_old_one_is_kept(hub: Hub) -> None:
    kept = hub.replace()

    assert hub.state() == ("new", "new")
    assert kept is not None
    assert sqlite3.connect(Path(kept, "jupyterhub.sqlite")).execute("SELECT * FROM users").fetchall() == [("old",)]
    assert Path(kept, "secrets", "cookie_secret").read_text() == "old\n"
    assert hub.left() == [Path(kept).name]
    assert os.stat(kept).st_mode & 0o777 == 0o700


def test_what_belongs_to_the_host_and_what_the_backup_lacks_stays(hub: Hub) -> None:
    (hub.places.secrets / "admin_password.pending").write_text("")
    hub.replace()
    found = {path.name: path.read_text().strip() for path in hub.places.secrets.iterdir()}

    assert found == {"cookie_secret": "new", "proxy_token": "old", "crypt_key": "new", "own": "old"}
    modes = {path.stat().st_mode & 0o777 for path in hub.places.secrets.iterdir()}
    assert modes == {0o600}
    assert hub.places.secrets.stat().st_mode & 0o777 == 0o700
    assert hub.places.database.stat().st_mode & 0o777 == 0o600


def test_secrets_are_out_of_reach_while_they_are_copied(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    modes, copystat = set(), shutil.copystat

    def spied(source: Any, target: Any, **options: Any) -> None:
        if not os.path.isdir(target):
            modes.add(os.stat(os.path.dirname(target)).st_mode & 0o777)
        copystat(source, target, **options)

    monkeypatch.setattr(shutil, "copystat", spied)
    hub.extract()
    hub_files.prepare(hub.places)
    assert modes == {0o700}


def test_a_bare_host_gets_all_and_keeps_nothing(tmp_path: Path) -> None:
    hub = Hub(tmp_path, old=False)

    assert hub.replace() is None
    assert hub.state() == ("new", "new")
    assert (hub.places.secrets / "proxy_token").read_text() == "new\n"
    assert hub.left() == []


def test_two_in_the_same_second_keep_both(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "stem_of", lambda moment: "20261123T014440Z")
    hub.replace()
    hub.replace()

    assert hub.left() == ["before-20261123T014440Z", "before-20261123T014440Z-2"]


def test_a_journal_of_a_killed_hub_belongs_to_its_own_database(hub: Hub) -> None:
    # A hub that is killed while it writes leaves the database with a journal that has to be undone.
    copied = hub.places.home / "copied"
    writer = sqlite3.connect(hub.places.database, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.execute("CREATE TABLE more (text)")
    writer.executemany("INSERT INTO more VALUES (?)", [("x" * 1000,)] * 100)
    copied.mkdir()
    for path in hub.places.data.iterdir():
        shutil.copy(path, copied)
    writer.close()
    assert (copied / "jupyterhub.sqlite-journal").stat().st_size > 0
    shutil.rmtree(hub.places.data)
    copied.rename(hub.places.data)

    kept = hub.replace()

    assert hub.state() == ("new", "new")
    assert sorted(os.listdir(hub.places.data)) == ["jupyterhub.sqlite", "restored.json"]
    tables = "SELECT name FROM sqlite_master"
    old = sqlite3.connect(Path(str(kept), "jupyterhub.sqlite")).execute(tables).fetchall()
    assert old == [("users",), ("alembic_version",)]


def test_a_database_that_is_too_damaged_is_kept_with_its_journal(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.places.database.write_bytes(b"no database" * 1000)
    journal = hub.places.data / "jupyterhub.sqlite-journal"
    monkeypatch.setattr(hub_files, "_roll_back", lambda database: None)
    journal.write_bytes(b"journal")
    hub.extract()
    hub_files.prepare(hub.places)
    hub_files.put_in_place(hub.places, BACKUP)
    assert hub.state() == ("new", "new")
    assert not journal.exists()

    hub_files.take_back(hub.places)

    assert hub.places.database.read_bytes().startswith(b"no database")
    assert journal.read_bytes() == b"journal"
    assert (hub.places.secrets / "cookie_secret").read_text() == "old\n"


def test_the_hub_learns_which_users_it_does_not_know(hub: Hub) -> None:
    hub.replace()
    record = json.loads(hub.places.record.read_text())
    assert record["backup"] == "2026-11-23T01:44:40"
    assert record["restored"] > record["backup"]


def test_on_a_full_disk_nothing_is_replaced(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, *_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    hub.extract()
    hub_files.prepare(hub.places)
    monkeypatch.setattr(hub_files, "write_atomically", full)
    with pytest.raises(DeployError, match=r"No space left .*; the hub keeps the old one\. Fix that, then run the same"):
        hub_files.put_in_place(hub.places, BACKUP)
    assert hub.state() == ("old", "old")
    assert not hub_files.unfinished(hub.places)


def test_taken_back_it_is_as_it_was(hub: Hub) -> None:
    hub.extract()
    hub_files.prepare(hub.places)
    hub_files.put_in_place(hub.places, BACKUP)
    (hub.places.data / "jupyterhub.sqlite-journal").write_bytes(b"of the new database")
    hub_files.take_back(hub.places)

    assert hub.state() == ("old", "old")
    assert os.listdir(hub.places.data) == ["jupyterhub.sqlite"]
    assert hub.left() == []


def test_the_decision_to_put_it_back_needs_no_space_and_survives_a_kill(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.extract()
    hub_files.prepare(hub.places)
    hub_files.put_in_place(hub.places, BACKUP)
    assert hub_files.is_complete(hub.places)
    with monkeypatch.context() as patched:
        patched.setattr(hub_files, "write_atomically", Mock(side_effect=OSError("no space left on device")))
        hub_files.decide_back(hub.places)
    assert not hub_files.is_complete(hub.places)
    assert hub_files.has_leftovers(hub.places)
    assert hub_files.recover(hub.places) is None  # as in the next run
    assert hub.state() == ("old", "old")
    assert not hub_files.has_leftovers(hub.places)


def test_taken_back_to_nothing(tmp_path: Path) -> None:
    hub = Hub(tmp_path, old=False)
    hub.extract()
    hub_files.prepare(hub.places)
    hub_files.put_in_place(hub.places, BACKUP)
    hub_files.take_back(hub.places)

    assert hub.state() == (None, None)
    assert hub.left() == []


def killed_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Kill the code after the n-th step that changes a file."""
    left = step

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left <= 0:
                raise Killed
            result = function(*args, **kwargs)
            left -= 1
            if left == 0:
                raise Killed
            return result

        return call

    for name in ("rename", "replace", "link", "symlink", "unlink", "mkdir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(swap, "exchange", counted(swap.exchange))
    monkeypatch.setattr(swap, "_remove", counted(swap._remove))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    monkeypatch.setattr(shutil, "copyfile", counted(shutil.copyfile))


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("back", [False, True])
def test_killed_after_any_step_it_is_one_of_the_two(tmp_path: Path, exchange: bool, old: bool, back: bool) -> None:
    seen = set()
    for step in range(1, 200):
        hub = Hub(tmp_path / str(step), old=old)
        if old:
            hub.places.record.write_text("of an earlier restore")
        before, after = hub.state(), ("new", "new")
        hub.extract()
        killed = True
        with pytest.MonkeyPatch.context() as patch:
            if not exchange:
                patch.setattr(swap, "exchange", lambda one, other: False)
            killed_after(patch, step)
            try:
                hub_files.prepare(hub.places)
                hub_files.put_in_place(hub.places, BACKUP)
                (hub.places.data / "jupyterhub.sqlite-journal").touch()
                if back:
                    hub_files.take_back(hub.places)
                else:
                    hub_files.keep(hub.places, keep_old=True)
                killed = False
            except Killed:
                pass
        kept = hub_files.recover(hub.places)
        found = hub.state()
        record = hub.places.record.read_text() if hub.places.record.exists() else None
        assert (record or "").startswith("{") == (found == after), f"step {step}"
        if found == before:
            assert record == ("of an earlier restore" if old else None), f"step {step}"
        assert found in ((before, after) if killed else ((before,) if back else (after,))), f"step {step}"
        seen.add(found)
        assert [name for name in hub.left() if not name.startswith("before-")] == [], f"step {step}"
        if found == after and old:
            (aside,) = hub.left()
            assert Path(hub.places.home, aside, "secrets", "cookie_secret").read_text() == "old\n"
            assert kept in (None, str(hub.places.home / aside))
        assert hub_files.recover(hub.places) is None  # there is nothing left to do
        if not killed:
            break
    assert not killed
    hub.replace()
    assert hub.state() == after
    assert seen == {before, after}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tree: (tree / "jupyterhub.sqlite").write_bytes(b"no database" * 100), "the database in A is damaged"),
        (lambda tree: (tree / "jupyterhub.sqlite").unlink(), "there is no jupyterhub.sqlite in A"),
        (lambda tree: shutil.rmtree(tree / "secrets"), "there is no secrets in A"),
        (lambda tree: (tree / "secrets" / "more").symlink_to("/etc/shadow"), "more in A is neither file nor directory"),
        (lambda tree: os.mkfifo(tree / "fifo"), "fifo in A is neither file nor directory"),
        (lambda tree: drop(tree, "users"), "the database in A has no table users: it is not JupyterHub's"),
        (lambda tree: drop(tree, "alembic_version"), "has no table alembic_version"),
    ],
)
def test_anything_but_a_hubs_state_is_refused(hub: Hub, make: Callable[[Path], None], message: str) -> None:
    hub.extract()
    make(hub.places.new_tree)
    with pytest.raises(DeployError, match=message):
        hub_files.check_state(hub.places, "A")
    assert hub.state() == ("old", "old")


def drop(tree: Path, table: str) -> None:
    opened = sqlite3.connect(tree / "jupyterhub.sqlite")
    opened.execute(f"DROP TABLE {table}")
    opened.commit()
    opened.close()
