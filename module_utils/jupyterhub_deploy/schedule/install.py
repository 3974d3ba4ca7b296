"""Install or remove the schedule of a hub's backups: write the files, then enable the timer."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.processes import process_of, systemctl
from ansible.module_utils.jupyterhub_deploy.schedule import host_files, times
from ansible.module_utils.jupyterhub_deploy.schedule.host_files import File
from ansible.module_utils.jupyterhub_deploy.schedule.settings import Schedule

CRON_PID = "/run/crond.pid"
PACKAGES = {"ssh": "openssh-client"}  # programs whose package has another name

Result = dict[str, Any]


def run(wanted: Schedule, check_mode: bool) -> Result:
    """Install or remove a schedule, and return what the module ``jupyterhub_backup_schedule`` documents (``RETURN``).

    :raises DeployError: the schedule is not valid, or systemd reports an error.
    """
    systemd = times.has_systemd()
    result = install(wanted, systemd, check_mode) if wanted.schedule else remove(wanted, systemd, check_mode)
    return {
        **result,
        "starter": "systemd" if systemd else "cron",
        "missing": missing_packages(wanted, systemd) if wanted.schedule else [],
        "cron_runs": systemd or process_of(CRON_PID, "cron") is not None,
    }


def missing_packages(wanted: Schedule, systemd: bool) -> list[str]:
    """Return the packages that a run needs and that are not installed."""
    copies = bool(wanted.push)
    needed = {
        "zstd": wanted.backup.compression == "zstd",
        "age": bool(wanted.backup.recipients),
        "cron": not systemd,
        "rsync": copies,
        "ssh": copies,
    }
    return [PACKAGES.get(name, name) for name, need in needed.items() if need and not shutil.which(name)]


def install(wanted: Schedule, systemd: bool, check_mode: bool) -> Result:
    """Write the files of a schedule, remove those of an earlier version, and enable the timer."""
    times.check(wanted.schedule)
    if wanted.push:
        wanted.push.target()  # check it
    starters = host_files.starter_files(wanted.hub, wanted.schedule, wanted.backup.directory, systemd)
    desired = {
        **host_files.command_files(sys.executable),
        host.backup_settings(wanted.hub): File(wanted.to_json(), 0o600),
        **starters,
    }
    written = [path for path, file in desired.items() if needs_writing(path, file)]
    removed = host_files.obsolete_files(desired)
    timer = f"{host_files.unit_name(wanted.hub)}.timer"
    enabled = not systemd or (
        systemctl("is-enabled", timer, check=False) and systemctl("is-active", timer, check=False)
    )
    result = {
        "changed": bool(written or removed or not enabled),
        "written": written,
        "removed": removed,
        "diff": diff({path: desired[path].text for path in written}),
    }
    if not check_mode:
        for path in written:
            files.write_atomically(path, desired[path].text, desired[path].mode, parents=True)
        for path in removed:
            os.unlink(path)
        remove_empty_directories(host_files.LIBRARY)
        if systemd and any(path in starters for path in written):
            systemctl("daemon-reload")
        if systemd and (not enabled or f"{host_files.UNITS}/{timer}" in written):
            systemctl("enable", timer)
            systemctl("restart", timer)
    return result


def remove(wanted: Schedule, systemd: bool, check_mode: bool) -> Result:
    """Disable the timer and remove the files of a schedule. A run in progress continues to its end."""
    paths = host_files.hub_files(wanted.hub, wanted.metrics_dir)
    if not host_files.has_other_schedules(wanted.hub):
        paths += [host_files.COMMAND, *host_files.obsolete_files({})]
    removed = [path for path in paths if os.path.lexists(path)]
    result = {"changed": bool(removed), "written": [], "removed": removed, "diff": diff(dict.fromkeys(removed, ""))}
    unit = host_files.unit_name(wanted.hub)
    if removed and not check_mode:
        if systemd and f"{host_files.UNITS}/{unit}.timer" in removed:
            systemctl("disable", "--now", f"{unit}.timer")
            # Otherwise a schedule that is installed later would run at once, for the time without one.
            systemctl("clean", "--what=state", f"{unit}.timer", check=False)
        for path in removed:
            os.unlink(path)
        if host_files.COMMAND in removed:
            shutil.rmtree(host_files.LIBRARY, ignore_errors=True)
        if systemd:
            systemctl("daemon-reload")
            systemctl("reset-failed", f"{unit}.service", check=False)
    return result


def needs_writing(path: str, wanted: File) -> bool:
    """Return whether a file is missing or has another content or other permissions."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() != wanted.text or os.fstat(file.fileno()).st_mode & 0o7777 != wanted.mode
    except (FileNotFoundError, UnicodeDecodeError):
        return True


def diff(after: dict[str, str]) -> list[dict[str, str]]:
    """Return Ansible's diff of files that change, without the command's modules.

    :param after: the new texts, by path.
    """
    return [
        {"before_header": path, "after_header": path, "before": _shown(path), "after": text}
        for path, text in after.items()
        if not path.startswith(host_files.LIBRARY)
    ]


def _shown(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def remove_empty_directories(path: str) -> None:
    """Remove the directories below a directory that have nothing in them."""
    for parent, names, _ in os.walk(path, topdown=False):
        for name in names:
            directory = os.path.join(parent, name)
            if not os.listdir(directory):
                os.rmdir(directory)
