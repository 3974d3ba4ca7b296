"""The files that make a hub's scheduled backups: the command, what it imports, its settings, its starter."""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import re
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.schedule import cli, report

PACKAGE = "ansible.module_utils.jupyterhub_deploy"
LIBRARY = "/usr/local/lib/jupyterhub-deploy"
COMMAND = f"/usr/local/sbin/{report.COMMAND}"
UNITS = "/etc/systemd/system"
CRON = "/etc/cron.d"
LOGS = "/var/log"

# -I: neither the caller's environment nor a directory of theirs decides what is imported. What is inserted comes before
# all that is installed, so that an Ansible on this host is not what `ansible` means here.
SCRIPT = """\
#!{python} -I
# Written by site.yml of jupyterhub-deploy-ansible; removed when jupyterhub_backup_schedule is emptied.
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "{library}")

from {package}.schedule.cli import main

sys.exit(main())
"""

SERVICE = """\
# Written by site.yml of jupyterhub-deploy-ansible. For changes of your own: systemctl edit {unit}.service
[Unit]
Description=Back up the JupyterHub "{hub}" and read the new backups again
After=docker.service network-online.target

[Service]
Type=oneshot
ExecStart={command} --hub {hub} run
# Nobody waits for it, and people work meanwhile.
Nice=10
IOSchedulingClass=idle
# One that hangs must not keep all later ones away.
TimeoutStartSec=1d
UMask=0077
# It reads every user's files and asks Docker, so it is root; it has no need to change the system.
ProtectSystem=full
ProtectHome=read-only
# The second for the key that it shows to another machine, which the first run that pushes makes.
ReadWritePaths=-{directory} -/etc/jupyterhub-deploy
PrivateTmp=true
NoNewPrivileges=true
ProtectKernelTunables=true
ProtectKernelModules=true
ProtectControlGroups=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=true
RestrictRealtime=true
LockPersonality=true
"""

TIMER = """\
# Written by site.yml of jupyterhub-deploy-ansible. For changes of your own: systemctl edit {unit}.timer
[Unit]
Description=When to back up the JupyterHub "{hub}"

[Timer]
OnCalendar={schedule}
# A host that was off at that time makes up for it.
Persistent=true
# Many hosts with one schedule do not all begin at once; each at its own time, the same every night.
RandomizedDelaySec=10min
FixedRandomDelay=true

[Install]
WantedBy=timers.target
"""

CRONTAB = """\
# Written by site.yml of jupyterhub-deploy-ansible. The log holds the last run's output, users' names included.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{when} root umask 077; nice -n 10 ionice -c 3 {command} --hub {hub} run >{log} 2>&1
"""

SHORTHANDS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # 1 to 7, as cron counts them
CALENDAR = re.compile(
    r"(?:(?P<days>[A-Za-z][A-Za-z.,]*)\s+)?"
    r"(?:\*-\*-(?P<date>\*|\d{1,2})\s+)?"
    r"(?P<hour>[\d*,/]+):(?P<minute>[\d*,/]+)(?::0?0)?"
)


class File(NamedTuple):
    """What a file has to be."""

    text: str
    mode: int


def unit_of(hub: str) -> str:
    """Return the name of a hub's units, without their ending."""
    return f"{hub}-backup"


def sources() -> dict[str, str]:
    """Return the text of every module that the command imports, by its path below :data:`LIBRARY`.

    They are those that run here, as Ansible brought them: the schedule has no code of its own.
    """
    found = {"ansible/__init__.py": "", "ansible/module_utils/__init__.py": ""}
    todo = {cli.__name__}
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        package, _, module = name.rpartition(".")
        if package != PACKAGE.rpartition(".")[0] and package not in seen:
            todo.add(package)
        data = _source(package, module)
        if data is None:  # a name that a module defines, not a module
            continue
        path, text = data
        found[path] = text
        todo |= imported(text) - seen
    return found


def _source(package: str, module: str) -> tuple[str, str] | None:
    """Return the path below :data:`LIBRARY` and the text of a module or a sub-package, ``None`` when it is neither."""
    folder = package.replace(".", "/")
    for path, resource in (
        (f"{folder}/{module}.py", f"{module}.py"),
        (f"{folder}/{module}/__init__.py", "__init__.py"),
    ):
        where = f"{package}.{module}" if resource == "__init__.py" else package
        try:
            data = pkgutil.get_data(where, resource)
        except (OSError, ImportError):
            continue
        if data is not None:
            return path, data.decode()
    return None


def imported(text: str) -> set[str]:
    """Return the dotted names of ours that a module's text may import: modules, and names in them."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def cron_of(schedule: str) -> str:
    """Return a systemd calendar expression as cron has it.

    :raises DeployError: cron has no such time, or it is one that this does not know.
    """
    if schedule in SHORTHANDS:
        return SHORTHANDS[schedule]
    match = CALENDAR.fullmatch(schedule.strip())
    try:
        if not match or (match["days"] and match["date"] not in (None, "*")):
            raise ValueError
        hour, minute = _part(match["hour"], 23), _part(match["minute"], 59)
        date = _part(match["date"], 31) if match["date"] else "*"
        days = _days(match["days"]) if match["days"] else "*"
    except ValueError:
        raise DeployError(
            f"jupyterhub_backup_schedule is {schedule!r}, and this host has cron and no systemd: give the time as "
            "daily, hourly, 02:30, *:0/15, Mon..Fri 02:30 or *-*-01 02:30"
        ) from None
    return f"{minute} {hour} {date} * {days}"


def _part(text: str, last: int) -> str:
    """Return an hour, a minute or a day: `*`, `1,5` or `0/15`."""
    parts = []
    for part in text.split(","):
        start, _, step = part.partition("/")
        if step:
            parts.append(f"{_number(start, last)}-{last}/{int(step)}" if start != "*" else f"*/{int(step)}")
        else:
            parts.append("*" if part == "*" else str(_number(part, last)))
    return ",".join(parts)


def _number(text: str, last: int) -> int:
    if int(text) > last:
        raise ValueError
    return int(text)


def _days(text: str) -> str:
    numbers = []
    for part in text.lower().split(","):
        ends = [DAYS.index(day[:3]) + 1 for day in part.split("..")]
        if len(ends) > 2:
            raise ValueError
        numbers.append("-".join(map(str, ends)))
    return ",".join(numbers)


def settings_text(
    schedule: str, late_hours: float, metrics_dir: str, backup: dict[str, Any], push: dict[str, Any] | None
) -> str:
    """Return the settings that the command reads."""
    settings = {"schedule": schedule, "late_hours": late_hours, "metrics_dir": metrics_dir, "backup": backup}
    if push:
        settings["push"] = push
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def starters(hub: str, schedule: str, directory: str, systemd: bool) -> dict[str, File]:
    """Return the files that have the command started: two units, or a crontab.

    :raises DeployError: cron cannot do what is asked for.
    """
    unit = unit_of(hub)
    words = {"hub": hub, "unit": unit, "schedule": schedule, "directory": directory, "command": COMMAND}
    if systemd:
        return {
            f"{UNITS}/{unit}.service": File(SERVICE.format(**words), 0o644),
            f"{UNITS}/{unit}.timer": File(TIMER.format(**words), 0o644),
        }
    text = CRONTAB.format(when=cron_of(schedule), log=f"{LOGS}/{unit}.log", **words)
    return {f"{CRON}/{unit}": File(text, 0o644)}


def command_files(python: str) -> dict[str, File]:
    """Return the command and what it imports. Several hubs on a host share them.

    :param python: the interpreter that has the docker SDK.
    """
    files = {f"{LIBRARY}/{path}": File(text, 0o644) for path, text in sources().items()}
    script = SCRIPT.format(python=python, library=LIBRARY, package=PACKAGE)
    return {**files, COMMAND: File(script, 0o755)}


def leavings(hub: str, metrics_dir: str) -> list[str]:
    """Return all files that a schedule may have left for one hub, its units first."""
    unit = unit_of(hub)
    return [
        f"{UNITS}/{unit}.timer",
        f"{UNITS}/{unit}.service",
        f"{CRON}/{unit}",
        f"{LOGS}/{unit}.log",
        report.metrics_path(metrics_dir, hub),
        report.record_path(hub),
        host.backup_settings(hub),
    ]


def others(hub: str) -> bool:
    """Return whether another hub on this host has a schedule."""
    mine = os.path.basename(host.backup_settings(hub))
    try:
        names = os.listdir(host.SETTINGS_DIR)
    except FileNotFoundError:
        return False
    return any(re.fullmatch(r"backup-.+\.json", name) and name != mine for name in names)
