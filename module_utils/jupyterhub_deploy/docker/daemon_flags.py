"""Options of ``daemon.json`` that dockerd gets as flags on its command line: it refuses an option that is in both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Flags of dockerd whose name differs from the option in the file by more than a plural.
_FLAG_OPTIONS = {
    "D": "debug",
    "G": "group",
    "H": "hosts",
    "add-runtime": "runtimes",
    "b": "bridge",
    "l": "log-level",
    "p": "pidfile",
    "s": "storage-driver",
}


def options_in_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return ``{option: flag as written}`` for the arguments of dockerd.

    The option of a flag that can be repeated is a plural (``--label``, ``labels``), so each flag counts for both.
    """
    found: dict[str, str] = {}
    for word in arguments:
        if word.startswith("--"):
            written = word.split("=", 1)[0]
            name = written[2:]
            for option in (_FLAG_OPTIONS.get(name, name), f"{name}s", re.sub("y$", "ies", name)):
                found.setdefault(option, written)
        elif word.startswith("-") and len(word) > 1:
            found.setdefault(_FLAG_OPTIONS.get(word[1], word[1]), word[:2])
    return found


def without_flagged(defaults: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults without options that the command line sets: dockerd refuses an option set in both."""
    flagged = options_in_flags(arguments)
    return {name: value for name, value in defaults.items() if name not in flagged}


def conflicts(options: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """Return a message for each option set both in the file and on the command line; dockerd would not start."""
    flagged = options_in_flags(arguments)
    return [
        f"{name} cannot be set in daemon.json while dockerd is started with {flagged[name]}"
        for name in sorted(options)
        if name in flagged
    ]


def flag_value(arguments: Sequence[str], flag: str) -> str | None:
    """Return the value of a long flag (``--flag value`` or ``--flag=value``) on a command line, or ``None``."""
    for position, word in enumerate(arguments):
        if word == f"--{flag}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(f"--{flag}="):
            return word.split("=", 1)[1]
    return None
