"""Test whether an image can run a notebook server, before the hub uses it."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Seconds until the test container has to finish; a busy machine needs ten.
TIMEOUT = 120

# Run by the image's sh as its default user. The version comes from the metadata of pip and conda, read with the
# interpreter of jupyterhub-singleuser: 0.1 s, while running the program would take as long as a start of Jupyter.
SCRIPT = r"""
program=$(command -v jupyterhub-singleuser) && python=$(sed -n '1s/^#![ ]*//p' "$program")
case $python in */python*) ;; *) python=$(command -v python3) ;; esac
echo "program=$program"
echo "version=$([ -n "$program" ] && $python -c 'from importlib.metadata import version; print(version("jupyterhub"))')"
echo "uid=$(id -u)"
echo "gid=$(id -g)"
[ -d "$1" ] && echo exists=yes
[ -w "$1" ] && echo writable=yes
exit 0
"""


def parse_output(output: str) -> dict[str, Any]:
    """Return the result in the output of :data:`SCRIPT`: program, version, uid, gid, exists, writable."""
    values = dict(line.partition("=")[::2] for line in output.splitlines() if "=" in line)
    return {
        "program": values.get("program", ""),
        "version": values.get("version", "").strip(),
        "uid": int(values["uid"]) if values.get("uid", "").isdigit() else None,
        "gid": int(values["gid"]) if values.get("gid", "").isdigit() else None,
        "exists": values.get("exists") == "yes",
        "writable": values.get("writable") == "yes",
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
    warnings = []
    major = hub_version.split(".")[0]
    if not result["version"]:
        warnings.append(f"image {name}: the version of its JupyterHub could not be read; it should be {major}.x")
    elif result["version"].split(".")[0] != major:
        warnings.append(
            f"image {name} has JupyterHub {result['version']}, the hub has {hub_version}: another major version; "
            "servers may not start or not be reachable; use an image of the hub's major version"
        )
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


def run(client: Any, name: str, image_id: str, notebook_dir: str) -> dict[str, Any]:
    """Run the test in a container without network and capabilities, and return its result.

    :raises DeployError: the image cannot be run.
    """
    container = ""
    try:
        container = client.create_container(
            image_id,
            entrypoint=["sh", "-c", SCRIPT, "sh", notebook_dir],
            command=[],
            network_disabled=True,
            labels={"org.jupyterhub.deploy.purpose": "smoke-test"},
            host_config=client.create_host_config(
                cap_drop=["ALL"], security_opt=["no-new-privileges"], network_mode="none"
            ),
        )["Id"]
        client.start(container)
        client.wait(container, timeout=TIMEOUT)
        return parse_output(client.logs(container, stdout=True, stderr=False).decode(errors="replace"))
    except (docker_errors.APIError, OSError) as error:
        text = getattr(error, "explanation", None) or error
        raise DeployError(
            f"image {name} could not be tested: {text}; it needs sh and the host's processor architecture"
        ) from error
    finally:
        if container:
            client.remove_container(container, force=True, v=True)


def key(image_id: str, notebook_dir: str) -> str:
    """Return the key of a stored result, which is valid for one image and one folder."""
    return f"{image_id} {notebook_dir}"


def load(path: str) -> dict[str, Any]:
    """Return the stored results; empty when the file is missing or invalid."""
    try:
        found = json.loads(files.read_text(path) or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save(path: str, results: dict[str, Any]) -> None:
    """Write the results."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    files.write_atomically(path, json.dumps(results, indent=1, sort_keys=True), 0o644)
