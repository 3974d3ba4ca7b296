#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_schedule
short_description: Have a host back up its hub by itself
description:
  - Installs the command C(jupyterhub-backup) with the very code that the module M(jupyterhub_backup) runs, its
    settings, and a systemd timer that starts it. Where systemd is not the first process, a crontab in C(/etc/cron.d).
  - The names follow the hub's, so that several hubs on a host have schedules of their own. They share the command.
  - With an empty O(schedule) all of that is removed again. The backups stay.
author: jupyterhub-deploy-ansible contributors
options:
  schedule:
    description:
      - When, as systemd writes it (C(man systemd.time)), such as V(02:30) or V(Mon..Fri 02:30).
      - Of this, cron knows V(hourly), V(daily), V(weekly), V(monthly), days of the week, a day of the month, and times.
    type: str
    required: true
  late_hours:
    description: Hours without a good run after which backups are late.
    type: float
    default: 26
  metrics_dir:
    description: Directory for the file of metrics.
    type: path
    default: /var/lib/jupyterhub-deploy/metrics
  backup:
    description: What the module M(jupyterhub_backup) is to be given in each run. See there.
    type: dict
    required: true
  push:
    description:
      - Another machine that each run sends the backups to, with the options C(to), C(host_key), C(key_file) and C(port)
        of the module M(jupyterhub_backup_copy). The key is made when it is not there. None when not given.
    type: dict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Back up every night
  jupyterhub_backup_schedule:
    schedule: 02:30
    backup:
      name: jupyterhub
      directory: /var/backups/jupyterhub
      keep:
        daily: 7

- name: Do not any more
  jupyterhub_backup_schedule:
    schedule: ""
    backup:
      name: jupyterhub
      directory: /var/backups/jupyterhub
"""

RETURN = r"""
starter:
  description: What starts the command, V(systemd) or V(cron).
  type: str
  returned: success
written:
  description: Files that were written.
  type: list
  elements: str
  returned: success
removed:
  description: Files that were removed.
  type: list
  elements: str
  returned: success
missing:
  description: Packages that a run needs and that are not there.
  type: list
  elements: str
  returned: success
  sample: [zstd]
cron_runs:
  description: Whether the program cron runs; true where systemd does the work.
  type: bool
  returned: success
"""

import os
import shutil
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import job
from ansible.module_utils.jupyterhub_deploy.copy import push as backup_copy
from ansible.module_utils.jupyterhub_deploy.docker.daemon_info import process_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.schedule import install as backup_schedule
from ansible.module_utils.jupyterhub_deploy.schedule import report

CRON_PID = "/run/crond.pid"


def systemctl(*arguments: str, check: bool = True) -> bool:
    """Run systemctl; return whether it said yes.

    :raises DeployError: it failed and ``check`` is set.
    """
    done = subprocess.run(
        ["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode:
        raise DeployError(f"systemctl {' '.join(arguments)} failed: {done.stdout.strip()}")
    return done.returncode == 0


def check_calendar(schedule: str) -> None:
    """Raise an error when systemd does not understand a time."""
    done = subprocess.run(["systemd-analyze", "calendar", "--", schedule], capture_output=True, text=True, check=False)
    if done.returncode or not schedule.isprintable():
        raise DeployError(
            f"jupyterhub_backup_schedule is {schedule!r}, which systemd does not understand: {done.stderr.strip()}; "
            "write for instance 02:30 or Mon..Fri 02:30 (man systemd.time)"
        )


def differs(path: str, wanted: backup_schedule.File) -> bool:
    """Return whether a file is not what it has to be."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() != wanted.text or os.fstat(file.fileno()).st_mode & 0o7777 != wanted.mode
    except (FileNotFoundError, UnicodeDecodeError):
        return True


def strangers(wanted: dict[str, backup_schedule.File]) -> list[str]:
    """Return files in the command's library that do not belong there any more."""
    found = [os.path.join(parent, name) for parent, _, names in os.walk(backup_schedule.LIBRARY) for name in names]
    return sorted(path for path in found if path not in wanted)


def text_of(path: str) -> str:
    """Return a file's text for a diff, empty when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def install(module: AnsibleModule, systemd: bool) -> dict[str, Any]:
    """Have the schedule; return what was done."""
    params = module.params
    hub, directory, schedule = params["backup"]["name"], params["backup"]["directory"], params["schedule"]
    if systemd:
        check_calendar(schedule)
    starters = backup_schedule.starters(hub, schedule, directory, systemd)
    if params["push"]:
        backup_copy.checked(params["push"])
    settings = backup_schedule.settings_text(
        schedule, params["late_hours"], params["metrics_dir"], params["backup"], params["push"]
    )
    wanted = {
        **backup_schedule.command_files(sys.executable),
        host.backup_settings(hub): backup_schedule.File(settings, 0o600),
        **starters,
    }
    written = [path for path, file in wanted.items() if differs(path, file)]
    removed = strangers(wanted)
    timer = f"{backup_schedule.unit_of(hub)}.timer"
    waits = not systemd or (systemctl("is-enabled", timer, check=False) and systemctl("is-active", timer, check=False))
    shown = [path for path in written if not path.startswith(backup_schedule.LIBRARY)]
    diff = [
        {"before_header": path, "after_header": path, "before": text_of(path), "after": wanted[path].text}
        for path in shown
    ]
    if not module.check_mode:
        for path in written:
            report.write(path, wanted[path].text, wanted[path].mode)
        for path in removed:
            os.unlink(path)
        if systemd and any(path in starters for path in written):
            systemctl("daemon-reload")
        if systemd and (not waits or f"{backup_schedule.UNITS}/{timer}" in written):
            systemctl("enable", timer)
            systemctl("restart", timer)
    return {"changed": bool(written or removed or not waits), "written": written, "removed": removed, "diff": diff}


def remove(module: AnsibleModule, systemd: bool) -> dict[str, Any]:
    """Have no schedule; return what was done. A run that is going on ends as usual."""
    hub = module.params["backup"]["name"]
    paths = backup_schedule.leavings(hub, module.params["metrics_dir"])
    if not backup_schedule.others(hub):
        paths += [backup_schedule.COMMAND, *strangers({})]
    removed = [path for path in paths if os.path.lexists(path)]
    diff = [{"before_header": path, "after_header": path, "before": text_of(path), "after": ""} for path in removed]
    unit = backup_schedule.unit_of(hub)
    if removed and not module.check_mode:
        if systemd and f"{backup_schedule.UNITS}/{unit}.timer" in removed:
            systemctl("disable", "--now", f"{unit}.timer")
            # Else a schedule that is set later would make up for the time without one.
            systemctl("clean", "--what=state", f"{unit}.timer", check=False)
        for path in removed:
            os.unlink(path)
        if backup_schedule.COMMAND in removed:
            shutil.rmtree(backup_schedule.LIBRARY, ignore_errors=True)
        if systemd:
            systemctl("daemon-reload")
            systemctl("reset-failed", f"{unit}.service", check=False)
    shown = [one for one in diff if not one["before_header"].startswith(backup_schedule.LIBRARY)]
    return {"changed": bool(removed), "written": [], "removed": removed, "diff": shown}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "schedule": {"type": "str", "required": True},
            "late_hours": {"type": "float", "default": 26},
            "metrics_dir": {"type": "path", "default": "/var/lib/jupyterhub-deploy/metrics"},
            "backup": {"type": "dict", "required": True, "options": job.ARGUMENTS},
            "push": {"type": "dict", "options": backup_copy.ARGUMENTS, "no_log": False},
        },
        supports_check_mode=True,
    )
    systemd = os.path.isdir("/run/systemd/system")
    wanted = bool(module.params["schedule"])
    try:
        result = install(module, systemd) if wanted else remove(module, systemd)
    except DeployError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the schedule of backups cannot be written or removed: {error}")
    backup, push = module.params["backup"], bool(module.params["push"])
    needed = {"zstd": backup["compression"] == "zstd", "age": bool(backup["recipients"]), "cron": not systemd}
    needed.update({"rsync": push, "ssh": push})
    packages = {"ssh": "openssh-client"}  # each other has the name of its program
    lacking = [name for name, need in needed.items() if wanted and need and not shutil.which(name)]
    module.exit_json(
        starter="systemd" if systemd else "cron",
        missing=[packages.get(name, name) for name in lacking],
        cron_runs=systemd or process_of(CRON_PID, "cron") is not None,
        **result,
    )


if __name__ == "__main__":
    main()
