"""The files of scheduled backups: the command, the modules that it imports, its settings, and its timer or crontab."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.schedule import report, times

PACKAGE = "ansible.module_utils.jupyterhub_deploy"
LIBRARY = "/usr/local/lib/jupyterhub-deploy"
COMMAND = f"/usr/local/sbin/{report.COMMAND}"
UNITS = "/etc/systemd/system"
CRON = "/etc/cron.d"
LOGS = "/var/log"

# -I: neither the caller's environment nor the current directory can add modules. The library is inserted first: an
# Ansible that is installed on this host must not be imported instead.
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
Description=Back up the JupyterHub "{hub}" and verify the new backups
After=docker.service network-online.target

[Service]
Type=oneshot
ExecStart={command} --hub {hub} run
# Users work while it runs.
Nice=10
IOSchedulingClass=idle
# A run that hangs must not prevent all later runs.
TimeoutStartSec=1d
UMask=0077
# It runs as root because it reads all users' files and connects to Docker. It does not change the system.
ProtectSystem=full
ProtectHome=read-only
# The second path: the first run that pushes creates its SSH key there.
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
# Run after booting if the host was off at that time.
Persistent=true
# Spread hosts with the same schedule; each host keeps its own delay.
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


class File(NamedTuple):
    """The content and the permissions of a file."""

    text: str
    mode: int


def unit_name(hub: str) -> str:
    """Return the name of a hub's units, without their suffix."""
    return f"{hub}-backup"


def library_files() -> dict[str, str]:
    """Return the modules for the command, by their paths below :data:`LIBRARY`.

    They are the modules that run now: on a target, those that Ansible packed for the module that calls this, which
    imports the command too.
    """
    found = {"ansible/__init__.py": "", "ansible/module_utils/__init__.py": ""}
    ours = importlib.import_module(PACKAGE)
    names = [(PACKAGE, True), *((one.name, one.ispkg) for one in pkgutil.walk_packages(ours.__path__, f"{PACKAGE}."))]
    for name, is_package in names:
        package, _, module = name.rpartition(".")
        data = pkgutil.get_data(*((name, "__init__.py") if is_package else (package, f"{module}.py")))
        found[f"{name.replace('.', '/')}{'/__init__' if is_package else ''}.py"] = (data or b"").decode()
    return found


def starter_files(hub: str, schedule: str, directory: str, systemd: bool) -> dict[str, File]:
    """Return the files that start the command: two units, or a crontab.

    :raises DeployError: cron does not accept the schedule.
    """
    unit = unit_name(hub)
    values = {"hub": hub, "unit": unit, "schedule": schedule, "directory": directory, "command": COMMAND}
    if systemd:
        return {
            f"{UNITS}/{unit}.service": File(SERVICE.format(**values), 0o644),
            f"{UNITS}/{unit}.timer": File(TIMER.format(**values), 0o644),
        }
    text = CRONTAB.format(when=times.cron_time(schedule), log=f"{LOGS}/{unit}.log", **values)
    return {f"{CRON}/{unit}": File(text, 0o644)}


def command_files(python: str) -> dict[str, File]:
    """Return the command and its modules. All hubs of a host share them.

    :param python: the interpreter that has the docker SDK.
    """
    files = {f"{LIBRARY}/{path}": File(text, 0o644) for path, text in library_files().items()}
    script = SCRIPT.format(python=python, library=LIBRARY, package=PACKAGE)
    return {**files, COMMAND: File(script, 0o755)}


def hub_files(hub: str, metrics_dir: str) -> list[str]:
    """Return the paths of all files that a schedule of one hub may have written, its units first."""
    unit = unit_name(hub)
    return [
        f"{UNITS}/{unit}.timer",
        f"{UNITS}/{unit}.service",
        f"{CRON}/{unit}",
        f"{LOGS}/{unit}.log",
        report.metrics_path(metrics_dir, hub),
        report.record_path(hub),
        host.backup_settings(hub),
    ]


def obsolete_files(wanted: dict[str, File]) -> list[str]:
    """Return the files in :data:`LIBRARY` that are not wanted, such as the modules of an earlier version."""
    found = [os.path.join(parent, name) for parent, _, names in os.walk(LIBRARY) for name in names]
    return sorted(path for path in found if path not in wanted)


def has_other_schedules(hub: str) -> bool:
    """Return whether another hub on this host has a schedule."""
    own = os.path.basename(host.backup_settings(hub))
    try:
        names = os.listdir(host.SETTINGS_DIR)
    except FileNotFoundError:
        return False
    return any(re.fullmatch(r"backup-.+\.json", name) and name != own for name in names)
