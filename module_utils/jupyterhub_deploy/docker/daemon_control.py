"""Start, reload and restart Docker on this host, and write its configuration and this role's record.

Docker is started by systemd, or directly as a process that outlives the connection of Ansible. All
three ways wait until Docker answers.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy import files, processes
from ansible.module_utils.jupyterhub_deploy.docker import daemon_api, daemon_info, daemon_json, daemon_log, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

CONFIG_MODE = 0o644  # what Docker's documentation and packages use
# Without live-restore, dockerd stops its containers within shutdown-timeout, 15 s by default, and then itself.
STOP_TIMEOUT = 90
RELOAD_TIMEOUT = 15
_POLL_SECONDS = 0.2

# The first version that can check a file without starting (`dockerd --validate`).
_VALIDATES_FROM = "23.0"

# The options of both modules about Docker, which document them.
OPTIONS: dict[str, dict[str, Any]] = {
    "minimum_version": {"type": "str", "default": "20.10"},
    "defaults": {"type": "dict", "default": {}},
    "options": {"type": "dict", "default": {}},
}

# Of dockerd's own containerd. dockerd trusts this file without checking the process.
CONTAINERD_PID_FILE = "/var/run/docker/containerd/containerd.pid"


def plan_changes(params: dict[str, Any]) -> tuple[dict[str, Any], daemon_plan.Record, daemon_plan.Plan]:
    """Return the state of Docker, the record of earlier runs, and the plan; changes nothing.

    :param params: :data:`OPTIONS` with their values.
    :raises DeployError: Docker would not start with the planned options, as far as it can be known.
    """
    seen = daemon_info.observe(params["minimum_version"])
    record = daemon_info.read_record(daemon_info.RECORD_FILE)
    plan = daemon_plan.make_plan(
        seen,
        record,
        minimum_version=params["minimum_version"],
        defaults=params["defaults"],
        wanted=params["options"],
    )
    # A Docker that is upgraded first may have more options.
    if plan.write and not plan.install and can_validate(seen["dockerd"]):
        _validate(seen["dockerd"], seen["config"]["path"], plan)
    return seen, record, plan


def can_validate(dockerd: str) -> bool:
    """Return whether this dockerd is installed and can check a file without starting (``dockerd --validate``)."""
    return bool(dockerd) and daemon_plan.is_recent(daemon_info.version_of(dockerd), _VALIDATES_FROM)


def _validate(dockerd: str, path: str, plan: daemon_plan.Plan) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="daemon.", suffix=".json", encoding="utf-8") as file:
        file.write(daemon_json.render(plan.options))
        file.flush()
        result = _run([dockerd, "--validate", "--config-file", file.name])
    if result.returncode != 0:
        output = daemon_json.hide_passwords((result.stderr or result.stdout).strip()).replace(file.name, path)
        raise DeployError(
            f"Docker refuses these options, nothing was changed: {output}. "
            + daemon_json.advice(output, plan.options, plan.applied, path)
        )


def write_config(path: str, text: str) -> None:
    """Write ``daemon.json``. An existing file keeps its permissions and its owner."""
    files.write_atomically(path, text, CONFIG_MODE, keep=True, parents=True)


def write_record(record: daemon_plan.Record) -> None:
    """Write the record for the next run. Only root can read it: options may contain a proxy's password."""
    content = {"managed": record.managed, "applied": dict(record.applied), "pending": record.pending}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    files.write_atomically(daemon_info.RECORD_FILE, text, parents=True)


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
        _run_service("start", seen, timeout, arguments)
    elif action == "reload":
        _reload(seen["pid"])
    elif action == "restart":
        new_live_restore = bool(options.get("live-restore")) and seen["running"] and not seen["live_restore"]
        # Containers outlive the restart only if the old dockerd already uses live-restore. A dockerd that cannot
        # validate a file refuses it now, while the containers are still running.
        if new_live_restore or (seen["pid"] and not can_validate(seen["dockerd"])):
            _reload(seen["pid"])
        _run_service("restart", seen, timeout, arguments)


def _run_service(verb: str, seen: dict[str, Any], timeout: int, arguments: Sequence[str]) -> None:
    """Start or restart Docker by its service manager, or directly where there is none."""
    manager = seen["service_manager"]
    if manager == "systemd":
        # systemd would take several restarts within a minute for a crash loop.
        _run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
        _run_checked(["systemctl", verb, "docker.service"], manager, timeout)
    else:
        if verb == "restart":
            _stop_directly()
        if not processes.process_of(daemon_info.PID_FILE, "dockerd"):
            _start_directly(seen["dockerd"], arguments, timeout)
    _wait_for_docker(timeout, manager)


def _start_directly(dockerd: str, arguments: Sequence[str], timeout: int) -> None:
    """Start dockerd as a separate process: no terminal, no pipe to this module, its own session."""
    for pid_file, name in ((daemon_info.PID_FILE, "dockerd"), (CONTAINERD_PID_FILE, "containerd")):
        # Left by a killed dockerd. If another program has that process id now, dockerd takes it for a running dockerd.
        if os.path.exists(pid_file) and not processes.process_of(pid_file, name):
            os.unlink(pid_file)
    daemon_log.rotate(daemon_log.LOG_FILE)
    # A service manager would raise the limit on open files; only the soft limit can be raised here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mask = os.umask(0o022)
    try:
        with open(daemon_log.LOG_FILE, "ab") as log:
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


def _reload(pid: int | None) -> None:
    if pid is None:
        raise DeployError(
            f"Docker is running, but {daemon_info.PID_FILE} does not contain its process id; restart Docker by hand"
        )
    began = time.time()
    os.kill(pid, signal.SIGHUP)

    # When dockerd rejects the file, it only logs an error and keeps its options; it reports only success as an event.
    def is_reloaded() -> bool:
        filters = quote(json.dumps({"type": ["daemon"], "event": ["reload"]}))
        query = f"/events?since={began:.6f}&until={time.time():.6f}&filters={filters}"
        return bool(daemon_api.get(query, parse=bytes.strip))

    if not processes.wait_until(is_reloaded, RELOAD_TIMEOUT, _POLL_SECONDS):
        raise _failure("Docker did not apply the new options after a reload", daemon_info.service_manager())


def _wait_for_docker(timeout: int, manager: str, alive: Callable[[], bool] = lambda: True) -> None:
    answered = processes.wait_until(
        lambda: not alive() or daemon_api.get("/version") is not None, timeout, _POLL_SECONDS
    )
    if not alive():
        raise _failure("Docker stopped again", manager)
    if not answered:
        raise _failure(f"Docker does not answer within {timeout} s", manager)


def _failure(what: str, manager: str) -> DeployError:
    where, lines = daemon_log.read(manager)
    return DeployError(f"{what}. The end of its log ({where}):\n" + daemon_json.hide_passwords(lines))


def _run_checked(command: list[str], manager: str, timeout: int = 60) -> None:
    result = _run(command, timeout)
    if result.returncode != 0:
        raise _failure(f"`{' '.join(command)}` failed: {(result.stderr or result.stdout).strip()}", manager)


def _run(command: list[str], timeout: int = 60) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
