"""Shared by the measurements: tables, medians, and a provisioned test host."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hosts.hosts import ROOT, Host
from hosts.images import DockerError


class Deployed(NamedTuple):
    """A test host with a hub on it, and the inventory by which Ansible reaches it over SSH."""

    host: Host
    inventory: Path

    @property
    def url(self) -> str:
        """The hub's address as this machine reaches it."""
        return f"http://{self.host.address}:8000"

    @property
    def password(self) -> str:
        """The admin's generated password."""
        return self.host.read("/etc/jupyterhub/secrets/admin_password").strip()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats have one decimal."""
    cells = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [list(header), ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(seconds: Sequence[float]) -> list[float]:
    """Return minimum, median and maximum."""
    return [min(seconds), statistics.median(seconds), max(seconds)]


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def ansible(*command: str) -> None:
    """Run an Ansible command from the root of the project; show its output when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
        )


def wait_until(probe: Callable[[], object], seconds: float, what: str) -> float:
    """Poll until the probe is true; return the seconds that took.

    Raises:
        SystemExit: the probe stayed false.
    """
    start = time.monotonic()
    while not probe():
        if time.monotonic() - start > seconds:
            raise SystemExit(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - start


@contextlib.contextmanager
def deployed(settings: Mapping[str, Any] | None = None) -> Iterator[Deployed]:
    """Provision a fresh test host by site.yml over SSH, as an operator would, and remove it at the end.

    Args:
        settings: of the hub, on top of the defaults.

    With ``JHD_BENCH_HOST`` set to a name, the host of that name is used, created when missing, and kept, for several
    measurements on one host.
    """
    name = os.environ.get("JHD_BENCH_HOST")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            host = Host.find(name) if name else Host.create("debian12", owner=os.getpid())
        except DockerError:
            host = Host.create("debian12", name=name)
        try:
            inventory = Path(scratch, "hosts.yml")
            variables = {**host.inventory(), "jupyterhub_image_source": "build", **(settings or {})}
            inventory.write_text(yaml.safe_dump({"jupyterhub": {"hosts": {"server": variables}}}), encoding="utf-8")
            ansible("ansible-playbook", "-i", str(inventory), "site.yml")
            yield Deployed(host, inventory)
        finally:
            if not name:
                host.destroy()
