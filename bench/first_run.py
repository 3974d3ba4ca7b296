"""`make site` on a bare machine, split by phase; then with the images present; then with nothing to do.

python -m bench.first_run [--baseline COMMIT] [--pairs 1]

With a baseline, each pair also measures the first run of that commit, on a machine of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator

from bench.common import table
from hosts.hosts import ROOT, Host

PHASES = (
    ("preflight :", "preflight"),
    ("docker :", "Docker"),
    ("jupyterhub_images :", "images"),
    ("jupyterhub :", "proxy and hub"),
)

REMOVE_THE_HUB = (
    "docker rm --force --volumes $(docker ps --all --quiet) && docker volume rm jupyterhub-data && "
    "docker network prune --force && rm -r /etc/jupyterhub /etc/jupyterhub-front"
)
PROJECT = "/root/jupyterhub-deploy-ansible"

Seconds = dict[str, float]  # by phase, in the order in which the phases began


def phase_of(line: str, current: str) -> str:
    """Return the phase that a line of the output begins, or the current one."""
    task = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line)
    if not task:
        return current
    return next((phase for role, phase in PHASES if task[1].startswith(role)), current)


def run(host: Host) -> Seconds:
    """Run ``make site`` on a host and measure its phases.

    Raises:
        SystemExit: it failed; shows the end of its output.
    """
    seconds: Seconds = {}
    phase, since = "environment (make)", time.monotonic()
    output: list[str] = []
    command = ["docker", "exec", host.container, "sh", "-c", f"cd {PROJECT} && make site 2>&1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            following, now = phase_of(line, phase), time.monotonic()
            if following != phase:
                seconds[phase] = seconds.get(phase, 0.0) + now - since
                phase, since = following, now
    seconds[phase] = seconds.get(phase, 0.0) + time.monotonic() - since
    if process.returncode:
        raise SystemExit("".join(output[-60:]))
    return seconds


@contextlib.contextmanager
def bare_host(commit: str | None = None) -> Iterator[Host]:
    """Create a bare machine with this project on it, or with a commit of it; remove the machine at the end."""
    host = Host.create("bare", owner=os.getpid())
    try:
        if commit:
            host.run(["mkdir", "-p", PROJECT])
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
            unpack = ["docker", "exec", "-i", host.container, "tar", "-x", "-C", PROJECT]
            subprocess.run(unpack, input=archive, check=True)
        else:
            host.copy_project(PROJECT)
        yield host
    finally:
        host.destroy()


def phases_table(columns: dict[str, Seconds]) -> str:
    """Return the seconds of all phases of several runs, and their sums."""
    phases = list(dict.fromkeys(phase for column in columns.values() for phase in column))
    rows: list[list[object]] = [[phase, *(column.get(phase, 0.0) for column in columns.values())] for phase in phases]
    rows.append(["**total**", *(sum(column.values()) for column in columns.values())])
    return table(["seconds", *columns], rows)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--baseline", metavar="COMMIT", help="also measure the first run of this commit")
    parser.add_argument("--pairs", type=int, default=1, help="how many first runs to measure (default: 1)")
    options = parser.parse_args()
    ratios = []
    for pair in range(options.pairs):
        columns: dict[str, Seconds] = {}
        if options.baseline:
            with bare_host(options.baseline) as host:
                columns[f"{options.baseline}, bare machine"] = run(host)
        with bare_host() as host:
            columns["bare machine"] = run(host)
            if pair == 0:
                host.run(REMOVE_THE_HUB)
                columns["images present"] = run(host)
                columns["nothing to do"] = run(host)
        print(phases_table(columns), flush=True)
        if options.baseline:
            ratios.append(sum(columns["bare machine"].values()) / sum(next(iter(columns.values())).values()))
    if ratios:
        print(f"\nFirst run, times {options.baseline} (median of {len(ratios)} pairs): {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
