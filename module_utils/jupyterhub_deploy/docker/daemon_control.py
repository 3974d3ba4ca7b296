"""Start, reload and restart the Docker engine of this host, and write the files that it and this role read.

Three ways: systemd, an init script, or dockerd started by ourselves, as a process of its own that outlives the
connection of Ansible. Whichever way, it is done when the engine answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker import daemon_info, daemon_json, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

LOG_FILE = "/var/log/dockerd.log"  # of an engine that we start ourselves
INIT_LOG_FILE = "/var/log/docker.log"  # of Debian's and Docker's init script
LOG_LINES = 15
# … of so many last lines, without the chatter: an engine that fails says a dozen things about its shutting down.
LOG_WINDOW = 100

# One older log is kept beside it. Checked at each start; the role adds a logrotate rule where logrotate is at home.
LOG_ROTATE_BYTES = 10 * 1024 * 1024

# An engine ends its containers (without live-restore) within its shutdown-timeout, 15 s by default, and then itself.
STOP_TIMEOUT = 90
RELOAD_TIMEOUT = 15
_POLL_SECONDS = 0.2

# The program of an engine from 23.0 on checks a file without starting (`dockerd --validate`).
_VALIDATES_FROM = "23.0"

# dockerd's own containerd. Its pid file is believed without a look at who has that number now.
CONTAINERD_PID_FILE = "/var/run/docker/containerd/containerd.pid"


def validate(dockerd: str, version: str, options: daemon_json.Options) -> None:
    """Validate the options with dockerd, where it supports that.

    :raises DeployError: with the program's own words.
    """
    if not daemon_plan.is_recent(version, _VALIDATES_FROM):
        return
    with tempfile.NamedTemporaryFile("w", prefix="daemon.", suffix=".json", encoding="utf-8") as file:
        file.write(daemon_json.render(options))
        file.flush()
        result = _run([dockerd, "--validate", "--config-file", file.name])
    if result.returncode != 0:
        said = daemon_json.hide_passwords((result.stderr or result.stdout).strip())
        raise DeployError(f"the engine refuses these options, nothing was changed: {said}. Mend docker_daemon_options")


def write(path: str, text: str, mode: int) -> None:
    """Replace a file at once: readers see the old or the new content, also after a power cut.

    :param mode: of a new file; one that exists keeps its own mode and owner.
    """
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            with contextlib.suppress(FileNotFoundError):
                old = os.stat(path)
                mode = old.st_mode & 0o7777
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_record(record: daemon_plan.Record) -> None:
    """Remember for the next run. Only root may read it: options may carry a proxy's password."""
    content = {"managed": record.managed, "applied": dict(record.applied), "pending": record.pending}
    write(daemon_info.RECORD_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n", 0o600)


def enable() -> None:
    """Make systemd start Docker at boot.

    :raises DeployError: with what systemctl said.
    """
    _must(["systemctl", "enable", "docker.service"], "systemd")


def settle(
    action: str,
    seen: dict[str, Any],
    options: daemon_json.Options,
    timeout: int,
    arguments: Sequence[str] = (),
) -> None:
    """Do what the plan says to the engine, and wait until it answers.

    :param action: ``none``, ``start``, ``reload`` or ``restart``.
    :param seen: the observation that the plan was made from.
    :param options: what ``daemon.json`` holds now.
    :param timeout: seconds that the engine may take to answer.
    :param arguments: what dockerd is to be started with where no service manager knows.
    :raises DeployError: when it does not come up or does not take up the options, with its last log lines.
    """
    if action == "start":
        _start(seen, timeout, arguments)
    elif action == "reload":
        _reload(seen["pid"], options)
    elif action == "restart":
        if options.get("live-restore") and seen["running"] and not seen["live_restore"]:
            # Containers outlive the restart only if the engine that goes down knows it already.
            _reload(seen["pid"], {"live-restore": True})
        _restart(seen, timeout, arguments)


def _start(seen: dict[str, Any], timeout: int, arguments: Sequence[str]) -> None:
    manager = seen["service_manager"]
    if manager == "systemd":
        _systemctl("start", timeout)
    elif manager == "sysvinit":
        _must(["service", "docker", "start"], "sysvinit", timeout)
    elif not daemon_info.process_of(daemon_info.PID_FILE, "dockerd"):
        _start_directly(seen["dockerd"], arguments, timeout)
    _wait_for_answer(timeout, manager)


def _restart(seen: dict[str, Any], timeout: int, arguments: Sequence[str]) -> None:
    manager = seen["service_manager"]
    if manager == "systemd":
        _systemctl("restart", timeout)
    elif manager == "sysvinit":
        _must(["service", "docker", "restart"], "sysvinit", timeout)
    else:
        _stop_directly()
        _start_directly(seen["dockerd"], arguments, timeout)
    _wait_for_answer(timeout, manager)


def _systemctl(verb: str, timeout: int) -> None:
    # Several restarts within a minute are not a crash loop here, but systemd would take them for one.
    _run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
    _must(["systemctl", verb, "docker.service"], "systemd", timeout)


def _start_directly(dockerd: str, arguments: Sequence[str], timeout: int) -> None:
    """Start dockerd as a process of its own: no terminal, no pipe to us, its own session."""
    for pid_file, name in ((daemon_info.PID_FILE, "dockerd"), (CONTAINERD_PID_FILE, "containerd")):
        # Left by a killed engine. If another program has that number now, dockerd believes that it still runs.
        if os.path.exists(pid_file) and not daemon_info.process_of(pid_file, name):
            os.unlink(pid_file)
    _rotate(LOG_FILE)
    # A service manager would raise the limit on open files; we can raise the soft one only.
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
    _wait_for_answer(timeout, "none", lambda: process.poll() is None)


def _stop_directly() -> None:
    pid = daemon_info.process_of(daemon_info.PID_FILE, "dockerd")
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    if not _within(STOP_TIMEOUT, lambda: daemon_info.process_of(daemon_info.PID_FILE, "dockerd") is None):
        raise _failure(f"the engine (pid {pid}) did not end within {STOP_TIMEOUT} s of being asked to", "none")


def _reload(pid: int | None, options: daemon_json.Options) -> None:
    if pid is None:
        raise DeployError(f"the engine runs, but {daemon_info.PID_FILE} does not tell its process; restart it by hand")
    os.kill(pid, signal.SIGHUP)

    # dockerd that dislikes a value only says so in its log and keeps the old one.
    if not _within(RELOAD_TIMEOUT, lambda: has_taken_up(daemon_info.ask("/info") or {}, options)):
        manager = daemon_plan.choose_service_manager(daemon_info.host_traits())
        raise _failure("the engine did not take up the new options when it was asked to reload them", manager)


def has_taken_up(info: dict[str, Any], options: daemon_json.Options) -> bool:
    """Return whether a running engine works with the reloadable options, as far as it tells (``GET /info``)."""
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
        # Shown without a scheme, networks in their canonical form: look for the host names only.
        names = [name for name in options["insecure-registries"] if "/" not in name]
        expected.append((all(name in shown for name in names), True))
    return all(have == want for have, want in expected)


def _wait_for_answer(timeout: int, manager: str, alive: Callable[[], bool] = lambda: True) -> None:
    answered = _within(timeout, lambda: not alive() or daemon_info.ask("/version") is not None)
    if not alive():
        raise _failure("the engine ended again", manager)
    if not answered:
        raise _failure(f"the engine does not answer within {timeout} s", manager)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


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
        return "journalctl -u docker", daemon_json.telling_lines(_run(command).stdout.splitlines(), LOG_LINES)
    path = INIT_LOG_FILE if manager == "sysvinit" else LOG_FILE
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return path, daemon_json.telling_lines(file.read().splitlines()[-LOG_WINDOW:], LOG_LINES)
    except OSError as error:
        return path, f"cannot be read: {error}"


def _must(command: list[str], manager: str, timeout: int = 60) -> None:
    result = _run(command, timeout)
    if result.returncode != 0:
        raise _failure(f"`{' '.join(command)}` failed: {(result.stderr or result.stdout).strip()}", manager)


def _run(command: list[str], timeout: int = 60) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
