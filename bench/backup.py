"""Backup and restore, against what the reference deployment's FAQ says, plain tar, restic and borg, in turn on the same
20 volumes.

python -m bench.backup [--pairs 3] [--plot backup.svg]

Needs root, Docker, and Debian's restic, borgbackup and zstd.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench.backup_data import mixed, tiny
from bench.backup_plot import plot
from bench.common import table

HUB = "jhd-bench-backup"
STEPS = ("first", "unchanged", "one file changed", "restore")
# One of the project's own images that has tar; the FAQ takes the notebook image, as this does.
IMAGE = "jupyterhub-deploy/notebook:4.6.6"
CGROUP = "/jhd-bench-backup"
# As on a target, where Ansible has put module_utils/ into its own.
MODULE = """
import json, os, sys
import ansible.module_utils
ansible.module_utils.__path__.append(os.path.abspath("module_utils"))
from modules import run
run(__import__(sys.argv[1]), **json.loads(sys.argv[2]))
"""


class Cost(NamedTuple):
    """What one step cost."""

    seconds: float
    cpu: float  # seconds of all processes together
    memory: float  # MiB, the most that all processes had together


def docker(*arguments: str) -> str:
    """Run a command of Docker; return what it printed."""
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def family(process: int) -> list[int]:
    """Return a process and all that it has started."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            except OSError:
                continue
            parents.setdefault(int(fields.split()[1]), []).append(int(entry))
    found, pending = [], [process]
    while pending:
        found.append(pending.pop())
        pending += parents.get(found[-1], [])
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


class Measured:
    """Runs commands and adds up what they cost, those in containers included."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.peak = 0.0
        self._began = time.monotonic()
        self._containers = self._used()

    def run(self, command: list[str], cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
        """Run one command.

        Raises:
            SystemExit: it failed.
        """
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command, cwd=cwd, env={**os.environ, **(environment or {})}, stdout=said, stderr=subprocess.STDOUT
            )
            ended = threading.Event()
            watcher = threading.Thread(target=self._watch, args=(process.pid, ended))
            watcher.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            ended.set()
            watcher.join()
            self.cpu += usage.ru_utime + usage.ru_stime
            if process.returncode:
                said.seek(0)
                raise SystemExit(f"{command} ended with {process.returncode}: {said.read()[-3000:]!r}")

    def cost(self) -> Cost:
        """Return what all of it has cost since the beginning."""
        return Cost(time.monotonic() - self._began, self.cpu + self._used() - self._containers, self.peak)

    def _watch(self, process: int, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            self.peak = max(self.peak, memory(family(process)))

    @staticmethod
    def _used() -> float:
        """Return the seconds of processor time that containers of this measurement have used."""
        first = Path(f"/sys/fs/cgroup/cpuacct{CGROUP}/cpuacct.usage")
        second = Path(f"/sys/fs/cgroup{CGROUP}/cpu.stat")
        if first.exists():
            return int(first.read_text(encoding="ascii")) / 1e9
        return int(second.read_text(encoding="ascii").split()[1]) / 1e6 if second.exists() else 0.0


class Volumes:
    """The data: Docker volumes of a hub that is not there."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def make(self, count: int, fill: Callable[[Path], None] | None = None) -> None:
        """Make volumes until there are so many, and fill each.

        Args:
            fill: how; mixed data when not given, and tiny files in the first.
        """
        for number in range(len(self.names), count):
            name = f"{HUB}-user-user{number:03d}"
            labels = (f"org.jupyterhub.deploy.hub={HUB}", f"org.jupyterhub.deploy.user=user{number:03d}")
            docker("volume", "create", *(part for label in labels for part in ("--label", label)), name)
            self.names.append(name)
            if fill:
                fill(self.path(name))
            elif number == 0:
                tiny(self.path(name), number)
            else:
                mixed(self.path(name), number)

    @staticmethod
    def path(name: str) -> Path:
        """Return where a volume's files are."""
        return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", name))

    def change_one_file(self) -> None:
        """Write one cell more to a notebook of one user."""
        with (self.path(self.names[-1]) / "week 3.ipynb").open("a", encoding="utf-8") as file:
            file.write("\n")

    def forget_old(self) -> None:
        """Remove what a restore has kept, which is not measured."""
        for name in self.names:
            for old in self.path(name).parent.glob("before-*"):
                shutil.rmtree(old)

    def remove(self) -> None:
        """Leave nothing."""
        if self.names:
            docker("volume", "rm", "--force", *self.names)


class Way:
    """One way to back up: into a directory of its own, ``target``."""

    name = ""

    def __init__(self, volumes: Volumes, target: Path) -> None:
        self.volumes, self.target = volumes, target
        self.paths = {name: volumes.path(name) for name in volumes.names}
        target.mkdir(parents=True)

    def prepare(self) -> None:
        """Do what is done once and for all, and is not measured."""

    def backup(self, measured: Measured) -> None:
        """Back up all volumes."""
        raise NotImplementedError

    def restore(self, measured: Measured, to: Path) -> None:
        """Restore all volumes, to directories of their own in ``to`` unless the way has another place."""
        raise NotImplementedError


class Ours(Way):
    """The modules, as Ansible runs them on the host."""

    name = "this deployment"
    compression = "zstd"

    def backup(self, measured: Measured) -> None:
        module(measured, "jupyterhub_backup", directory=str(self.target), hub_state=False, compression=self.compression)

    def restore(self, measured: Measured, to: Path) -> None:
        module(measured, "jupyterhub_restore", directory=str(self.target), state="restored", every_volume=True)


def module(measured: Measured, which: str, **arguments: object) -> None:
    """Run one of our modules in a process of its own."""
    command = [sys.executable, "-c", MODULE, which, json.dumps({"name": HUB, **arguments})]
    measured.run(command, environment={"PYTHONPATH": os.pathsep.join(["library", "tests"])})


class Faq(Way):
    """What the reference deployment's FAQ says: a container with tar for each volume."""

    name = "FAQ: docker run … tar"

    def run(self, measured: Measured, volume: str, *command: str) -> None:
        measured.run(
            ["docker", "run", "--rm", "-u", "root", "--cgroup-parent", CGROUP,
             "-v", f"{self.target}:/backups", "-v", f"{volume}:/notebooks", IMAGE, *command]
        )  # fmt: skip

    def backup(self, measured: Measured) -> None:
        for name in self.volumes.names:
            self.run(measured, name, "tar", "cvf", f"/backups/{name}-backup.tar", "/notebooks")

    def restore(self, measured: Measured, to: Path) -> None:
        for name in self.volumes.names:
            (to / name).mkdir()
            self.run(measured, str(to / name), "tar", "xf", f"/backups/{name}-backup.tar", "-C", "/")


class Tar(Way):
    """GNU tar on the host, with zstd, and everything that a volume may hold; restored by `zstd -d | tar -x`."""

    name = "host tar, zstd"

    def backup(self, measured: Measured) -> None:
        for name, path in self.paths.items():
            pack = f"tar -C '{path}' --format=posix --sparse --xattrs --acls --numeric-owner -c . | zstd -q -3 -T0"
            measured.run(["sh", "-c", f"{pack} > '{self.target}/{name}.tar.zst'"])

    def restore(self, measured: Measured, to: Path) -> None:
        for name in self.paths:
            (to / name).mkdir()
            unpack = f"zstd -q -dc '{self.target}/{name}.tar.zst' | tar -C '{to / name}' --xattrs"
            measured.run(["sh", "-c", f"{unpack} --xattrs-include='*' --acls --numeric-owner -xp"])


class Restic(Way):
    """Debian's restic; it encrypts, and there is no way without."""

    name = "restic"

    def run(self, measured: Measured, *arguments: str) -> None:
        environment = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.target)}
        cache = f"{self.target}.cache"
        measured.run(["restic", "--quiet", "--cache-dir", cache, *arguments], environment=environment)

    def prepare(self) -> None:
        self.run(Measured(), "init")

    def backup(self, measured: Measured) -> None:
        self.run(measured, "backup", *map(str, self.paths.values()))

    def restore(self, measured: Measured, to: Path) -> None:
        self.run(measured, "restore", "latest", "--target", str(to))


class Borg(Way):
    """Debian's borg, without encryption, with zstd."""

    name = "borg"
    environment: ClassVar[dict[str, str]] = {
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }

    def run(self, measured: Measured, *arguments: str, cwd: Path | None = None) -> None:
        directories = {"BORG_BASE_DIR": f"{self.target}.base"}
        measured.run(["borg", *arguments], cwd=cwd, environment={**self.environment, **directories})

    def prepare(self) -> None:
        self.run(Measured(), "init", "--encryption", "none", str(self.target))
        self.archives = 0

    def backup(self, measured: Measured) -> None:
        self.archives += 1
        where = f"{self.target}::{self.archives}"
        self.run(measured, "create", "--compression", "zstd,3", where, *map(str, self.paths.values()))

    def restore(self, measured: Measured, to: Path) -> None:
        self.run(measured, "extract", f"{self.target}::{self.archives}", cwd=to)


WAYS: tuple[type[Way], ...] = (Ours, Faq, Tar, Restic, Borg)


def stored(target: Path) -> float:
    """Return the megabytes that a way has stored."""
    return int(subprocess.check_output(["du", "-sb", str(target)]).split()[0]) / 1e6


def measure(way: Way, scratch: Path) -> tuple[dict[str, Cost], float]:
    """Return what each step costs, and the megabytes stored by the first run."""
    costs: dict[str, Cost] = {}
    way.prepare()
    size = 0.0
    for step in STEPS:
        if step == "one file changed":
            way.volumes.change_one_file()
        time.sleep(3)  # what has changed within two seconds is read again by us
        os.sync()
        measured = Measured()
        if step == "restore":
            to = scratch / "restored"
            to.mkdir()
            way.restore(measured, to)
            costs[step] = measured.cost()
            shutil.rmtree(to)
            way.volumes.forget_old()
        else:
            way.backup(measured)
            costs[step] = measured.cost()
        if step == "first":
            size = stored(way.target)
    return costs, size


def idle_memory() -> float:
    """Return the memory of a module that has nothing to do, in MiB."""
    measured = Measured()
    with tempfile.TemporaryDirectory() as empty:
        module(measured, "jupyterhub_backup", directory=f"{empty}/none", hub_state=False, volumes=[])
    return measured.peak


Seen = dict[str, list[tuple[dict[str, Cost], float]]]  # by way: the costs of each turn's steps, and what was stored
STORED = "stored"


def median(seen: Seen, name: str, step: str, what: str) -> float:
    """Return the median of one cost of one step of a way."""
    return float(statistics.median(getattr(costs[step], what) for costs, _ in seen[name]))


def peak(seen: Seen, name: str) -> float:
    """Return the memory in MiB of the step that needs most."""
    return max(median(seen, name, step, "memory") for step in STEPS)


def ratio(seen: Seen, name: str, what: str) -> float:
    """Return the median, over all turns, of our seconds against those of another way; or of our bytes.

    Args:
        what: one of ``STEPS``, or ``STORED``.
    """
    pairs = zip(seen[Ours.name], seen[name])
    if what == STORED:
        return statistics.median(ours / theirs for (_, ours), (_, theirs) in pairs)
    return statistics.median(ours[what].seconds / theirs[what].seconds for (ours, _), (theirs, _) in pairs)


def steps_table(seen: Seen) -> str:
    """Return what each way took, in medians."""
    rows = []
    for name, runs in seen.items():
        times = [f"{median(seen, name, step, 'seconds'):.1f}" for step in STEPS]
        size = statistics.median(megabytes for _, megabytes in runs)
        shown = "-" if name == Faq.name else f"{peak(seen, name):.0f}"  # its tar is not a child of what is measured
        cpu = [f"{median(seen, name, step, 'cpu'):.1f}" for step in ("first", "unchanged")]
        rows.append([name, *times, *cpu, f"{size:.0f}", shown])
    costs = ["CPU, first (s)", "CPU, unchanged (s)", "stored (MB)", "memory (MiB)"]
    header = ["", *(f"{step} (s)" for step in STEPS), *costs]
    return table(header, rows)


def aims_table(seen: Seen, nothing: float) -> str:
    """Return what was aimed at, and what it came to.

    Args:
        nothing: MiB of a module with nothing to do.
    """
    aims = [
        ("first run, of the FAQ's time", 0.65, ratio(seen, Faq.name, "first")),
        ("first run, of the FAQ's bytes", 0.3, ratio(seen, Faq.name, STORED)),
        ("unchanged, of the FAQ's time", 0.03, ratio(seen, Faq.name, "unchanged")),
        ("unchanged, of restic's time", 0.3, ratio(seen, Restic.name, "unchanged")),
        ("restore, of the time of `zstd -d \\| tar -x`", 1.1, ratio(seen, Tar.name, "restore")),
        ("peak memory above a module with nothing to do (MiB)", 64, peak(seen, Ours.name) - nothing),
    ]
    digits = [0 if most > 10 else 2 for _, most, _ in aims]
    rows = [
        [what, f"≤ {most}", f"{found:.{places}f}", "yes" if found <= most else "no"]
        for (what, most, found), places in zip(aims, digits)
    ]
    return table(["", "aim", "measured", "reached"], rows)


def main() -> None:
    """Measure, print the tables, and draw the plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--volumes", type=int, default=20)
    parser.add_argument("--plot", type=Path, help="where to write the plot, an SVG")
    options = parser.parse_args()
    seen: Seen = {way.name: [] for way in WAYS}
    volumes = Volumes()
    try:
        nothing = idle_memory()
        volumes.make(options.volumes)
        for pair in range(options.pairs):
            for kind in WAYS[pair % len(WAYS) :] + WAYS[: pair % len(WAYS)]:
                with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
                    found = measure(kind(volumes, Path(directory, "target")), Path(directory))
                seen[kind.name].append(found)
                print(kind.name, {step: tuple(round(x, 2) for x in cost) for step, cost in found[0].items()},
                      round(found[1]), file=sys.stderr)  # fmt: skip
    finally:
        volumes.remove()

    print(steps_table(seen))
    print(f"\nA module with nothing to do has {nothing:.0f} MiB.")
    print("\nMedians of the ratios in each turn, this deployment against:\n")
    others = [name for name in seen if name != Ours.name]
    rows = [[name, *(f"{ratio(seen, name, what):.2f}" for what in (*STEPS, STORED))] for name in others]
    print(table(["", *STEPS, STORED], rows))
    print("\n" + aims_table(seen, nothing))
    if options.plot:
        drawn = {name: {step: median(seen, name, step, "seconds") for step in STEPS} for name in seen}
        options.plot.write_text(plot(drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
