"""The database's schema: its state, and the upgrade and restore, which never lose a complete file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from jupyterhub_deploy_hub import HubError, schema

SCRIPTS = [
    "revision = 'aaa111'\ndown_revision = None\n",
    "revision = 'bbb222'\ndown_revision = 'aaa111'\n",
    'revision = "ccc333"\ndown_revision = "bbb222"\n',
]
OLD = schema.schemas(SCRIPTS[:2])
NEW = schema.schemas(SCRIPTS)


def test_the_newest_revision_is_found():
    assert schema.Schemas(frozenset({"aaa111", "bbb222"}), "bbb222") == OLD
    assert NEW.head == "ccc333"


def test_two_newest_revisions_are_refused():
    with pytest.raises(HubError, match="2 newest revisions"):
        schema.schemas([*SCRIPTS, "revision = 'ddd444'\ndown_revision = 'bbb222'\n"])


@pytest.mark.parametrize(
    ("revision", "known", "state"),
    [
        (None, NEW, "absent"),
        ("ccc333", NEW, "current"),
        ("bbb222", NEW, "older"),
        ("aaa111", NEW, "older"),
        ("ccc333", OLD, "newer"),
        ("fff999", OLD, "newer"),
    ],
)
def test_the_state_of_a_database(revision, known, state):
    assert schema.compare(revision, known) == state


def make(path: Path, revision: str, note: str = "") -> Path:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        database.execute("CREATE TABLE note (text TEXT)")
        database.execute("INSERT INTO note VALUES (?)", (note,))
    return path


def note(path: Path) -> str:
    with sqlite3.connect(path) as database:
        return str(database.execute("SELECT text FROM note").fetchone()[0])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub directory, and a function that sets the schema of the image's JupyterHub."""
    monkeypatch.setattr(schema, "database_file", lambda: tmp_path / "jupyterhub.sqlite")

    def image(scripts):
        folder = tmp_path / f"versions-{len(scripts)}"
        folder.mkdir(exist_ok=True)
        for number, text in enumerate(scripts):
            (folder / f"{number}.py").write_text(text)
        monkeypatch.setattr(schema, "_migrations", lambda: folder)

    def migrate(path):
        with sqlite3.connect(path) as database:
            database.execute("UPDATE alembic_version SET version_num = 'ccc333'")

    monkeypatch.setattr(schema, "_migrate", migrate)
    image(SCRIPTS)
    return image


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file())


def test_without_a_database_nothing_is_done(hub, tmp_path):
    assert schema.observe().state == "absent"
    assert schema.upgrade() is None
    assert files(tmp_path) == []


def test_a_current_database_is_unchanged(hub, tmp_path):
    inode = os.stat(make(tmp_path / "jupyterhub.sqlite", "ccc333")).st_ino
    assert schema.upgrade() is None
    assert schema.restore() is None
    assert os.stat(tmp_path / "jupyterhub.sqlite").st_ino == inode


def test_an_older_database_is_upgraded_and_kept(hub, tmp_path):
    path = make(tmp_path / "jupyterhub.sqlite", "bbb222", "alice")
    kept = schema.upgrade() or ""
    assert schema.revision_of(path) == "ccc333"
    assert schema.revision_of(Path(kept)) == "bbb222"
    assert note(path) == note(Path(kept)) == "alice"
    assert files(tmp_path) == ["jupyterhub.sqlite", Path(kept).name]


def test_a_failed_upgrade_leaves_the_database_unchanged(hub, tmp_path, monkeypatch):
    def fail(path):
        with sqlite3.connect(path) as database:
            database.execute("DROP TABLE note")
        raise HubError("no space left")

    monkeypatch.setattr(schema, "_migrate", fail)
    path = make(tmp_path / "jupyterhub.sqlite", "bbb222", "alice")
    with pytest.raises(HubError, match="no space left"):
        schema.upgrade()
    assert (schema.revision_of(path), note(path)) == ("bbb222", "alice")


def test_the_partial_upgrade_of_a_killed_start_is_repeated(hub, tmp_path):
    make(tmp_path / "jupyterhub.sqlite", "bbb222", "alice")
    (tmp_path / ".jupyterhub.sqlite.upgrade").write_bytes(b"half")
    schema.upgrade()
    assert note(tmp_path / "jupyterhub.sqlite") == "alice"
    assert ".jupyterhub.sqlite.upgrade" not in files(tmp_path)


def test_a_newer_database_is_refused_with_the_copy_that_fits(hub, tmp_path):
    make(tmp_path / "jupyterhub.sqlite", "bbb222")
    kept = schema.upgrade() or ""
    hub(SCRIPTS[:2])
    with pytest.raises(HubError, match="newer than this JupyterHub's") as caught:
        schema.upgrade()
    assert kept in str(caught.value)


def test_a_newer_database_without_a_copy_is_refused(hub, tmp_path):
    make(tmp_path / "jupyterhub.sqlite", "ccc333")
    hub(SCRIPTS[:2])
    for action in (schema.upgrade, schema.restore):
        with pytest.raises(HubError, match="there is no copy that fits"):
            action()


def test_restore_uses_the_newest_copy_and_keeps_the_newer_database(hub, tmp_path):
    path = make(tmp_path / "jupyterhub.sqlite", "ccc333", "after")
    make(tmp_path / "jupyterhub.sqlite.bbb222.20260101T000000Z", "bbb222", "long before")
    make(tmp_path / "jupyterhub.sqlite.bbb222.20260201T000000Z", "bbb222", "before")
    hub(SCRIPTS[:2])
    kept = schema.restore() or ""
    assert note(path) == "before"
    assert note(Path(kept)) == "after"
    assert schema.observe().state == "current"
    assert schema.restore() is None


def test_a_damaged_database_is_not_upgraded(hub, tmp_path):
    path = make(tmp_path / "jupyterhub.sqlite", "bbb222", "x" * 20000)
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(HubError, match="is damaged"):
        schema.upgrade()
    assert path.read_bytes() == bytes(content)


def test_a_file_that_is_not_a_database_is_one_sentence(hub, tmp_path, capsys):
    path = tmp_path / "jupyterhub.sqlite"
    path.write_bytes(b"\xff" * 4096)
    assert schema.main(["--check"]) == 1
    message = f"the database {path} is damaged (file is not a database); restore it from a backup.\n"
    assert capsys.readouterr().err == message
