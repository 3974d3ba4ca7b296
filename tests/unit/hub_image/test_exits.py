"""Why a server did not start (tests/integration/hub_image/test_spawner.py lets servers end)."""

from __future__ import annotations

import pytest

from jupyterhub_deploy_hub import exits


def test_the_last_lines_of_a_log_are_plain_text_without_secrets() -> None:
    log = (
        b"".join(b"line %d\n" % number for number in range(30))
        + b"\x1b[31mred\x1b[0m \xff token=abc\r\n\n"
        + b"x" * 999
    )
    lines = exits.last_lines(log, ["abc", ""])
    assert len(lines) == exits.LAST_LINES
    assert lines[-2:] == ["red \ufffd token=(secret)", "x" * 300]
    assert lines[0] == "line 17"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"ExitCode": 0}, "The server ended with exit code 0 before it answered; its command is 'python3 -q'."),
        ({"ExitCode": 137, "OOMKilled": True}, "The server ran out of memory."),
        ({"ExitCode": 128, "Error": "no such file"}, "ended with exit code 128 before it answered: no such file."),
    ],
)
def test_the_reason_of_an_exit(state: dict[str, object], text: str) -> None:
    assert text in exits.exit_text(state, ["python3", "-q"])


def test_a_server_without_memory_has_its_limit_in_the_message() -> None:
    text = exits.exit_text({"ExitCode": 137, "OOMKilled": True}, ["python3"], 128 << 20)
    assert text == "The server ran out of memory. Its limit is 128 MiB; ask an administrator."


def test_a_message_has_the_log_and_its_html_is_escaped() -> None:
    assert exits.with_log("It ended.", []) == "It ended. Its log is empty."
    assert exits.with_log("It ended.", ["a", "b"]) == "It ended. Its last log lines:\na\nb"
    assert "&lt;b&gt;\nline</pre>" in exits.as_html("It ended.", ["<b>", "line"])
    assert exits.as_html("<It> ended.", []) == "&lt;It&gt; ended. Its log is empty."
