"""Build a base image from the packages of the distribution, without a registry."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import apt_sources, base_archive
from ansible.module_utils.jupyterhub_deploy.images.parallel import check
from ansible.module_utils.jupyterhub_deploy.images.plan import LABEL, Image
from ansible.module_utils.jupyterhub_deploy.images.reference import parse
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Files that a server in a container never reads: 40 MB of a minimal system. Copyright files are kept.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")

# How often to check whether another step has failed (seconds), and the maximum that is sent to Docker at once (bytes).
STOP_INTERVAL = 0.5
BLOCK = 1024 * 1024

# mmdebstrap writes 12,000 files, 380 MB in all. Their removal takes 4 to 12 s on a disk and less than 1 s in memory.
# It gets half of the memory that is available.
MEMORY_NEEDED = 2_000_000_000

# Not /tmp: systemd mounts a tmpfs there with nodev, where a root file system cannot be created.
WORK_DIR = "/var/tmp"  # noqa: S108  (TemporaryDirectory makes a directory in it)


def command(suite: str, packages: str, sources: list[str], extra: list[str]) -> list[str]:
    """Return the mmdebstrap command that writes a root file system to its standard output as a tarball."""
    excludes = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    return [
        # An incomplete root file system is removed as a whole, so files need not be flushed to the disk one by one.
        "mmdebstrap", "--variant=minbase", f"--include={packages}", "--dpkgopt=force-unsafe-io", *excludes,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", '--aptopt=APT::Install-Recommends "false"', *extra,
        suite, "-", *sources,
    ]  # fmt: skip


def in_memory(directory: str) -> list[str]:
    """Return the start of a command that runs with a tmpfs on a directory, empty where that is not possible.

    The tmpfs exists only for that command, so no unmount can fail.
    """
    found = re.search(r"MemAvailable:\s+(\d+) kB", files.read_text("/proc/meminfo") or "")
    available = int(found[1]) * 1024 if found else 0
    if available < MEMORY_NEEDED:
        return []
    mount = f"mount -t tmpfs -o mode=0700,size={available // 2} tmpfs {directory}"
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    works = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else []


def make_command(directory: str, args: dict[str, str]) -> list[str]:
    """Return the command that writes the base image to its standard output as a tarball.

    :param directory: for its temporary files, on a file system where a root file system can be created.
    :param args: ``suite`` (code name) and ``packages`` (comma-separated).
    :raises DeployError: mmdebstrap or apt's package lists are missing.
    """
    suite = args["suite"]
    if not shutil.which("mmdebstrap"):
        raise DeployError(
            "mmdebstrap is not installed on this host; the role jupyterhub_images installs it before it builds"
        )
    targets = apt_sources.index_targets()
    problem = apt_sources.problem(targets, suite)
    if problem:
        raise DeployError(problem)
    sources = apt_sources.archive_sources(targets, suite)
    return [*in_memory(directory), *command(suite, args["packages"], sources, apt_sources.proxy_options())]


def bootstrap(client: Any, image: Image, progress: Reporter, stop: threading.Event) -> str:
    """Build the base image and return its id.

    A build that began before Docker was installed is waited for, and used if it succeeded.

    :param image: its args are those of :func:`make_command`.
    :param stop: set when another step has failed.
    :raises DeployError: when mmdebstrap is missing or fails.
    """
    progress.say(f"{image.purpose} image: {image.args['suite']} from the distribution's packages")
    reported = ""
    while base_archive.is_running():
        check(stop)
        milestone = next((found for line in reversed(base_archive.log()) if (found := _milestone(line))), "")
        if milestone != reported:
            reported = milestone
            progress.say(f"{image.purpose} image: {milestone}")
        stop.wait(STOP_INTERVAL)
    with base_archive.finished(image.digest) as archive:
        if archive:
            with open(archive, "rb") as file:
                _import(client, image, _blocks(file, stop))
        else:
            _run(client, image, progress, stop)
    return str(client.inspect_image(image.name)["Id"])


def _import(client: Any, image: Image, blocks: Iterator[bytes]) -> None:
    reference = parse(image.name)
    client.import_image_from_stream(
        blocks, repository=reference.remote, tag=reference.tag,
        changes=[f"LABEL {LABEL}={image.digest}", "ENV LANG=C.UTF-8", 'CMD ["/bin/bash"]'],
    )  # fmt: skip


def _blocks(file: IO[bytes], stop: threading.Event) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        check(stop)
        yield block


def _run(client: Any, image: Image, progress: Reporter, stop: threading.Event) -> None:
    """Run mmdebstrap and import its output."""
    with tempfile.TemporaryDirectory(dir=WORK_DIR, prefix="jupyterhub-deploy-") as directory, subprocess.Popen(
        make_command(directory, image.args),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False,
        env={**os.environ, "TMPDIR": directory, "LC_ALL": "C.UTF-8"},
    ) as process:  # fmt: skip
        log: list[str] = []
        reader = threading.Thread(target=_read_log, args=(process.stderr, log, image.purpose, progress))
        reader.start()
        _import(client, image, _read_output(process, stop))
        reader.join()
    if process.returncode:
        client.remove_image(image.name)  # incomplete: Docker imports whatever it receives
        raise DeployError(
            f"mmdebstrap could not make {image.name}: {' / '.join(log[-5:])}; fix that, then run the same again"
        )


def _read_output(process: subprocess.Popen[bytes], stop: threading.Event) -> Iterator[bytes]:
    """Yield the output of mmdebstrap; stop mmdebstrap when another step has failed."""
    output: Any = process.stdout
    try:
        while True:
            check(stop)
            if select.select([output], [], [], STOP_INTERVAL)[0]:
                block = output.read1(BLOCK)
                if not block:
                    return
                yield block
    except BaseException:
        process.terminate()
        raise


def _read_log(stream: Any, log: list[str], purpose: str, progress: Reporter) -> None:
    """Collect the log of mmdebstrap, and report its milestones."""
    for raw in stream:
        line = raw.decode(errors="replace").strip()
        log.append(line)
        if milestone := _milestone(line):
            progress.update(f"{purpose} image: {milestone}")


def _milestone(line: str) -> str:
    """Return what a line of mmdebstrap's log reports, empty for anything but a milestone."""
    return line[3:].rstrip(".") if line.startswith("I: ") and "running --" not in line else ""
