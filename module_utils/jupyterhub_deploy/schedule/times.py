"""When scheduled backups run: the times that systemd or cron accepts."""

from __future__ import annotations

import os
import re
import subprocess

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

SYSTEMD = "/run/systemd/system"  # exists while systemd is the init system

SHORTHANDS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
}
CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute, hour, day of the month, month, day of the week
CRON_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/[1-9]\d?)?")


def has_systemd() -> bool:
    """Return whether systemd starts the backups of this host; if not, cron does."""
    return os.path.isdir(SYSTEMD)


def check(schedule: str) -> None:
    """Raise an error when this host does not accept a schedule."""
    if has_systemd():
        check_calendar(schedule)
    else:
        cron_time(schedule)


def cron_time(schedule: str) -> str:
    """Return the five fields of a crontab line.

    :param schedule: one of :data:`SHORTHANDS`, or the five fields, in numbers.
    :raises DeployError: it is something else.
    """
    fields = SHORTHANDS.get(schedule, schedule).split(" ")
    if len(fields) != len(CRON_FIELDS) or not all(map(_is_cron_field, fields, CRON_FIELDS)):
        raise DeployError(
            f"jupyterhub_backup_schedule is {schedule!r}, and this host has cron instead of systemd: set it to hourly, "
            "daily, weekly or monthly, or to five fields of a crontab in numbers, such as `30 2 * * 1-5`"
        )
    return " ".join(fields)


def _is_cron_field(field: str, limits: tuple[int, int]) -> bool:
    items = [CRON_ITEM.fullmatch(item) for item in field.split(",")]
    return all(item and all(limits[0] <= int(end) <= limits[1] for end in item.groups() if end) for item in items)


def check_calendar(schedule: str) -> None:
    """Raise an error when systemd does not accept a calendar expression."""
    done = subprocess.run(["systemd-analyze", "calendar", "--", schedule], capture_output=True, text=True, check=False)
    if done.returncode or not schedule.isprintable():
        raise DeployError(
            f"jupyterhub_backup_schedule is {schedule!r}, which systemd does not accept: {done.stderr.strip()}; "
            "set it for example to 02:30 or Mon..Fri 02:30 (man systemd.time)"
        )
