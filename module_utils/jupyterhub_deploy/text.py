"""Numbers, names and times as people and machines write them. Pure: no I/O."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable
from datetime import datetime, timedelta, timezone

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))?")
_SHORT_ID = 12  # digits of an id that `docker ps` and `docker images` show


class Problem(str):
    """A line of a status about something that an operator has to fix; ``make status`` fails because of it."""


def problems(lines: Iterable[str]) -> list[str]:
    """Return those lines that are problems."""
    return [line for line in lines if isinstance(line, Problem)]


def human_size(size: float) -> str:
    """Return a number of bytes with a decimal unit: ``512 B``, ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counted(number: int, one: str, several: str) -> str:
    """Return a number with its noun: ``1 entry``, ``2 entries``."""
    return f"{number} {one if number == 1 else several}"


def unique_name(name: str, taken: Container[str]) -> str:
    """Return the name itself, or the first of ``name-2``, ``name-3`` … that is not taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(candidate for candidate in names if candidate not in taken)


def parse_time(text: str | None) -> datetime | None:
    """Return a time as JupyterHub or Docker writes it, in UTC; a time without a zone is UTC already.

    Docker gives nanoseconds, and both give ``Z``: Python 3.9's ``fromisoformat()`` accepts neither.

    :returns: ``None`` for no time, for something else, and for Docker's year 1, which means never.
    """
    match = _TIME.fullmatch(text or "")
    if not match or match[1].startswith("0001-"):
        return None
    seconds, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    parsed = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone(offset))
    return (parsed + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))).astimezone(timezone.utc)


def short_id(text: str) -> str:
    """Return a text with the sha256 id in it cut to twelve digits, as Docker shows ids."""
    prefix, separator, digits = text.partition("sha256:")
    return f"{prefix}{separator}{digits[:_SHORT_ID]}" if separator else text
