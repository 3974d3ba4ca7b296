"""The command ``jupyterhub-backup`` on a host, which the schedule runs; administrators can run it, too.

It reads its settings from ``/etc/jupyterhub-deploy/backup-<hub>.json``, and uses the same code as the modules
``jupyterhub_backup`` and ``jupyterhub_backup_verify``.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup import verify as backup_verify
from ansible.module_utils.jupyterhub_deploy.copy import push
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.schedule import report, settings
from ansible.module_utils.jupyterhub_deploy.schedule.settings import Schedule
from ansible.module_utils.jupyterhub_deploy.text import human_size

# Days after which a good backup is verified again: disks can lose data.
AGAIN_AFTER_DAYS = 30
PROGRESS = Reporter("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="jupyterhub-backup", description="Back up a JupyterHub on this host.")
    parser.add_argument("--hub", help="name of the hub; not needed when there is only one")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="back up what has changed, remove old backups, and verify the new ones")
    verify = verbs.add_parser("verify", help="verify backups")
    verify.add_argument("--user", action="append", default=[], help="only backups of this user; can be repeated")
    verify.add_argument(
        "backup", nargs="?", default=backup_verify.ALL, help="all (the default), newest, or a name: 20261123T014440Z"
    )
    verbs.add_parser("list", help="list the backups")
    given = parser.parse_args(arguments)
    try:
        wanted = find_schedule(given.hub)
        if given.verb == "run":
            return run(wanted)
        if given.verb == "verify":
            return exit_status(verify_backups(wanted, given.user, given.backup, 0))
        print_backups(wanted)
    except BrokenPipeError:  # of `| head`
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except FAILURES as error:
        return exit_status(str(error))
    return 0


def find_schedule(hub: str | None) -> Schedule:
    """Return the schedule of a hub.

    :param hub: its name; ``None`` for the only one on this host.
    :raises DeployError: there is none, or there are several.
    """
    names = sorted(
        os.path.basename(path)[len("backup-") : -len(".json")]
        for path in glob.glob(os.path.join(glob.escape(host.SETTINGS_DIR), "backup-*.json"))
    )
    if hub is None and len(names) > 1:
        raise DeployError(f"there are several hubs on this host; select one: --hub {' or --hub '.join(names)}")
    hub = hub or (names[0] if names else None)
    found = settings.read(hub) if hub else None
    if not found:
        raise DeployError(
            f"no backups{f' of hub {hub}' if hub else ''} are scheduled on this host; "
            "set jupyterhub_backup_schedule and run make site, or run make backup"
        )
    return found


def run(wanted: Schedule) -> int:
    """Back up, verify the newest backups, push them to another machine; write the record and metrics."""
    hub = wanted.hub
    before = report.read_record(hub)
    record = report.Record(
        began=report.now(), process=os.getpid(), last_success=before.last_success if before else None
    )
    with _problem() as recording:  # a backup is worth more than its record
        report.write_record(hub, record)
    signal.signal(signal.SIGTERM, _raise_stopped)
    totals: dict[str, int] = {}
    problems: list[str | None] = ["the run was ended by a bug in the deployment; its traceback is in the log"]
    try:
        with _problem() as backing_up:
            result = backup_run.run(wanted.backup, False, PROGRESS)
            totals = result["totals"]
            backing_up.append(backup_run.failure(result["results"]))
        with _problem() as verifying:
            if totals:  # otherwise there may be no backups, or the directory may be unavailable
                verifying.append(verify_backups(wanted, [], backup_verify.NEWEST, AGAIN_AFTER_DAYS))
        with _problem() as copying:
            if wanted.push:
                push.push(wanted.backup.directory, wanted.push, False, PROGRESS)
        problems = recording + backing_up + verifying + copying
    except _StoppedError as error:
        problems = [str(error)]
    finally:
        message = "; ".join(problem for problem in problems if problem) or None
        now = report.now()
        success = record.last_success if message else now
        record = replace(record, ended=now, error=message, totals=totals, last_success=success)
        with _problem() as reporting:
            write_report(wanted, record)
    return exit_status("; ".join(problem for problem in [message, *reporting] if problem) or None)


@contextlib.contextmanager
def _problem() -> Any:
    """Collect the errors of one step, so that the next step runs nevertheless."""
    found: list[str | None] = []
    try:
        yield found
    except FAILURES as error:
        found.append(str(error))


class _StoppedError(BaseException):
    """The whole run is to end, not only the current step."""


def _raise_stopped(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the record and metrics are still to be written
    raise _StoppedError(f"the run was stopped by {signal.Signals(number).name}")


def verify_backups(wanted: Schedule, users: list[str], which: str, again_after_days: int) -> str | None:
    """Verify backups; return the problems, ``None`` when all are good."""
    options = backup_verify.VerifySettings(wanted.hub, wanted.backup.directory, users, which, again_after_days)
    return backup_verify.failure(backup_verify.run(options, False, PROGRESS))


def write_report(wanted: Schedule, record: report.Record) -> None:
    """Write the record and the metrics of a run that has ended."""
    report.write_record(wanted.hub, record)
    try:
        folders = report.list_folders(wanted.backup.directory)
    except OSError:  # the run has failed with the same error already
        folders = []
    text = report.metrics(wanted.hub, record, folders, wanted.late_hours)
    report.write_metrics(wanted.metrics_dir, wanted.hub, text)


def print_backups(wanted: Schedule) -> None:
    """Print the backups."""
    every = [one for many in store.every_backup(wanted.backup.directory).values() for one in many]
    width = max((len(one.manifest.folder) for one in every), default=0)
    for one in every:
        known = backup_verify.read_record(one)
        state = backup_verify.describe(known.good, known.fault) if known else backup_verify.describe(None, None)
        print(f"{one.manifest.folder:{width}}  {one.stem}  {human_size(one.manifest.size):>9}  {state}")


def exit_status(error: str | None) -> int:
    """Print the error, if any, and return the exit status."""
    if not error:
        return 0
    # The journal reads the prefix as the priority "error", so that `journalctl -p err` shows the line.
    mark = "<3>" if "JOURNAL_STREAM" in os.environ else ""
    print(f"{mark}jupyterhub-backup: {error}".replace("\n", " "), file=sys.stderr, flush=True)
    return 1
