"""Read the state of Docker on this host, with only the standard library.

The SDK is not used: it may not be installed yet, and importing it takes longer than everything here together.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

from ansible.module_utils.jupyterhub_deploy import processes
from ansible.module_utils.jupyterhub_deploy.docker import daemon_flags, daemon_json, daemon_plan
from ansible.module_utils.jupyterhub_deploy.docker.daemon_api import SOCKET, get
from ansible.module_utils.jupyterhub_deploy.docker.daemon_data import DATA_ROOT
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

PID_FILE = "/var/run/docker.pid"  # the default of dockerd
CONFIG_FILE = "/etc/docker/daemon.json"
RECORD_FILE = "/etc/jupyterhub-deploy/docker-engine.json"

# sudo and cron omit some of these from the PATH.
BINARY_PATH = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin"

# Created by `systemctl enable`. The link of docker.socket is not enough: it starts Docker at its first use, and until
# then no container is started after a reboot.
ENABLED_LINK = "/etc/systemd/system/multi-user.target.wants/docker.service"

#: Docker's packages, of Debian and of Docker, and those without which it does not start.
PACKAGES = ("docker.io", "docker-ce", "containerd", "containerd.io", "runc", "iptables")
#: States of dpkg of a package that an interrupted installation has left.
HALF_INSTALLED = {"unpacked", "half-configured", "half-installed"}


def find_dockerd() -> str | None:
    """Return the path of dockerd, ``None`` when it is not installed."""
    return shutil.which("dockerd", path=BINARY_PATH)


def is_half_installed() -> bool:
    """Return whether the installation of a package that Docker needs was interrupted: its programs may not work."""
    dpkg = shutil.which("dpkg-query", path=BINARY_PATH)
    if not dpkg:
        return False
    command = [dpkg, "--show", "--showformat=${db:Status-Status}\n", *PACKAGES]  # fails if one is not known
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return not HALF_INSTALLED.isdisjoint(shown.split())


def observe(
    minimum_version: str,
    socket_path: str = SOCKET,
    config_file: str = CONFIG_FILE,
    pid_file: str = PID_FILE,
) -> dict[str, Any]:
    """Return the state of Docker, as ``docker_engine_info`` documents it (``RETURN``).

    :raises DeployError: the socket does not belong to Docker, or see :func:`daemon_api.get`.
    """
    version = get("/version", socket_path)
    info = (get("/info", socket_path) if version else None) or {}
    _refuse_podman(version or {}, socket_path)
    running = version is not None
    interrupted = not running and is_half_installed()
    dockerd = None if interrupted else find_dockerd()
    running_version = version["Version"] if version else ""
    installed_version = ""
    if dockerd and not (running and daemon_plan.is_recent(running_version, minimum_version)):
        installed_version = version_of(dockerd)
    pid = processes.process_of(pid_file, "dockerd")
    manager = service_manager()
    arguments = arguments_of(pid) if pid else unit_arguments() if dockerd and manager == "systemd" else []
    config = read_config(daemon_flags.flag_value(arguments, "config-file") or config_file)
    data = data_of(info, socket_path) if running else data_on_disk(data_root(config["options"]))
    return {
        "installed": dockerd is not None,
        "interrupted": interrupted,
        "dockerd": dockerd or "",
        "installed_version": installed_version,
        "running": running,
        "version": running_version or installed_version,
        "api_version": version["ApiVersion"] if version else "",
        "pid": pid,
        "arguments": arguments,
        "root_dir": info.get("DockerRootDir", ""),
        **data,
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "containers_running": info.get("ContainersRunning", 0),
        "service_manager": manager,
        "enabled": os.path.lexists(ENABLED_LINK),
        "config": config,
        "sdk": sdk(),
    }


def option(name: str, config_file: str = CONFIG_FILE, pid_file: str = PID_FILE) -> Any:
    """Return the value of an option of dockerd, from its command line or its file; ``None`` when neither has it."""
    pid = processes.process_of(pid_file, "dockerd")
    arguments = arguments_of(pid) if pid else []
    flag = daemon_flags.flag_value(arguments, name)
    if flag is not None:
        return flag
    return read_config(daemon_flags.flag_value(arguments, "config-file") or config_file)["options"].get(name)


def is_stopped() -> bool:
    """Return whether Docker is installed and has no socket."""
    return find_dockerd() is not None and not os.path.exists(SOCKET)


def data_of(info: dict[str, Any], socket_path: str) -> dict[str, Any]:
    """Return what a running Docker has: ``objects`` (counts by kind), ``storage_driver`` and ``containerd_images``."""
    objects = {"containers": info.get("Containers", 0), "images": info.get("Images", 0)}
    if not any(objects.values()):  # otherwise the number of volumes makes no difference
        objects["volumes"] = len((get("/volumes", socket_path) or {}).get("Volumes") or [])
    status = [list(pair) for pair in info.get("DriverStatus") or []]
    return {
        "objects": objects,
        "storage_driver": info.get("Driver", ""),
        "containerd_images": ["driver-type", "io.containerd.snapshotter.v1"] in status,
    }


def data_root(options: dict[str, Any]) -> str:
    """Return the directory of Docker's data by the options in its file; ``graph`` is the old name of ``data-root``."""
    return str(options.get("data-root") or options.get("graph") or DATA_ROOT)


def data_on_disk(root: str) -> dict[str, Any]:
    """Return what a stopped Docker has in its directory, as :func:`data_of`.

    With ``userns-remap``, its data are in a directory there that is called after user and group, ``100000.100000``.
    """

    def names(*parts: str) -> list[str]:
        path = os.path.join(root, *parts)
        return sorted(one.name for one in os.scandir(path) if one.is_dir()) if os.path.isdir(path) else []

    remapped = [name for name in names() if re.fullmatch(r"[0-9]+\.[0-9]+", name)]
    layers = {
        (part, name): len(names(part, "image", name, "layerdb", "sha256"))
        for part in ("", *remapped)
        for name in names(part, "image")
    }
    drivers = sorted({name for (_, name), number in layers.items() if number})
    return {
        "objects": {
            "containers": sum(len(names(part, "containers")) for part in ("", *remapped)),
            "image layers": sum(layers.values()),
            "volumes": sum(len(names(part, "volumes")) for part in ("", *remapped)),
        },
        "storage_driver": drivers[0] if len(drivers) == 1 else "",
        "containerd_images": False,
    }


def _refuse_podman(version: dict[str, Any], socket_path: str) -> None:
    names = [component.get("Name", "") for component in version.get("Components") or []]
    if any("podman" in name.lower() for name in names):
        raise DeployError(
            f"{socket_path} belongs to Podman, not to Docker, which JupyterHub's DockerSpawner is not tested with; "
            f"remove the package podman-docker and the link {socket_path}, and run again"
        )


def version_of(dockerd: str) -> str:
    """Return the version of dockerd, without starting it.

    :raises DeployError: dockerd does not print its version.
    """
    try:
        output = subprocess.run([dockerd, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
        # "Docker version 20.10.24+dfsg1, build 5d6db84"
        return output.split("version", 1)[1].split(",")[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise DeployError(f"{dockerd} --version does not print its version ({error}); reinstall Docker") from error


def service_manager() -> str:
    """Return what can start Docker on this host: ``systemd`` or ``none``."""
    return "systemd" if os.path.isdir("/run/systemd/system") else "none"  # the test of sd_booted(3)


def arguments_of(pid: int) -> list[str]:
    """Return the arguments of a process, without the name of the program."""
    return [word for word in processes.command_line(pid) if word][1:]


def unit_arguments() -> list[str]:
    """Return the arguments of dockerd in its systemd unit; empty when there is no such unit."""
    command = ["systemctl", "show", "--property=ExecStart", "docker.service"]
    try:
        line = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    # ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// ; ignore_errors=no ; … }
    if "argv[]=" not in line:
        return []
    return shlex.split(line.split("argv[]=", 1)[1].split(" ; ", 1)[0])[1:]


def read_config(path: str) -> dict[str, Any]:
    """Return ``path``, ``exists`` and ``options`` of ``daemon.json``, and the ``error`` when it is invalid."""
    try:
        text = _read(path)
    except FileNotFoundError:
        return {"path": path, "exists": False, "options": {}, "error": ""}
    try:
        return {"path": path, "exists": True, "options": daemon_json.parse(text, path), "error": ""}
    except DeployError as error:
        return {"path": path, "exists": True, "options": {}, "error": str(error)}


def read_record(path: str) -> daemon_plan.Record:
    """Return the record of earlier runs; empty when there is none.

    :raises DeployError: the file is damaged.
    """
    try:
        return daemon_plan.Record(**json.loads(_read(path)))
    except FileNotFoundError:
        return daemon_plan.Record()
    except (TypeError, ValueError) as error:
        raise DeployError(
            f"{path} is damaged ({error}); remove it; Docker then counts as installed by "
            "somebody else, and is not changed"
        ) from error


def sdk() -> dict[str, Any]:
    """Return whether this Python can import the docker SDK, its version, and the path of this Python.

    The packages are located but not imported, which would take a quarter of a second. A directory called ``docker``
    without code does not count.
    """
    needed = ("docker", "requests")
    found = all((spec := importlib.util.find_spec(name)) is not None and spec.origin is not None for name in needed)
    version = ""
    if found:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version("docker")
    return {"importable": found, "version": version, "python": sys.executable}


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
