"""Base of action plugins for long-running modules: runs the module as a job on the target and shows its progress.

A module reports with ``ansible.module_utils.jupyterhub_deploy.progress.Reporter`` to the file in its option
``progress_file``. A plugin with the module's name uses this one like this::

    from ansible.plugins.loader import action_loader

    class ActionModule(action_loader.get("progress", class_only=True)):
        \"\"\"Show the progress of the module of the same name.\"\"\"

All files on the target are in one temporary folder; it and the job's status file are removed at the end.
"""

from __future__ import annotations

import os
import shlex
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Seconds between two polls of the target. A poll costs only a round trip and a `tail`.
INTERVAL = 2.0

# After this many seconds without a new line, the last one is shown again with its age.
HEARTBEAT = 15.0

# Seconds until a job times out. The longest job is a build on a slow machine with a slow network.
TIME_LIMIT = 3 * 3600

# In the status file of a job until its module has ended.
UNFINISHED = '"finished": (false|0)'

# After this many polls Ansible's own module checks the status, which detects failures that a poll does not.
PATIENCE = 30

# Keys of a job's status that are not in the module's result.
JOB_KEYS = ("started", "finished", "ansible_job_id", "results_file")


class Feed:
    """Turns data from a progress file into lines to show."""

    def __init__(self, now: float) -> None:
        self.offset = 0
        self.rest = b""
        self.line = ""
        self.began = now
        self.shown = now

    def take(self, data: bytes, now: float) -> list[str]:
        """Return the lines to show for the bytes that were added since the last call.

        Without new lines, this is the last line with its age, at most every :data:`HEARTBEAT` seconds.
        """
        self.offset += len(data)
        *complete, self.rest = (self.rest + data).split(b"\n")
        lines = [line.decode(errors="replace") for line in complete if line.strip()]
        if lines:
            self.line, self.began, self.shown = lines[-1], now, now
            return lines
        if self.line and now - self.shown >= HEARTBEAT:
            self.shown = now
            return [f"{self.line} ({now - self.began:.0f} s)"]
        return []


class ActionModule(ActionBase):  # type: ignore[misc]
    """Run the module that the task names, with progress; in check mode, run it like any other module."""

    _supports_check_mode = True
    _supports_async = False

    def prepare(self, args: dict[str, Any], folder: str | None) -> dict[str, Any]:
        """Return the module's arguments; copy the files that it needs to the target.

        :param folder: a temporary folder on the target, ``None`` in check mode.
        """
        return args

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if self._task.check_mode:
            result.update(self._execute_module(module_args=self.prepare(args, None), task_vars=task_vars))
            return result
        folder = self._make_tmp_path()
        progress_file = self._connection._shell.join_path(folder, "progress")
        args = {**self.prepare(args, folder), "progress_file": progress_file}
        # A job removes the folder that it was started from, so it must not be this one: unread lines would be lost.
        self._connection._shell.tmpdir = None
        job = self._start(args, task_vars)
        # Ansible removes this folder when the plugin ends; starting a job disables that.
        self._connection._shell.tmpdir = folder
        self._cleanup_remote_tmp = True
        result.update(self._follow(job, progress_file, task_vars))
        return result

    def _start(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Start the module as a job and return the job's status."""
        self._task.async_val = TIME_LIMIT
        try:
            return dict(self._execute_module(module_args=args, task_vars=task_vars, wrap_async=True))
        finally:
            self._task.async_val = 0

    def _follow(self, job: dict[str, Any], progress_file: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Show the lines of a job until it ends; return its result."""
        if job.get("failed") or not job.get("ansible_job_id"):
            return job
        status_module = "ansible.legacy.async_status"
        where = {"jid": job["ansible_job_id"], "_async_dir": os.path.dirname(job["results_file"])}
        running = f"grep -qE {shlex.quote(UNFINISHED)} {shlex.quote(job['results_file'])}"
        file = shlex.quote(progress_file)
        hosts = (task_vars or {}).get("ansible_play_hosts") or []
        who = f"[{(task_vars or {})['inventory_hostname']}] " if len(hosts) > 1 else ""
        feed, deadline, polls_left = Feed(time.monotonic()), time.monotonic() + TIME_LIMIT + 60, PATIENCE
        while True:
            time.sleep(INTERVAL)
            # In this order: after the job has ended, all lines that it wrote are read.
            poll = f"{running}; ended=$?; if test -e {file}; then tail -c +{feed.offset + 1} {file}; fi; exit $ended"
            seen = self._low_level_execute_command(poll)
            # Over SSH with sudo, a terminal in between changes the line endings.
            text = seen["stdout"].replace("\r\n", "\n")
            for line in feed.take(text.encode(), time.monotonic()):
                Display().display(f"    {who}{line}")
            polls_left -= 1
            if seen["rc"] == 0 and polls_left > 0:
                continue
            polls_left = PATIENCE
            status = self._execute_module(status_module, {**where, "mode": "status"}, task_vars=task_vars)
            if status.get("finished") or status.get("failed"):
                break
            if time.monotonic() > deadline:
                raise AnsibleActionFail(f"{self._task.action} did not end within {TIME_LIMIT} s; look at the host")
        self._execute_module(status_module, {**where, "mode": "cleanup"}, task_vars=task_vars)
        return {key: value for key, value in status.items() if key not in JOB_KEYS}
