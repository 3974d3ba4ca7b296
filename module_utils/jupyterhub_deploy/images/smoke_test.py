"""Test whether an image can run a notebook server, before the hub uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import LOG_DELAY, docker_errors, run_to_end
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_PURPOSE
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

PURPOSE = "smoke-test"  # of the containers in which images are tested
# Seconds until the test container has to finish, and until a server has to answer; a busy machine needs ten.
TIMEOUT = 120
LOG_LINES = 10

# Versions with the fixes of serious faults: CVE-2026-86049 and CVE-2026-44727 in the server, CVE-2026-102831 in
# JupyterLab. Raise them with the next ones.
MINIMUM_VERSIONS = {"jupyter_server": (2, 21, 0), "jupyterlab": (4, 6, 4)}

SERVER_PORT = 8888  # DockerSpawner's default
# A server asks for its hub before it opens its port. A server of any version logs this when there is none.
ASKS_FOR_HUB = "Failed to connect to my Hub"
# What a hub passes to a server.
SERVER_ENVIRONMENT = {
    "JUPYTERHUB_API_TOKEN": "smoke-test",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
    "JUPYTERHUB_BASE_URL": "/",
    "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-smoke-test",
    "JUPYTERHUB_HOST": "",
    "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/smoke-test/oauth_callback",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/smoke-test/",
    "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{SERVER_PORT}/user/smoke-test/",
    "JUPYTERHUB_USER": "smoke-test",
}
# Answers the server's question for the version of its hub, in the container, which has no network.
HUB = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "5.5.4"}')
HTTPServer(("127.0.0.1", 8081), Hub).serve_forever()
"""

# Run by the image's sh as its default user. The version comes from the metadata of pip and conda, read with the
# interpreter of jupyterhub-singleuser: 0.1 s, while running the program would take as long as a start of Jupyter.
SCRIPT = r"""
program=$(command -v jupyterhub-singleuser) && python=$(sed -n '1s/^#! *\([^ ]*\).*/\1/p' "$program")
case $python in */python*) ;; *) python=$(command -v python3) ;; esac
echo "program=$program"
echo "python=$python"
echo "version=$([ -n "$program" ] && $python -c 'from importlib.metadata import version; print(version("jupyterhub"))')"
for package in jupyter_server jupyterlab; do
  echo "$package=$($python -c "from importlib.metadata import version; print(version('$package'))" 2> /dev/null)"
done
echo "uid=$(id -u)"
echo "gid=$(id -g)"
[ -d "$1" ] && echo exists=yes
[ -w "$1" ] && echo writable=yes
exit 0
"""


def parse_output(output: str) -> dict[str, Any]:
    """Return the result in the output of :data:`SCRIPT`.

    Its keys are program, python, version, uid, gid, exists, writable and versions (of Jupyter's packages).
    """
    values = dict(line.partition("=")[::2] for line in output.splitlines() if "=" in line)
    return {
        "program": values.get("program", ""),
        "python": values.get("python", "").strip(),
        "version": values.get("version", "").strip(),
        "uid": int(values["uid"]) if values.get("uid", "").isdigit() else None,
        "gid": int(values["gid"]) if values.get("gid", "").isdigit() else None,
        "exists": values.get("exists") == "yes",
        "writable": values.get("writable") == "yes",
        "versions": {package: values.get(package, "").strip() for package in MINIMUM_VERSIONS},
    }


def check_result(name: str, result: dict[str, Any], hub_version: str, notebook_dir: str) -> list[str]:
    """Return warnings about an image.

    :param hub_version: JupyterHub's version in the hub.
    :raises DeployError: no server could start from the image.
    """
    if not result["program"]:
        raise DeployError(
            f"image {name} has no jupyterhub-singleuser, so no server could start from it; the hub was not changed. "
            f"Add `pip install jupyterhub=={hub_version}` to the image, or choose one of the Jupyter Docker Stacks"
        )
    fault = result["server_fault"]
    if fault:
        raise DeployError(
            f"image {name} starts no notebook server: {fault}; the hub was not changed. Set a CMD in the image that "
            "starts jupyterhub-singleuser, or set jupyterhub_notebook_command: [jupyterhub-singleuser]"
        )
    warnings = []
    major = hub_version.split(".")[0]
    if not result["version"]:
        warnings.append(f"image {name}: the version of its JupyterHub could not be read; it should be {major}.x")
    elif result["version"].split(".")[0] != major:
        warnings.append(
            f"image {name} has JupyterHub {result['version']}, the hub has {hub_version}: another major version; "
            "servers may not start or not be reachable; use an image of the hub's major version"
        )
    warnings += [
        f"image {name} has {package} {version}, which has known security faults; use an image with "
        f"{'.'.join(map(str, MINIMUM_VERSIONS[package]))} or newer (docs/how-to/security-updates.md)"
        for package, version in result["versions"].items()
        if version and _release(version) < MINIMUM_VERSIONS[package]
    ]
    if result["uid"] == 0:
        warnings.append(f"image {name} runs as root; set a USER in it")
    if not result["exists"]:
        warnings.append(
            f"image {name} has no folder {notebook_dir}: a user's volume there would belong to root and would not be "
            "writable; create the folder in the image, owned by the image's user, or set jupyterhub_notebook_dir"
        )
    elif not result["writable"]:
        warnings.append(
            f"image {name}: its user {result['uid']}:{result['gid']} may not write to {notebook_dir}; "
            "change the folder's owner in the image, or set jupyterhub_notebook_dir"
        )
    return warnings


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version, without what follows, such as ``rc1``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def run(client: Any, name: str, image_id: str, notebook_dir: str, command: list[str]) -> dict[str, Any]:
    """Run the test in containers without network and capabilities, and return its result.

    :param command: of servers, when it is not the image's own.
    :raises DeployError: the image cannot be run.
    """
    try:
        result = _run_script(client, image_id, notebook_dir)
        fault = _server_fault(client, image_id, command, result["python"]) if result["program"] else ""
    except (docker_errors.APIError, OSError) as error:
        text = getattr(error, "explanation", None) or error
        raise DeployError(
            f"image {name} could not be tested: {text}; it needs sh and the host's processor architecture"
        ) from error
    return {**result, "server_fault": fault}


def _run_script(client: Any, image_id: str, notebook_dir: str) -> dict[str, Any]:
    container = _create(client, image_id, entrypoint=["sh", "-c", SCRIPT, "sh", notebook_dir], command=[])
    try:
        return parse_output(run_to_end(client, container, TIMEOUT, stderr=False)[1])
    finally:
        client.remove_container(container, force=True, v=True)


def _server_fault(client: Any, image_id: str, command: list[str], python: str) -> str:
    """Run a server as the hub would; return why it does not open its port, "" when it does."""
    container = _create(client, image_id, command=command or None, environment=SERVER_ENVIRONMENT)
    try:
        try:
            client.start(container)
        except docker_errors.APIError as error:  # no such program
            return str(error.explanation or error)
        if client.inspect_container(container)["State"]["Running"]:
            try:
                hub = client.exec_create(container, [python, "-c", HUB], stdout=False, stderr=False)
                client.exec_start(hub, detach=True)
            except docker_errors.APIError:  # it has ended, or its Python is not there
                pass

        def is_decided() -> bool:
            return _serves(client, container) or not client.inspect_container(container)["State"]["Running"]

        if wait_until(is_decided, TIMEOUT) and _serves(client, container):
            return ""
        found = client.inspect_container(container)
        state, config = found["State"], found["Config"]
        program = " ".join([*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])])
        reason = f"did not open port {SERVER_PORT} within {TIMEOUT} s"
        if not state["Running"]:
            reason = f"ended with exit code {state['ExitCode']}"
        wait_until(lambda: _log(client, container), LOG_DELAY)
        log = _log(client, container)
        return f"{program!r} {reason}" + (f"; its last log lines: {log}" if log else "")
    finally:
        client.remove_container(container, force=True, v=True)


def _create(client: Any, image_id: str, **options: Any) -> str:
    """Create a container as the hub does for a user, but without network and volume; return its id."""
    host_config = client.create_host_config(cap_drop=["ALL"], security_opt=["no-new-privileges"], network_mode="none")
    labels = {LABEL_PURPOSE: PURPOSE}
    created = client.create_container(
        image_id, network_disabled=True, labels=labels, host_config=host_config, use_config_proxy=False, **options
    )
    return str(created["Id"])


def _serves(client: Any, container: str) -> bool:
    """Return whether a server runs and has opened its port, or asks for its hub."""
    state = client.inspect_container(container)["State"]
    if not state["Running"]:
        return False
    for table in ("tcp", "tcp6"):
        try:
            if is_listening(files.read_text(f"/proc/{state['Pid']}/net/{table}") or "", SERVER_PORT):
                return True
        except OSError:  # it has just ended
            continue
    return ASKS_FOR_HUB in _log(client, container, lines=200)


def _log(client: Any, container: str, lines: int = LOG_LINES) -> str:
    """Return the last lines of a container's log; empty when Docker's logging driver keeps none."""
    try:
        return str(client.logs(container, tail=lines).decode(errors="replace").strip())
    except docker_errors.APIError:
        return ""


def is_listening(table: str, port: int) -> bool:
    """Return whether a text like ``/proc/net/tcp`` has a socket that listens on a port."""
    return bool(re.search(rf"^ *\d+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ", table, re.MULTILINE))


def key(image_id: str, notebook_dir: str, command: Sequence[str] = ()) -> str:
    """Return the key of a stored result, which is valid for one image, one folder and one command."""
    return f"{image_id} {notebook_dir} {json.dumps(list(command))}"


def load(path: str) -> dict[str, Any]:
    """Return the stored results; empty when the file is missing or invalid."""
    try:
        found = json.loads(files.read_text(path) or "{}")
    except (OSError, ValueError):
        return {}
    # A result of an earlier version of this project has no versions; its image is tested again.
    return {key: result for key, result in found.items() if "versions" in result} if isinstance(found, dict) else {}


def save(path: str, results: dict[str, Any]) -> None:
    """Write the results."""
    files.write_atomically(path, json.dumps(results, indent=1, sort_keys=True), 0o644, parents=True)
