"""Names of what a test run creates on this machine: unique to the run, so that two runs do not interfere.

A name contains the identity of the process that pytest was started as. When that process is gone, :func:`remove_stale`
removes what has the name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .images import DockerError, docker

#: Short, because Ansible wraps long lines of output.
PREFIX = "jhd-"
#: The environment variable with the run's identity; xdist's workers and other children inherit it.
VARIABLE = "JHD_TEST_RUN"
#: Set to keep hosts when the tests end, to inspect them; `make clean` removes them.
KEEP = "JHD_TEST_KEEP"
#: Which images which hub uses, on this machine (role ``jupyterhub_images``).
IMAGES_RECORD = Path("/var/lib/jupyterhub-deploy/images.json")
_NAME = re.compile(rf"(?:version-)?{PREFIX}(\d+x\d+)-")


def begin() -> None:
    """Set the run's identity, unless a parent process has done so."""
    os.environ.setdefault(VARIABLE, "kept" if os.environ.get(KEEP) else identity(os.getpid()))


def name(part: str) -> str:
    """Return the name of this run's container, hub, volume, network or image repository."""
    run = os.environ.get(VARIABLE)
    return f"{PREFIX}{run}-{part}" if run else PREFIX + part


def identity(pid: int) -> str:
    """Return what identifies a process, also among earlier and later ones: its number and its start time."""
    start = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{pid}x{start[-4:]}"


def is_alive(process: str) -> bool:
    """Return whether the process of an identity still runs."""
    try:
        return identity(int(process.partition("x")[0])) == process
    except (OSError, ValueError):
        return False


def is_stale(found: str) -> bool:
    """Return whether a name belongs to a run whose process is gone."""
    match = _NAME.match(found)
    return match is not None and not is_alive(match[1])


def is_running(found: str) -> bool:
    """Return whether a name belongs to a run whose process still runs."""
    match = _NAME.match(found)
    return match is not None and is_alive(match[1])


def remove_files(hub: str) -> None:
    """Remove what a hub has left in this machine's file system."""
    for directory in (Path("/etc", hub), Path("/var/backups", hub)):
        shutil.rmtree(directory, ignore_errors=True)
    Path(f"/etc/jupyterhub-deploy/version-{hub}.json").unlink(missing_ok=True)
    # What it used must not keep images from being removed for others.
    with contextlib.suppress(OSError, ValueError, KeyError):
        record = json.loads(IMAGES_RECORD.read_text(encoding="utf-8"))
        del record["hubs"][hub]
        IMAGES_RECORD.write_text(json.dumps(record), encoding="utf-8")


def remove_memory_limits(unwanted: Callable[[str], bool]) -> None:
    """Remove the memory limits of hubs on this machine, which has no systemd.

    Args:
        unwanted: whether those of the hub of this name are removed.
    """
    for place in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        for path in place.glob(f"jupyterhub-{PREFIX.replace('-', '_')}*"):
            if unwanted(path.name.removeprefix("jupyterhub-").replace("_", "-")):
                with contextlib.suppress(OSError):  # another run removes the same
                    path.rmdir()


def remove_guard(container: str) -> None:
    """Remove the guard of a hub on this machine, with its rules in the kernel."""
    image = docker("inspect", "--format", "{{.Image}}", container).strip()
    docker("rm", "--force", container)
    hub = f"GUARD_HUB={container.removesuffix('-guard')}"
    command = ["python3", "/opt/front/guard.py", "--remove"]
    docker("run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN", "--env", hub, image, *command)


def remove_unused_rules() -> None:
    """Remove the rules that guards of hubs on this machine have left: a new network may get the same subnet."""
    command = ["python3", "/opt/front/guard.py", "--remove-unused"]
    for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if "/front:" in image:
            with contextlib.suppress(DockerError):  # the image of an earlier version
                docker("run", "--rm", "--network=host", "--cap-add=NET_ADMIN", "--volume=/run:/run", image, *command)
                return


def remove_stale() -> None:
    """Remove what runs whose process is gone have left: containers, networks, volumes, images and files."""
    for found in filter(is_stale, docker("ps", "--all", "--format", "{{.Names}}").splitlines()):
        if found.endswith("-guard"):
            with contextlib.suppress(DockerError):
                remove_guard(found)
    for listing, removal in (
        (["ps", "--all", "--format", "{{.Names}}"], ["rm", "--force", "--volumes"]),
        (["network", "ls", "--format", "{{.Name}}"], ["network", "rm"]),
        (["volume", "ls", "--format", "{{.Name}}"], ["volume", "rm"]),
        (["images", "--format", "{{.Repository}}:{{.Tag}}"], ["rmi", "--force"]),
    ):
        for found in filter(is_stale, docker(*listing).splitlines()):
            with contextlib.suppress(DockerError):  # another run removes the same
                docker(*removal, found)
    places = (Path("/etc"), Path("/var/backups"), Path("/etc/jupyterhub-deploy"))
    for path in (path for place in places if place.is_dir() for path in place.iterdir() if is_stale(path.name)):
        remove_files(path.name.removeprefix("version-").removesuffix(".json"))
    remove_memory_limits(is_stale)
    remove_unused_rules()
    for namespace in filter(is_stale, (path.name for path in Path("/run/netns").glob(f"{PREFIX}*"))):
        subprocess.run(["ip", "netns", "delete", namespace], check=False)
