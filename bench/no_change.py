"""A run of site.yml that has nothing to do, over SSH, against `ansible -m setup` and an empty playbook in turn.

python -m bench.no_change
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

from bench.common import ansible, deployed, summary, table, timed

PAIRS = 7
EMPTY = "- name: Do nothing\n  hosts: jupyterhub\n  gather_facts: false\n"


def main() -> None:
    """Measure and print the table and the ratios of the medians."""
    with deployed() as site, tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch, "empty.yml")
        empty.write_text(EMPTY, encoding="utf-8")
        inventory = ["-i", str(site.inventory)]
        commands = {
            "ansible -m setup": ["ansible", *inventory, "jupyterhub", "-m", "ansible.builtin.setup"],
            "empty playbook": ["ansible-playbook", *inventory, str(empty)],
            "site.yml, nothing to do": ["ansible-playbook", *inventory, "site.yml"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():  # once unmeasured: SSH's shared connection, caches
            ansible(*command)
        for _ in range(PAIRS):
            for name, command in commands.items():
                seconds[name].append(timed(partial(ansible, *command)))
    yardstick = statistics.median(seconds["ansible -m setup"])
    rows = [[name, *summary(values), statistics.median(values) / yardstick] for name, values in seconds.items()]
    print(table([f"seconds, {PAIRS} runs in turn", "least", "median", "most", "times setup"], rows))


if __name__ == "__main__":
    main()
