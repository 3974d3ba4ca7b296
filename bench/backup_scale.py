"""A backup's cost for each volume, from 10 to 500 volumes, and its memory, whatever the size of a volume.

python -m bench.backup_scale

Needs root and Docker.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from bench.backup import Cost, Measured, Volumes, idle_memory, module
from bench.common import table

COUNTS = (10, 100, 500)
SIZES = (10, 100, 1000)  # megabytes
MEGABYTE = 1_000_000
FILES = 20


def few_files(path: Path) -> None:
    """Fill a volume with what somebody has who came once."""
    for number in range(FILES):
        (path / f"{number}.txt").write_text(f"note {number}\n" * 50, encoding="utf-8")


def one_file(path: Path, megabytes: int) -> None:
    """Fill a volume with one file, half of it random."""
    chance = random.Random(megabytes)
    with (path / "data.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(chance.randbytes(MEGABYTE // 2) + bytes(MEGABYTE // 2))


def backup(directory: Path) -> Cost:
    """Return what one run costs."""
    measured = Measured()
    module(measured, "jupyterhub_backup", directory=str(directory), hub_state=False)
    return measured.cost()


def by_count(scratch: Path) -> list[list[object]]:
    """Return a row for each number of volumes."""
    rows: list[list[object]] = []
    volumes = Volumes()
    try:
        for count in COUNTS:
            volumes.make(count, few_files)
            time.sleep(3)
            target = scratch / str(count)
            first, unchanged = backup(target), backup(target)
            each = (f"{cost.seconds / count * 1000:.0f}" for cost in (first, unchanged))
            rows.append([count, *each, f"{max(first.memory, unchanged.memory):.0f}"])
    finally:
        volumes.remove()
    return rows


def by_size(scratch: Path, nothing: float) -> list[list[object]]:
    """Return a row for each size of a volume."""
    rows: list[list[object]] = []
    for megabytes in SIZES:
        volumes = Volumes()
        try:
            volumes.make(1, lambda path, size=megabytes: one_file(path, size))  # type: ignore[misc]
            target = scratch / f"size{megabytes}"
            made = backup(target)
            restored = Measured()
            module(restored, "jupyterhub_restore", directory=str(target), state="restored", every_volume=True)
            rows.append([megabytes, *(f"{peak - nothing:.0f}" for peak in (made.memory, restored.peak))])
        finally:
            volumes.remove()
    return rows


def main() -> None:
    """Measure and print the tables."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        scratch = Path(directory)
        print(table(["volumes", "first, each (ms)", "unchanged, each (ms)", "memory (MiB)"], by_count(scratch)))
        nothing = idle_memory()
        header = ["volume (MB)", "backup (MiB more)", "restore (MiB more)"]
        print(f"\nMemory above a module with nothing to do ({nothing:.0f} MiB):\n")
        print(table(header, by_size(scratch, nothing)))


if __name__ == "__main__":
    main()
