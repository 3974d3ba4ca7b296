"""The place of an error in the configuration (tests/integration/hub/test_config.py runs the check in the image)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from jupyterhub_deploy_hub import EXTRA_CONFIG_MARKER, seed
from jupyterhub_deploy_hub.check import (
    line_of_error,
    line_of_setting,
    near,
    place,
    secret_texts,
    without,
    without_account,
)

SOURCE = f"import os\nc.Spawner.cmd = []\n\n{EXTRA_CONFIG_MARKER}\n# mine\nc.Spawner.mem_limit = '1G'\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (2, "jupyterhub_config.py line 2"),
        (5, "jupyterhub_extra_config line 1"),
        (6, "jupyterhub_extra_config line 2"),
        (None, "jupyterhub_config.py"),
    ],
)
def test_lines_are_counted_as_their_author_counts(line: int | None, expected: str) -> None:
    assert place(SOURCE, line, "jupyterhub_config.py") == expected


def test_a_file_without_the_marker_has_one_author() -> None:
    assert place("a\nb\n", 2, "x.py") == "x.py line 2"


def test_the_last_mention_of_a_setting_is_found() -> None:
    assert line_of_setting(SOURCE, "Spawner", "mem_limit") == 6
    assert line_of_setting(SOURCE, "Spawner", "mem") is None


def test_near_misses() -> None:
    assert near("mem_limt", ["mem_limit", "cpu_limit"]) == "mem_limit"
    assert near("something_else", ["mem_limit"]) is None


def test_the_line_of_a_syntax_error_and_of_an_exception() -> None:
    with pytest.raises(SyntaxError) as broken:
        compile("x = 1\ny = (\n", "config.py", "exec")
    assert line_of_error(broken.value, "config.py") == 2
    code = compile("import json\n\njson.loads('{')\n", "config.py", "exec")
    with pytest.raises(ValueError, match="Expecting") as raised:
        exec(code, {})
    assert line_of_error(raised.value, "config.py") == 3
    assert line_of_error(raised.value, "other.py") is None


def test_secrets_are_hidden(tmp_path: Path) -> None:
    file = tmp_path / "authenticators.json"
    values = {"lab": {"client_secret": 9182736455, "params": {"key": ["9182736455-and-more"]}, "basic_auth": True}}
    file.write_text(json.dumps({"generation": "1", "values": values}), encoding="utf-8")
    texts = secret_texts(file)
    assert texts == ["9182736455-and-more", "9182736455"]
    line = "expected a unicode string, not the int 9182736455 and no 9182736455-and-more; True"
    assert without(texts, line) == "expected a unicode string, not the int (secret) and no (secret); True"
    assert secret_texts(tmp_path / "none.json") == []


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with three administrators, one of which is the deployment's own; returns its file."""
    sections = {
        "JupyterHub": {"db_url": f"sqlite:///{tmp_path}/jupyterhub.sqlite"},
        "Authenticator": {"admin_users": {"admin", "Alice", "carol"}},
    }
    monkeypatch.setattr(seed, "load_config", lambda path: sections)
    monkeypatch.setenv("JUPYTERHUB_ADMIN", "admin")
    return tmp_path / "jupyterhub_config.py"


def test_administrators_without_an_account_are_found(configured: Path) -> None:
    assert without_account(configured) == ["alice", "carol"]  # the database does not exist yet
    database = configured.with_name("jupyterhub.sqlite")
    with contextlib.closing(sqlite3.connect(database)) as db:
        assert without_account(configured) == ["alice", "carol"]
        db.execute("CREATE TABLE users_info (username TEXT)")
        db.execute("INSERT INTO users_info VALUES ('carol')")
        db.commit()
    assert without_account(configured) == ["alice"]

    # Cannot be read: then nothing is known.
    database.write_text("damaged" * 1000)
    assert without_account(configured) == []


def test_without_native_accounts_no_administrator_needs_one(configured: Path) -> None:
    configured.with_name("settings.json").write_text(json.dumps({"authenticators": ["github"]}), encoding="utf-8")
    assert without_account(configured) == []
