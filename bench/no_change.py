"""A run of site.yml that has nothing to do, against `ansible -m setup` on the same host, in pairs: over SSH, and on the
machine itself as `make site` does it.

python -m bench.no_change [ssh|local]
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bench.common import ansible, deployed, summary, table, timed
from hosts.hosts import Host

PAIRS = 7
SETUP = ("ansible", "jupyterhub", "-m", "ansible.builtin.setup")
SITE = ("ansible-playbook", "site.yml")


class Pair(NamedTuple):
    """The seconds of two commands, one right after the other."""

    setup: float
    site: float

    @property
    def ratio(self) -> float:
        """How many times as long the playbook takes."""
        return self.site / self.setup


def pairs(seconds: Callable[..., float]) -> list[Pair]:
    """Measure pairs, after one that fills caches and opens SSH's shared connection.

    Args:
        seconds: runs a command, and returns how long it takes.
    """
    return [Pair(seconds(*SETUP), seconds(*SITE)) for _ in range(PAIRS + 1)][1:]


def over_ssh() -> list[Pair]:
    """Measure from this machine."""
    with deployed() as site:

        def seconds(*command: str) -> float:
            return timed(partial(ansible, *command, "-i", str(site.inventory)))

        return pairs(seconds)


def local() -> list[Pair]:
    """Measure on a machine that provisions itself, by its own clock."""
    host = Host.create("bare", owner=os.getpid())
    try:
        project = host.copy_project()
        host.run(f"cd {project} && make site", timeout=1800)

        def seconds(*command: str) -> float:
            script = f"cd {project} && . .venv/bin/activate && {{ date +%s.%N; {' '.join(command)} >&2; date +%s.%N; }}"
            began, *_, ended = host.run(f"( {script} ) 2>/dev/null").stdout.split()
            return float(ended) - float(began)

        return pairs(seconds)
    finally:
        host.destroy()


def main() -> None:
    """Measure and print the table."""
    places = {"ssh": over_ssh, "local": local}
    rows: list[list[object]] = []
    for place in sys.argv[1:] or places:
        found = places[place]()
        rows.append([f"{place}: ansible -m setup", *summary([pair.setup for pair in found]), ""])
        ratio = statistics.median(pair.ratio for pair in found)
        rows.append([f"{place}: site.yml, nothing to do", *summary([pair.site for pair in found]), ratio])
    print(table([f"seconds, {PAIRS} pairs", "least", "median", "most", "times setup (median of pairs)"], rows))


if __name__ == "__main__":
    main()
