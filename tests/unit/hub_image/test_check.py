"""The place of an error in the configuration (tests/integration/hub/test_config.py runs the check in the image)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jupyterhub_deploy_hub import EXTRA_CONFIG_MARKER
from jupyterhub_deploy_hub.check import line_of_error, line_of_setting, near, place, secret_texts, without

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
