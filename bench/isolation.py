"""What the isolation of notebooks and the front cost: throughput of a download, and memory.

    python -m bench.isolation [--pairs 5]

A user downloads a file of their server through front and proxy, in turn with isolation and without.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import requests

from bench.common import table, timed
from bench.starts import make_site
from support.module_site import ModuleSite
from support.poller import Notebook

SIZE = 1 << 30  # bytes
MIB = 2**20
KINDS = ("none", "full")
PARTS = {"hub": "", "proxy": "-proxy", "front": "-front", "guard": "-guard"}


def download(user: Notebook) -> None:
    """Download the file, and throw it away."""
    url = f"{user.session.url}{user.base}files/data"
    with requests.get(url, headers={"Cookie": user.cookies()}, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        received = sum(map(len, answer.iter_content(MIB)))
    assert received == SIZE, received


def memory(site: ModuleSite, part: str) -> float:
    """Return the MiB that a container uses, without what the kernel can free."""
    stats: Any = site.client.containers.get(f"{site.name}{part}").stats(stream=False)
    used = stats["memory_stats"]
    free = used["stats"].get("total_inactive_file", used["stats"].get("inactive_file", 0))
    return float(used["usage"] - free) / MIB


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(folder)
        try:
            site.run_guard()
            site.run_hub()
            alice = site.notebook("alice")
            volume = site.client.volumes.get(f"{site.name}-user-alice").attrs["Mountpoint"]
            with Path(volume, "data").open("wb") as file:
                for _ in range(SIZE // MIB):
                    file.write(b"x" * MIB)
            download(alice)  # from the disk
            for number in range(pairs):
                for kind in KINDS if number % 2 else reversed(KINDS):
                    site.run_guard(isolation=kind)
                    seconds[kind].append(timed(lambda: download(alice)))
            site.run_guard()
            used = [[part, memory(site, suffix)] for part, suffix in PARTS.items()]
        finally:
            site.destroy()
    rows: list[list[object]] = [
        [kind, SIZE / MIB / max(seconds[kind]), SIZE / MIB / statistics.median(seconds[kind])] for kind in KINDS
    ]
    ratio = statistics.median(none / full for none, full in zip(seconds["none"], seconds["full"], strict=True))
    print(table(["isolation", "MiB/s: least", "median"], rows))
    print(f"\nThroughput with isolation, as a part of that without (median of {pairs} pairs): {ratio:.2f}\n")
    print(table(["container", "MiB"], used))


if __name__ == "__main__":
    main()
