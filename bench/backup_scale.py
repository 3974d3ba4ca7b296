"""A backup's time for each volume, from 10 to 500 volumes, and the memory of a backup and a restore.

python -m bench.backup_scale [count] [memory]

Without an argument, it measures both. Needs root and Docker.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.backup import Volumes, module_command
from bench.backup_data import tiny
from bench.common import table

COUNTS = (10, 100, 500)
SIZES = (10, 100, 1000)  # megabytes
MEGABYTE = 1_000_000
FILES = 20


def few_files(path: Path) -> None:
    """Fill a volume with the files of a user who was there once."""
    for number in range(FILES):
        (path / f"{number}.txt").write_text(f"note {number}\n" * 50, encoding="utf-8")


def one_file(path: Path, megabytes: int) -> None:
    """Fill a volume with one file, half of it random."""
    chance = random.Random(megabytes)
    with (path / "data.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(chance.randbytes(MEGABYTE // 2) + bytes(MEGABYTE // 2))


def processes_of(process: int) -> list[int]:
    """Return a process and all that it has started."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", entry, "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        except OSError:
            continue
        children.setdefault(int(fields.split()[1]), []).append(int(entry))
    found, pending = [], [process]
    while pending:
        found.append(pending.pop())
        pending += children.get(found[-1], [])
    return found


def memory(processes: list[int]) -> float:
    """Return the memory of processes in MiB; what several share is counted once."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def peak(name: str, directory: Path, **arguments: object) -> tuple[float, float]:
    """Return the seconds that a module takes, and the most memory in MiB that its processes have together."""
    most, began = 0.0, time.monotonic()
    with subprocess.Popen(
        module_command(name, directory=str(directory), **arguments), stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            most = max(most, memory(processes_of(process.pid)))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    return time.monotonic() - began, most


def backup(directory: Path, **arguments: object) -> tuple[float, float]:
    """Return the seconds and MiB of one backup run."""
    return peak("jupyterhub_backup", directory, hub_state=False, **arguments)


def by_count(scratch: Path) -> list[list[object]]:
    """Return a row for each number of volumes."""
    rows: list[list[object]] = []
    volumes = Volumes()
    try:
        for count in COUNTS:
            volumes.make(count, few_files)
            time.sleep(3)
            runs = [backup(scratch / str(count)) for _ in ("first", "unchanged")]
            each = [f"{seconds / count * 1000:.0f}" for seconds, _ in runs]
            rows.append([count, *each, f"{max(most for _, most in runs):.0f}"])
    finally:
        volumes.remove()
    return rows


def by_content(scratch: Path, idle: float) -> list[list[object]]:
    """Return a row for each size of a volume, and one for many tiny files.

    Args:
        idle: MiB of a module with nothing to do.
    """
    kinds: dict[str, Callable[[Path], None]] = {
        f"one file of {size} MB": lambda path, size=size: one_file(path, size)  # type: ignore[misc]
        for size in SIZES
    }
    kinds["50,000 tiny files"] = lambda path: tiny(path, 0)
    rows: list[list[object]] = []
    for number, (kind, fill) in enumerate(kinds.items()):
        volumes = Volumes()
        try:
            volumes.make(1, fill)
            target = scratch / f"content{number}"
            _, backed_up = backup(target)
            _, restored = peak("jupyterhub_restore", target, state="restored", every_volume=True)
            rows.append([kind, f"{backed_up - idle:.0f}", f"{restored - idle:.0f}"])
        finally:
            volumes.remove()
    return rows


def main() -> None:
    """Measure and print the tables."""
    wanted = sys.argv[1:] or ["count", "memory"]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        scratch = Path(directory)
        if "count" in wanted:
            print(table(["volumes", "first, each (ms)", "unchanged, each (ms)", "memory (MiB)"], by_count(scratch)))
        if "memory" in wanted:
            _, idle = backup(scratch / "none", volumes=[])
            print(f"\nMemory above a module with nothing to do ({idle:.0f} MiB):\n")
            print(table(["volume", "backup (MiB)", "restore (MiB)"], by_content(scratch, idle)))


if __name__ == "__main__":
    main()
