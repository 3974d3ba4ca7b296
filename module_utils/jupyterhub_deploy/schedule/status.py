"""The status of a hub's backups, as data and as text. Only :func:`observe` reads the host."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.docker.client import connect_or_none, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host, storage
from ansible.module_utils.jupyterhub_deploy.schedule import report, settings
from ansible.module_utils.jupyterhub_deploy.schedule.report import Folder, Record
from ansible.module_utils.jupyterhub_deploy.schedule.settings import Schedule
from ansible.module_utils.jupyterhub_deploy.servers.policy import span
from ansible.module_utils.jupyterhub_deploy.text import Problem, human_size


def observe(hub: str, directory: str, now: datetime) -> dict[str, Any]:
    """Return what the module ``jupyterhub_backup_status`` documents (``RETURN``), without its text.

    :raises DeployError: the settings of the schedule cannot be read.
    """
    wanted, record = settings.read(hub), report.read_record(hub)
    schedule = None
    if wanted:
        installed = datetime.fromtimestamp(os.stat(host.backup_settings(hub)).st_mtime, timezone.utc)
        running = bool(record and not record.ended and report.is_running(record))
        schedule = describe(wanted, record, running, installed, now)
    fault: str | None = None
    folders: list[Folder] = []
    try:
        folders = report.list_folders(directory)
    except OSError as error:
        fault = str(error)
    return {
        "directory": directory,
        "fault": fault,
        **totals(folders, now),
        "gaps": gaps(hub, [folder.name for folder in folders]),
        "schedule": schedule,
    }


def gaps(hub: str, saved: list[str]) -> list[str]:
    """Return a message about the users' files that are in no backup.

    :param saved: the names of the volumes that have a backup.
    """
    try:
        client = connect_or_none()
        container = inspect_container(client, hub) if client else None
    except FAILURES:
        return ["backups: cannot tell whether they have all users' files, because Docker cannot be asked"]
    try:
        found = storage.not_backed_up(storage.read(container), saved) if container else []
    except DeployError as error:
        return [f"backups: cannot tell whether they have all users' files: {error}"]
    return storage.not_backed_up_message(found)


def totals(folders: list[Folder], now: datetime) -> dict[str, Any]:
    """Return the totals of all volumes, and an entry for each."""
    ages = [int((now - folder.newest).total_seconds()) for folder in folders if folder.newest]
    return {
        "archives": sum(folder.count for folder in folders),
        "size": sum(folder.size for folder in folders),
        "newest_age_seconds": min(ages, default=None),
        "volumes": [
            {
                "name": folder.name,
                "user": folder.user,
                "newest": folder.newest.isoformat() if folder.newest else None,
                "archives": folder.count,
                "size": folder.size,
                "good": folder.good,
            }
            for folder in folders
        ],
    }


def describe(
    wanted: Schedule, record: Record | None, running: bool, installed: datetime, now: datetime
) -> dict[str, Any]:
    """Return the state of a schedule.

    :param running: whether the run of the record is still in progress.
    :param installed: when the schedule was installed or last changed.
    """
    late = report.overdue(record, installed, wanted.late_hours, now)
    if not record:
        state = "waiting"
    elif record.ended:
        state = "failed" if record.error else "ok"
    else:
        state = "running" if running else "killed"
    return {
        "calendar": wanted.schedule,
        "state": state,
        "error": record.error if record else None,
        "last_run": (record.ended or record.began) if record else None,
        "last_success": record.last_success if record else None,
        "late": late is not None,
        "overdue_seconds": int(late.total_seconds()) if late else None,
    }


def messages(status: dict[str, Any], now: datetime) -> list[str]:
    """Return the status as lines to show."""
    lines: list[str] = []
    if status["fault"]:
        lines.append(Problem(f"backups: CANNOT BE READ: {status['fault']}"))
    elif status["archives"]:
        count = len([volume for volume in status["volumes"] if volume["newest"]])
        lines.append(
            f"backups: {status['archives']} in {status['directory']}, {human_size(status['size'])}, of {count} "
            f"volumes (the hub's own state is one); the newest was made {span(status['newest_age_seconds'])} ago"
        )
        unread = sum(volume["newest"] is not None and volume["good"] is None for volume in status["volumes"])
        if unread:
            lines.append(f"not verified yet: {unread} of the newest backups; run `make verify`")
    else:
        why = store.why_none(status["directory"])
        lines.append(f"backups: there are none in {status['directory']}{why and f' ({why})'}; `make backup` makes them")
    bad = [volume["name"] for volume in status["volumes"] if volume["good"] is False]
    if bad:
        lines.append(Problem(f"NOT GOOD is the newest backup of {', '.join(bad)}; `make verify` says why"))
    lines += status["gaps"]
    return [*lines, *_schedule(status["schedule"], now)]


def _schedule(schedule: dict[str, Any] | None, now: datetime) -> list[str]:
    if not schedule:
        return ["scheduled backups: none; jupyterhub_backup_schedule sets a time"]
    since = ""
    if schedule["last_run"]:
        since = f"{span(int((now - datetime.fromisoformat(schedule['last_run'])).total_seconds()))} ago"
    outcome = {
        "waiting": "no run yet",
        "ok": f"the last run went well, {since}",
        "failed": f"the last run FAILED, {since}: {schedule['error']}",
        "running": f"a run is going on, begun {since}",
        "killed": f"the last run was KILLED; it had begun {since}",
    }[schedule["state"]]
    line = f"scheduled backups: {schedule['calendar']}; {outcome}"
    lines: list[str] = [Problem(line) if schedule["state"] in ("failed", "killed") else line]
    if schedule["late"]:
        lines.append(Problem(f"LATE: no scheduled run has ended well for {span(schedule['overdue_seconds'])}"))
    return lines
