"""Backup and restore compared with other tools: the reference deployment's FAQ, plain tar, restic and borg.

python -m bench.backup [--pairs 3] [--plot backup.svg]

All tools have the same conditions. Before each step, what the tool is going to read is read into the page cache, and
the disk is synced. A step ends when its data are on the disk. Nothing is deleted before all measurements are done.
Every second turn takes the tools in the opposite order.

Needs root, Docker, a notebook image, and Debian's restic, borgbackup and zstd.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench.backup_data import mixed, tiny
from bench.backup_plot import plot
from bench.common import table

HUB = "jhd-bench-backup"
FIRST, UNCHANGED, CHANGED, RESTORE = "first", "unchanged", "one file changed", "restore"
STEPS = (FIRST, UNCHANGED, CHANGED, RESTORE)
STORED = "stored"
IMAGE = "jupyterhub-deploy-test/notebook:4.6.6"  # as the tests build it
CGROUP = "/jhd-bench-backup"
# As on a target, where Ansible has put module_utils/ into its own, and imports nothing of its tests.
MODULE = """
import importlib, os, sys
import ansible.module_utils
ansible.module_utils.__path__.append(os.path.abspath("module_utils"))
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[2].encode(), "legacy"
importlib.import_module(sys.argv[1]).main()
"""


class Cost(NamedTuple):
    """What one step cost."""

    seconds: float
    cpu: float  # seconds of all processes together, Docker's daemons excluded


def run(command: list[str], cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command; return its output.

    Raises:
        SystemExit: the command failed.
    """
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def module_command(name: str, **arguments: object) -> list[str]:
    """Return the command that runs one of our modules in a process of its own."""
    given = {"ANSIBLE_MODULE_ARGS": {"name": HUB, **arguments}}
    return ["env", "PYTHONPATH=library", sys.executable, "-c", MODULE, name, json.dumps(given)]


def cpu_seconds() -> float:
    """Return the processor time of all commands so far, and of the measured containers."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    version_1 = Path(f"/sys/fs/cgroup/cpuacct{CGROUP}/cpuacct.usage")
    version_2 = Path(f"/sys/fs/cgroup{CGROUP}/cpu.stat")
    containers = 0.0
    if version_1.exists():
        containers = int(version_1.read_text(encoding="ascii")) / 1e9
    elif version_2.exists():
        containers = int(version_2.read_text(encoding="ascii").split()[1]) / 1e6
    return usage.ru_utime + usage.ru_stime + containers


def measure(action: Callable[[], object], read: list[Path], disk: Path) -> Cost:
    """Return what an action costs until its data are on the disk.

    Args:
        read: what the action reads; in the page cache before it begins.
        disk: a directory of the file system that the action writes to.
    """
    run(["find", *map(str, read), "-type", "f", "-exec", "sh", "-c", 'cat "$@" > /dev/null', "sh", "{}", "+"])
    os.sync()
    began, cpu = time.monotonic(), cpu_seconds()
    action()
    run(["sync", "--file-system", str(disk)])
    return Cost(time.monotonic() - began, cpu_seconds() - cpu)


class Volumes:
    """The data: Docker volumes of a hub that does not exist."""

    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}

    def make(self, count: int, fill: Callable[[Path], None] | None = None) -> None:
        """Create volumes until there are so many, and fill each.

        Args:
            fill: how; without it, tiny files in the first and mixed data in the others.
        """
        for number in range(len(self.paths), count):
            name = f"{HUB}-user-user{number:03d}"
            labels = (f"org.jupyterhub.deploy.hub={HUB}", f"org.jupyterhub.deploy.user=user{number:03d}")
            run(["docker", "volume", "create", *(f"--label={label}" for label in labels), name])
            self.paths[name] = Path(run(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name]))
            if fill:
                fill(self.paths[name])
            elif number == 0:
                tiny(self.paths[name], number)
            else:
                mixed(self.paths[name], number)

    def change_one_file(self) -> None:
        """Add to a notebook of one user."""
        with (list(self.paths.values())[-1] / "week 3.ipynb").open("a", encoding="utf-8") as file:
            file.write("\n")

    def remove(self) -> None:
        """Remove all volumes."""
        if self.paths:
            run(["docker", "volume", "rm", "--force", *self.paths])


class Tool:
    """One way to back up: to ``target``, and back from it, to directories in ``restored`` if not to the volumes."""

    name = ""

    def __init__(self, volumes: dict[str, Path], directory: Path, image: str) -> None:
        self.volumes, self.directory, self.image = volumes, directory, image
        self.target, self.restored = directory / "target", directory / "restored"
        self.target.mkdir(parents=True)
        self.restored.mkdir()

    def backup(self) -> None:
        """Back up all volumes."""
        raise NotImplementedError

    def restore(self) -> None:
        """Restore all volumes."""
        raise NotImplementedError


class Ours(Tool):
    """The modules, as Ansible runs them on the host."""

    name = "this deployment"

    def backup(self) -> None:
        run(module_command("jupyterhub_backup", directory=str(self.target), hub_state=False, compression="zstd"))

    def restore(self) -> None:
        run(module_command("jupyterhub_restore", directory=str(self.target), state="restored", every_volume=True))


class Faq(Tool):
    """What the reference deployment's FAQ describes: a container with tar for each volume."""

    name = "FAQ: docker run … tar"

    def tar(self, volume: str, *command: str) -> None:
        """Run a container with a volume, or a directory in its place."""
        run(
            ["docker", "run", "--rm", "-u", "root", "--cgroup-parent", CGROUP, "-v", f"{self.target}:/backups",
             "-v", f"{volume}:/notebooks", self.image, "tar", *command]
        )  # fmt: skip

    def backup(self) -> None:
        for name in self.volumes:
            self.tar(name, "cvf", f"/backups/{name}-backup.tar", "/notebooks")

    def restore(self) -> None:
        for name in self.volumes:
            (self.restored / name).mkdir()
            self.tar(str(self.restored / name), "xf", f"/backups/{name}-backup.tar", "-C", "/")


class Tar(Tool):
    """GNU tar on the host, with zstd, and everything that a volume may hold; restored by `zstd -d | tar -x`."""

    name = "host tar, zstd"

    def backup(self) -> None:
        for name, path in self.volumes.items():
            pack = f"tar -C '{path}' --format=posix --sparse --xattrs --acls --numeric-owner -c . | zstd -q -3 -T0"
            run(["sh", "-c", f"{pack} > '{self.target}/{name}.tar.zst'"])

    def restore(self) -> None:
        for name in self.volumes:
            (self.restored / name).mkdir()
            unpack = f"zstd -q -dc '{self.target}/{name}.tar.zst' | tar -C '{self.restored / name}' --xattrs"
            run(["sh", "-c", f"{unpack} --xattrs-include='*' --acls --numeric-owner -xp"])


class Restic(Tool):
    """Debian's restic; it cannot run without encryption."""

    name = "restic"

    def __init__(self, volumes: dict[str, Path], directory: Path, image: str) -> None:
        super().__init__(volumes, directory, image)
        self.restic("init")

    def restic(self, *arguments: str) -> None:
        """Run restic."""
        environment = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.target)}
        run(["restic", "--quiet", "--cache-dir", f"{self.directory}/cache", *arguments], environment=environment)

    def backup(self) -> None:
        self.restic("backup", *map(str, self.volumes.values()))

    def restore(self) -> None:
        self.restic("restore", "latest", "--target", str(self.restored))


class Borg(Tool):
    """Debian's borg, without encryption, with zstd."""

    name = "borg"
    environment: ClassVar[dict[str, str]] = {
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }

    def __init__(self, volumes: dict[str, Path], directory: Path, image: str) -> None:
        super().__init__(volumes, directory, image)
        self.archives = 0
        self.borg("init", "--encryption", "none", str(self.target))

    def borg(self, *arguments: str) -> None:
        """Run borg."""
        run(
            ["borg", *arguments],
            cwd=self.restored,
            environment={**self.environment, "BORG_BASE_DIR": f"{self.directory}/base"},
        )

    def backup(self) -> None:
        self.archives += 1
        archive = f"{self.target}::{self.archives}"
        self.borg("create", "--compression", "zstd,3", archive, *map(str, self.volumes.values()))

    def restore(self) -> None:
        self.borg("extract", f"{self.target}::{self.archives}")


# Ours is next to those that it is compared with most closely.
TOOLS: tuple[type[Tool], ...] = (Faq, Ours, Tar, Restic, Borg)


class Turn:
    """One turn: what each step cost each tool, and the megabytes that each stored in the first run."""

    def __init__(self) -> None:
        self.costs: dict[tuple[str, str], Cost] = {}
        self.stored: dict[str, float] = {}

    def run(self, tools: list[Tool], volumes: Volumes) -> None:
        """Measure each step of all tools."""
        disk = tools[0].directory
        for step in STEPS:
            if step == CHANGED:
                volumes.change_one_file()
            time.sleep(3)  # we read files again that changed less than two seconds ago
            for tool in tools:
                action, read = tool.backup, [*volumes.paths.values(), tool.directory]
                if step == RESTORE:
                    action, read = tool.restore, [tool.directory]
                cost = self.costs[tool.name, step] = measure(action, read, disk)
                print(f"{tool.name:24}{step:20}{cost.seconds:6.2f} s{cost.cpu:8.2f} s CPU", file=sys.stderr)
                if step == FIRST:
                    self.stored[tool.name] = int(run(["du", "-sb", str(tool.target)]).split()[0]) / 1e6


def median(turns: list[Turn], name: str, step: str, what: str) -> float:
    """Return the median of the seconds or CPU seconds of one step of a tool."""
    return float(statistics.median(getattr(turn.costs[name, step], what) for turn in turns))


def ratio(turns: list[Turn], name: str, what: str) -> float:
    """Return the median, over all turns, of our seconds divided by those of another tool; or of our bytes.

    Args:
        what: one of ``STEPS``, or ``STORED``.
    """
    if what == STORED:
        return statistics.median(turn.stored[Ours.name] / turn.stored[name] for turn in turns)
    return statistics.median(turn.costs[Ours.name, what].seconds / turn.costs[name, what].seconds for turn in turns)


def steps_table(turns: list[Turn]) -> str:
    """Return the medians of each tool: seconds and CPU seconds of each step."""
    rows = []
    for tool in TOOLS:
        cells = [[f"{median(turns, tool.name, step, what):.2f}" for what in Cost._fields] for step in STEPS]
        size = statistics.median(turn.stored[tool.name] for turn in turns)
        rows.append([tool.name, *map(" / ".join, cells), f"{size:.0f}"])
    return table(["seconds / CPU seconds", *STEPS, "stored (MB)"], rows)


def ratios_table(turns: list[Turn]) -> str:
    """Return our time and bytes against each other tool's."""
    others = [tool.name for tool in TOOLS if tool is not Ours]
    rows = [[name, *(f"{ratio(turns, name, what):.2f}" for what in (*STEPS, STORED))] for name in others]
    return table(["this deployment, as a part of", *STEPS, STORED], rows)


def aims_table(turns: list[Turn]) -> str:
    """Return the aims, and whether they are reached."""
    aims = [
        ("first run, of the FAQ's time", 0.65, ratio(turns, Faq.name, FIRST)),
        ("first run, of the FAQ's bytes", 0.3, ratio(turns, Faq.name, STORED)),
        ("unchanged, of the FAQ's time", 0.03, ratio(turns, Faq.name, UNCHANGED)),
        ("unchanged, of restic's time", 0.3, ratio(turns, Restic.name, UNCHANGED)),
        ("restore, of the time of `zstd -d \\| tar -x`", 1.1, ratio(turns, Tar.name, RESTORE)),
    ]
    rows = [[what, f"≤ {most}", f"{found:.2f}", "yes" if found <= most else "no"] for what, most, found in aims]
    return table(["", "aim", "measured", "reached"], rows)


def check_programs(image: str) -> None:
    """Check that all programs and the image exist.

    Raises:
        SystemExit: one is missing.
    """
    missing = [program for program in ("restic", "borg", "zstd") if not shutil.which(program)]
    if missing:
        raise SystemExit(f"{', '.join(missing)} missing; run apt-get install restic borgbackup zstd")
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
        raise SystemExit(f"image {image} does not exist on this host; name another one that has tar with --image")


def main() -> None:
    """Measure, print the tables, and draw the plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3, help="how many times each step of each tool is measured")
    parser.add_argument("--volumes", type=int, default=8)
    parser.add_argument("--image", default=IMAGE, help="an image with tar, for the FAQ's commands")
    parser.add_argument(
        "--directory", default="/var/tmp", help="for the backups; on the file system of Docker's volumes"
    )
    parser.add_argument("--plot", type=Path, help="where to write the plot, an SVG")
    options = parser.parse_args()
    check_programs(options.image)
    turns: list[Turn] = []
    volumes = Volumes()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        try:
            volumes.make(options.volumes)
            if len({path.stat().st_dev for path in (Path(directory), *volumes.paths.values())}) > 1:
                raise SystemExit(f"{directory} is on another file system than Docker's volumes; set --directory")
            for number in range(options.pairs):
                tools = [
                    tool(volumes.paths, Path(directory, f"{number}-{tool.__name__}"), options.image) for tool in TOOLS
                ]
                turns.append(Turn())
                turns[-1].run(tools[:: -1 if number % 2 else 1], volumes)
            print(steps_table(turns), ratios_table(turns), aims_table(turns), sep="\n\n", flush=True)
            if options.plot:
                drawn = {
                    tool.name: {step: median(turns, tool.name, step, "seconds") for step in STEPS} for tool in TOOLS
                }
                options.plot.write_text(plot(drawn), encoding="utf-8")
        finally:
            print("Removing the data; this can take as long as the measurement.", file=sys.stderr)
            volumes.remove()


if __name__ == "__main__":
    main()
