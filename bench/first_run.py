"""`make site` on a bare machine, split by phase; then with the images present; then with nothing to do.

python -m bench.first_run
"""

from __future__ import annotations

import os
import re
import subprocess
import time

from bench.common import table
from hosts.hosts import Host

PHASES = (
    ("preflight :", "preflight"),
    ("docker :", "engine"),
    ("jupyterhub_images :", "images"),
    ("jupyterhub :", "proxy and hub"),
)

FORGET_THE_HUB = (
    "docker rm --force --volumes jupyterhub jupyterhub-proxy && docker volume rm jupyterhub-data && "
    "docker network rm jupyterhub-network jupyterhub-control && rm -r /etc/jupyterhub"
)


def phase_of(line: str, current: str) -> str:
    """Return the phase that a line of the output begins, or the one that goes on."""
    task = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line)
    if task:
        return next((phase for role, phase in PHASES if task[1].startswith(role)), current)
    image = re.search(r"\b(base|hub|proxy|notebook) image: ", line)
    return f"images: {image[1]}" if image and current.startswith("images") else current


def run(host: Host, project: str) -> dict[str, float]:
    """Type ``make site`` on a host; return the seconds of each phase, in the order of their beginning."""
    seconds: dict[str, float] = {}
    phase, since = "environment (make)", time.monotonic()
    said: list[str] = []
    command = ["docker", "exec", host.container, "sh", "-c", f"cd {project} && make site 2>&1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            following, now = phase_of(line, phase), time.monotonic()
            if following != phase:
                seconds[phase] = seconds.get(phase, 0.0) + now - since
                phase, since = following, now
    seconds[phase] = seconds.get(phase, 0.0) + time.monotonic() - since
    if process.returncode:
        raise SystemExit("".join(said[-60:]))
    return seconds


def main() -> None:
    """Measure and print the table."""
    host = Host.create("bare", owner=os.getpid())
    try:
        project = host.copy_project()
        first = run(host, project)
        host.run(FORGET_THE_HUB)
        columns = [first, run(host, project), run(host, project)]
    finally:
        host.destroy()
    phases = list(dict.fromkeys(phase for column in columns for phase in column))
    rows: list[list[object]] = [[phase, *(column.get(phase, 0.0) for column in columns)] for phase in phases]
    rows.append(["**together**", *(sum(column.values()) for column in columns)])
    print(table(["seconds", "bare machine", "images present", "nothing to do"], rows))


if __name__ == "__main__":
    main()
