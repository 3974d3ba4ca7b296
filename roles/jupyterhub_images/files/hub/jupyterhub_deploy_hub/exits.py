"""Why a user's server did not start, for the user and for the administrator. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

from .disk_limit import size

#: Lines and characters of a server's log that a message shows.
LAST_LINES = 15
_LINE_LENGTH = 300
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def last_lines(output: bytes, secrets: Iterable[str] = ()) -> list[str]:
    """Return the last lines of a log, without escape sequences and `secrets`."""
    text = output.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "(secret)") if secret else text
    lines = [_ESCAPE_SEQUENCE.sub("", line).rstrip()[:_LINE_LENGTH] for line in text.splitlines()]
    return [line for line in lines if line][-LAST_LINES:]


def exit_text(state: dict[str, Any], command: list[str], memory: int = 0) -> str:
    """Return why a container ended, from its ``State`` of ``docker inspect``, its command, and its limit in bytes."""
    if state.get("OOMKilled"):
        return "The server ran out of memory." + (
            f" Its limit is {size(memory)}; ask an administrator." if memory else ""
        )
    text = f"The server ended with exit code {state.get('ExitCode')} before it answered"
    return f"{text}: {state['Error']}." if state.get("Error") else f"{text}; its command is {' '.join(command)!r}."


def with_log(text: str, lines: list[str]) -> str:
    """Return a message with the lines of a log."""
    return "\n".join([f"{text} Its last log lines:", *lines]) if lines else f"{text} Its log is empty."


def as_html(text: str, lines: list[str]) -> str:
    """Return the message of `with_log` as HTML."""
    if not lines:
        return html.escape(with_log(text, lines))
    log = html.escape("\n".join(lines))
    return f'{html.escape(text)} Its last log lines:<pre style="text-align: left; white-space: pre-wrap">{log}</pre>'
