"""Reports about scheduled backups: the record of the last run, whether backups are late, and Prometheus metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone

from ansible.module_utils.jupyterhub_deploy.backup import store, verify
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import write_atomically

STATE_DIR = "/var/lib/jupyterhub-deploy"
COMMAND = "jupyterhub-backup"


@dataclass(frozen=True)
class Record:
    """The last scheduled run. The field names are those in the JSON file."""

    began: str  # ISO 8601, UTC
    process: int
    ended: str | None = None  # None while it runs, and after it was killed
    error: str | None = None
    last_success: str | None = None  # when the last run without any error ended
    totals: dict[str, int] = field(default_factory=dict)  # of jupyterhub_backup


@dataclass(frozen=True)
class Folder:
    """The backups of one volume, or of the hub's own state."""

    name: str
    user: str | None
    newest: datetime | None
    count: int
    size: int  # bytes of all archives
    good: bool | None  # the newest; None when it was not verified yet


def record_path(hub: str) -> str:
    """Return the path of the record of a hub's last run."""
    return os.path.join(STATE_DIR, f"backup-{hub}.json")


def metrics_path(directory: str, hub: str) -> str:
    """Return the path of the metrics of a hub's backups."""
    return os.path.join(directory, f"jupyterhub_backup_{hub}.prom")


def read_record(hub: str) -> Record | None:
    """Return the record of a hub's last scheduled run, ``None`` when there was none."""
    try:
        with open(record_path(hub), encoding="utf-8") as file:
            record = Record(**json.load(file))
        for moment in (record.began, record.ended, record.last_success):
            if moment is not None and datetime.fromisoformat(moment).tzinfo is None:
                return None
        return record if record.began and set(map(type, record.totals.values())) <= {int} else None
    # A damaged record counts as none: the next run writes a new one.
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def write_record(hub: str, record: Record) -> None:
    """Write the run record."""
    write_atomically(record_path(hub), json.dumps(asdict(record), indent=2, sort_keys=True) + "\n", parents=True)


def write_metrics(directory: str, hub: str, text: str) -> None:
    """Write the metrics of a hub's backups."""
    write_atomically(metrics_path(directory, hub), text, 0o644, parents=True)


def is_running(record: Record) -> bool:
    """Return whether the run of a record without an end is still in progress."""
    try:
        with open(f"/proc/{record.process}/cmdline", "rb") as file:
            return COMMAND.encode() in file.read()
    except OSError:
        return False


def list_folders(directory: str) -> list[Folder]:
    """Return the folders with their backups. Reads only the newest manifest of each folder."""
    found = []
    for name in store.folders(directory):
        path = os.path.join(directory, name)
        files = os.listdir(path)
        stems = sorted(file[:-5] for file in files if file.endswith(".json") and store.STEM.fullmatch(file[:-5]))
        newest = None
        for stem in reversed(stems):
            try:
                newest = store.load(directory, name, stem)
                break
            except DeployError:
                continue
        archives = [file for file in files if ".tar" in file and file.partition(".")[0] in stems]
        known = verify.read_record(newest) if newest else None
        found.append(
            Folder(
                name=name,
                user=newest.manifest.user if newest else None,
                newest=newest.time if newest else None,
                count=len(archives),
                size=sum(os.lstat(os.path.join(path, file)).st_size for file in archives),
                # A manifest that cannot be read is of a damaged backup.
                good=False if stems and (not newest or newest.stem != stems[-1]) else known.good if known else None,
            )
        )
    return found


def overdue(record: Record | None, since: datetime, hours: float, now: datetime) -> timedelta | None:
    """Return the time since the last successful run if backups are late, ``None`` otherwise.

    :param since: when the schedule was installed; used while no run has succeeded.
    """
    last = datetime.fromisoformat(record.last_success) if record and record.last_success else since
    return now - last if now - last > timedelta(hours=hours) else None


def metrics(hub: str, record: Record, folders: list[Folder], late_hours: float) -> str:
    """Return the metrics in Prometheus' text format.

    It contains no names of users or volumes: many programs may read the file.
    """
    lines: list[str] = []
    for name, text, samples in _families(record, folders, late_hours):
        lines += [f"# HELP jupyterhub_backup_{name} {text}", f"# TYPE jupyterhub_backup_{name} gauge"]
        for labels, value in samples:
            shown = ",".join(f'{key}="{label}"' for key, label in {"hub": hub, **labels}.items())
            lines.append(f"jupyterhub_backup_{name}{{{shown}}} {value}")
    return "\n".join(lines) + "\n"


Samples = list[tuple[dict[str, str], float]]


def _families(record: Record, folders: list[Folder], late_hours: float) -> Iterator[tuple[str, str, Samples]]:
    began, ended = _seconds(record.began), _seconds(record.ended)
    newest = [folder.newest.timestamp() for folder in folders if folder.newest]
    ok = int(bool(record.ended) and not record.error)
    yield "last_run_success", "Whether the last scheduled run was without any error.", [({}, ok)]
    yield "last_run_timestamp_seconds", "When the last scheduled run ended.", [({}, ended)]
    yield "last_run_duration_seconds", "How long the last scheduled run took.", [({}, max(0.0, ended - began))]
    yield (
        "last_success_timestamp_seconds",
        "When the last scheduled run without any error ended; 0 when there was none.",
        [({}, _seconds(record.last_success))],
    )
    yield "late_after_seconds", "Time without a good run after which backups are late.", [({}, late_hours * 3600)]
    yield (
        "last_run_volumes",
        "What the last scheduled run did, by result.",
        [({"result": result}, record.totals.get(result, 0)) for result in ("backed_up", "unchanged", "failed")],
    )
    yield "newest_timestamp_seconds", "When the newest of all backups was begun.", [({}, max(newest, default=0))]
    yield "archives", "How many backups there are.", [({}, sum(folder.count for folder in folders))]
    yield "stored_bytes", "Bytes of all archives.", [({}, sum(folder.size for folder in folders))]
    states = [folder.good for folder in folders if folder.newest]
    yield (
        "newest_verified",
        "How many of the newest backups were read again and are good or bad, or were not read yet.",
        [
            ({"result": result}, sum(state is value for state in states))
            for result, value in (("good", True), ("bad", False), ("unread", None))
        ],
    )


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def now() -> str:
    """Return the current time in the format of records."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
