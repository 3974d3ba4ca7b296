"""Proving that an image can be a user's notebook server, before the hub is told of it."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Seconds that a container with nothing to do gets to say what is in it; a busy machine needs ten.
TIMEOUT = 120

# Run by the image's own sh as its own default user. The version comes from the metadata that pip and conda leave, found
# by the interpreter that jupyterhub-singleuser itself names: 0.1 s, where asking the program costs a start of Jupyter.
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


def read(output: str) -> dict[str, Any]:
    """Turn the output of :data:`SCRIPT` into a proof: program, version, uid, gid, exists, writable."""
    said = dict(line.partition("=")[::2] for line in output.splitlines() if "=" in line)
    return {
        "program": said.get("program", ""),
        "version": said.get("version", "").strip(),
        "uid": int(said["uid"]) if said.get("uid", "").isdigit() else None,
        "gid": int(said["gid"]) if said.get("gid", "").isdigit() else None,
        "exists": said.get("exists") == "yes",
        "writable": said.get("writable") == "yes",
    }


def judge(name: str, proof: dict[str, Any], hub_version: str, notebook_dir: str) -> list[str]:
    """Return warnings about an image.

    :param hub_version: JupyterHub's version in the hub.
    :raises DeployError: when no server could start from it.
    """
    if not proof["program"]:
        raise DeployError(
            f"image {name} has no jupyterhub-singleuser, so no server could start from it and the hub was left as it "
            f"was; add `pip install jupyterhub=={hub_version}` to the image, or choose one of the Jupyter Docker Stacks"
        )
    warnings = []
    major = hub_version.split(".")[0]
    if not proof["version"]:
        warnings.append(f"image {name}: the version of its JupyterHub could not be told; it should be {major}.x")
    elif proof["version"].split(".")[0] != major:
        warnings.append(
            f"image {name} has JupyterHub {proof['version']}, the hub has {hub_version}: another major version; "
            "servers may not start or not be reachable, so use an image of the hub's major version"
        )
    if proof["uid"] == 0:
        warnings.append(f"image {name} runs as root; give it a USER of its own")
    if not proof["exists"]:
        warnings.append(
            f"image {name} has no folder {notebook_dir}: a user's volume there would belong to root and could not be "
            "written; create the folder in the image, owned by the image's user, or set jupyterhub_notebook_dir"
        )
    elif not proof["writable"]:
        warnings.append(
            f"image {name}: its user {proof['uid']}:{proof['gid']} may not write to {notebook_dir}; "
            "change the folder's owner in the image, or set jupyterhub_notebook_dir"
        )
    return warnings


def run(client: Any, name: str, image_id: str, notebook_dir: str) -> dict[str, Any]:
    """Start a container of the image, without network and rights, and return its proof.

    :raises DeployError: when the image cannot be run at all.
    """
    container = ""
    try:
        container = client.create_container(
            image_id,
            entrypoint=["sh", "-c", SCRIPT, "sh", notebook_dir],
            command=[],
            network_disabled=True,
            labels={"org.jupyterhub.deploy.purpose": "proof"},
            host_config=client.create_host_config(
                cap_drop=["ALL"], security_opt=["no-new-privileges"], network_mode="none"
            ),
        )["Id"]
        client.start(container)
        client.wait(container, timeout=TIMEOUT)
        return read(client.logs(container, stdout=True, stderr=False).decode(errors="replace"))
    except (docker_errors.APIError, OSError) as error:
        text = getattr(error, "explanation", None) or error
        raise DeployError(
            f"image {name} could not be tried: {text}; it needs sh and the host's processor architecture"
        ) from error
    finally:
        if container:
            client.remove_container(container, force=True, v=True)


def key(image_id: str, notebook_dir: str) -> str:
    """Return what a proof is remembered under: it holds for this content and this folder."""
    return f"{image_id} {notebook_dir}"


def load(path: str) -> dict[str, Any]:
    """Return the remembered proofs; none when the file is missing or not ours to understand."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save(path: str, proofs: dict[str, Any]) -> None:
    """Write the proofs, all at once: a reader sees the old file or the new one."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(proofs, file, indent=1, sort_keys=True)
    os.replace(path + ".new", path)
