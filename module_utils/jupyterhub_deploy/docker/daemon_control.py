"""Start, reload and restart Docker on this host, and write its configuration and this role's record.

Docker is started by systemd, by its init script, or directly as a process that outlives the connection of Ansible. All
three ways wait until Docker answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files, processes
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info, daemon_json, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

CONFIG_MODE = 0o644  # what Docker's documentation and packages use
LOG_FILE = "/var/log/dockerd.log"  # of a dockerd that this role starts
INIT_LOG_FILE = "/var/log/docker.log"  # of Debian's and Docker's init script
LOG_LINES = 15
# LOG_LINES are taken from this many last lines: a dockerd that fails logs a dozen lines about its shutdown.
LOG_WINDOW = 100

# One older log is kept. Checked at each start; the role adds a logrotate rule where logrotate is installed.
LOG_ROTATE_BYTES = 10 * 1024 * 1024

# Without live-restore, dockerd stops its containers within shutdown-timeout, 15 s by default, and then itself.
STOP_TIMEOUT = 90
RELOAD_TIMEOUT = 15
_POLL_SECONDS = 0.2

# The first version that can check a file without starting (`dockerd --validate`).
_VALIDATES_FROM = "23.0"

# Of dockerd's own containerd. dockerd trusts this file without checking the process.
CONTAINERD_PID_FILE = "/var/run/docker/containerd/containerd.pid"


def validate(dockerd: str, version: str, options: daemon_json.Options) -> None:
    """Validate the options with dockerd, where it supports that.

    :raises DeployError: with the output of dockerd.
    """
    if not daemon_plan.is_recent(version, _VALIDATES_FROM):
        return
    with tempfile.NamedTemporaryFile("w", prefix="daemon.", suffix=".json", encoding="utf-8") as file:
        file.write(daemon_json.render(options))
        file.flush()
        result = _run([dockerd, "--validate", "--config-file", file.name])
    if result.returncode != 0:
        output = daemon_json.hide_passwords((result.stderr or result.stdout).strip())
        raise DeployError(f"Docker refuses these options, nothing was changed: {output}. Correct docker_daemon_options")


def write_config(path: str, text: str) -> None:
    """Write ``daemon.json``. An existing file keeps its permissions and its owner."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    files.write_atomically(path, text, CONFIG_MODE, keep=True)


def write_record(record: daemon_plan.Record) -> None:
    """Write the record for the next run. Only root can read it: options may contain a proxy's password."""
    content = {"managed": record.managed, "applied": dict(record.applied), "pending": record.pending}
    os.makedirs(os.path.dirname(daemon_info.RECORD_FILE), mode=0o755, exist_ok=True)
    files.write_atomically(daemon_info.RECORD_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")


def enable() -> None:
    """Make systemd start Docker at boot.

    :raises DeployError: with the output of systemctl.
    """
    _run_checked(["systemctl", "enable", "docker.service"], "systemd")


def apply_action(
    action: str,
    seen: dict[str, Any],
    options: daemon_json.Options,
    timeout: int,
    arguments: Sequence[str] = (),
) -> None:
    """Start, reload or restart Docker, and wait until it answers.

    :param action: ``none``, ``start``, ``reload`` or ``restart``.
    :param seen: the state that the plan was made from.
    :param options: the options in ``daemon.json`` now.
    :param timeout: seconds to wait for an answer.
    :param arguments: the arguments of dockerd where no service manager knows them.
    :raises DeployError: Docker does not start or does not apply the options; with its last log lines.
    """
    if action == "start":
        _start(seen, timeout, arguments)
    elif action == "reload":
        _reload(seen["pid"], options)
    elif action == "restart":
        if options.get("live-restore") and seen["running"] and not seen["live_restore"]:
            # Containers outlive the restart only if the old dockerd already uses live-restore.
            _reload(seen["pid"], {"live-restore": True})
        _restart(seen, timeout, arguments)


def _start(seen: dict[str, Any], timeout: int, arguments: Sequence[str]) -> None:
    manager = seen["service_manager"]
    if manager == "systemd":
        _systemctl("start", timeout)
    elif manager == "sysvinit":
        _run_checked(["service", "docker", "start"], "sysvinit", timeout)
    elif not processes.process_of(daemon_info.PID_FILE, "dockerd"):
        _start_directly(seen["dockerd"], arguments, timeout)
    _wait_for_docker(timeout, manager)


def _restart(seen: dict[str, Any], timeout: int, arguments: Sequence[str]) -> None:
    manager = seen["service_manager"]
    if manager == "systemd":
        _systemctl("restart", timeout)
    elif manager == "sysvinit":
        _run_checked(["service", "docker", "restart"], "sysvinit", timeout)
    else:
        _stop_directly()
        _start_directly(seen["dockerd"], arguments, timeout)
    _wait_for_docker(timeout, manager)


def _systemctl(verb: str, timeout: int) -> None:
    # systemd would take several restarts within a minute for a crash loop.
    _run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
    _run_checked(["systemctl", verb, "docker.service"], "systemd", timeout)


def _start_directly(dockerd: str, arguments: Sequence[str], timeout: int) -> None:
    """Start dockerd as a separate process: no terminal, no pipe to this module, its own session."""
    for pid_file, name in ((daemon_info.PID_FILE, "dockerd"), (CONTAINERD_PID_FILE, "containerd")):
        # Left by a killed dockerd. If another program has that process id now, dockerd takes it for a running dockerd.
        if os.path.exists(pid_file) and not processes.process_of(pid_file, name):
            os.unlink(pid_file)
    _rotate(LOG_FILE)
    # A service manager would raise the limit on open files; only the soft limit can be raised here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mask = os.umask(0o022)
    try:
        with open(LOG_FILE, "ab") as log:
            process = subprocess.Popen(
                [dockerd, *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise DeployError(f"{dockerd} cannot be started: {error}") from error
    finally:
        os.umask(mask)
    _wait_for_docker(timeout, "none", lambda: process.poll() is None)


def _stop_directly() -> None:
    pid = processes.process_of(daemon_info.PID_FILE, "dockerd")
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    ended = processes.wait_until(
        lambda: processes.process_of(daemon_info.PID_FILE, "dockerd") is None, STOP_TIMEOUT, _POLL_SECONDS
    )
    if not ended:
        raise _failure(f"Docker (pid {pid}) did not stop within {STOP_TIMEOUT} s", "none")


def _reload(pid: int | None, options: daemon_json.Options) -> None:
    if pid is None:
        raise DeployError(
            f"Docker is running, but {daemon_info.PID_FILE} does not contain its process id; restart Docker by hand"
        )
    os.kill(pid, signal.SIGHUP)

    # When dockerd rejects a value, it only logs an error and keeps the old one.
    def is_applied() -> bool:
        return has_applied(daemon_info.get("/info") or {}, options)

    if not processes.wait_until(is_applied, RELOAD_TIMEOUT, _POLL_SECONDS):
        manager = daemon_plan.choose_service_manager(daemon_info.host_traits())
        raise _failure("Docker did not apply the new options after a reload", manager)


def has_applied(info: dict[str, Any], options: daemon_json.Options) -> bool:
    """Return whether Docker uses the reloadable options, as far as ``GET /info`` shows."""
    registries = info.get("RegistryConfig") or {}
    shown = [*(registries.get("InsecureRegistryCIDRs") or []), *(registries.get("IndexConfigs") or {})]
    expected: list[tuple[Any, Any]] = []
    if "live-restore" in options:
        expected.append((info.get("LiveRestoreEnabled"), options["live-restore"]))
    if "debug" in options:
        expected.append((info.get("Debug"), options["debug"]))
    if "labels" in options:
        expected.append((sorted(info.get("Labels") or []), sorted(options["labels"])))
    if "registry-mirrors" in options:
        mirrors = {mirror.rstrip("/") for mirror in registries.get("Mirrors") or []}
        expected.append((mirrors, {mirror.rstrip("/") for mirror in options["registry-mirrors"]}))
    if "insecure-registries" in options:
        # Shown without a scheme, networks in their canonical form: compare only the host names.
        names = [name for name in options["insecure-registries"] if "/" not in name]
        expected.append((all(name in shown for name in names), True))
    return all(have == want for have, want in expected)


def _wait_for_docker(timeout: int, manager: str, alive: Callable[[], bool] = lambda: True) -> None:
    answered = processes.wait_until(
        lambda: not alive() or daemon_info.get("/version") is not None, timeout, _POLL_SECONDS
    )
    if not alive():
        raise _failure("Docker stopped again", manager)
    if not answered:
        raise _failure(f"Docker does not answer within {timeout} s", manager)


def _rotate(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path) > LOG_ROTATE_BYTES:
            os.replace(path, f"{path}.1")


def _failure(what: str, manager: str) -> DeployError:
    where, lines = _log(manager)
    return DeployError(f"{what}. The end of its log ({where}):\n" + daemon_json.hide_passwords(lines))


def _log(manager: str) -> tuple[str, str]:
    if manager == "systemd":
        command = ["journalctl", "--unit=docker", f"--lines={LOG_WINDOW}", "--no-pager", "--output=cat"]
        return "journalctl -u docker", daemon_json.trouble_lines(_run(command).stdout.splitlines(), LOG_LINES)
    path = INIT_LOG_FILE if manager == "sysvinit" else LOG_FILE
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return path, daemon_json.trouble_lines(file.read().splitlines()[-LOG_WINDOW:], LOG_LINES)
    except OSError as error:
        return path, f"cannot be read: {error}"


def _run_checked(command: list[str], manager: str, timeout: int = 60) -> None:
    result = _run(command, timeout)
    if result.returncode != 0:
        raise _failure(f"`{' '.join(command)}` failed: {(result.stderr or result.stdout).strip()}", manager)


def _run(command: list[str], timeout: int = 60) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
