#!/usr/bin/python
"""Ansible module: inspect a host before a hub is provisioned on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_host_info
short_description: Inspect a host before a hub is provisioned on it
description:
  - Changes nothing. Works with and without Docker.
  - Sets the facts C(distribution), C(distribution_release), C(distribution_version) and
    C(distribution_major_version), so that no other task has to gather them.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  bind_address:
    description: Address on which the ports are opened.
    type: str
    required: true
  subdomains_of:
    description: URL of a hub whose users have host names below its own, which have to resolve. Empty without a check.
    type: str
    default: ""
  settings:
    description: Settings by their names, of which this host or another module may not accept the values.
    type: dict
    required: true
  front:
    description: How users reach the hub.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the front's container, which may use the ports.
        type: str
        required: true
      directory:
        description: Directory of the front.
        type: path
        required: true
      https:
        description: See M(jupyterhub_front).
        type: str
        required: true
      domain:
        description: Host name of the hub in the users' browsers.
        type: str
        default: ""
      subdomains:
        description: Whether each user has a host name below O(front.domain).
        type: bool
        default: false
      http_port:
        description: Port for HTTP. Without HTTPS, the hub's, which its own proxy may have.
        type: int
        required: true
      https_port:
        description: Port for HTTPS.
        type: int
        required: true
      certificate:
        description: The operator's certificate, a path on the host or PEM text.
        type: str
        default: ""
      key:
        description: The key of O(front.certificate).
        type: str
        default: ""
      acme:
        description: The option O(acme) of M(jupyterhub_front).
        type: dict
        default: {}
      ca_bundle:
        description: File with more certificate authorities that the users' browsers trust.
        type: str
        default: ""
      plain_sign_up:
        description: Whether everybody can sign up, and the operator has not accepted that passwords are sent
          unencrypted.
        type: bool
        default: false
  docker:
    description: What Docker should be like, as for M(docker_engine_info). One call of a module is faster than two.
    type: dict
    required: true
    suboptions:
      minimum_version:
        description: The oldest accepted version.
        type: str
        required: true
      defaults:
        description: Options of C(daemon.json) for a Docker that this project installed.
        type: dict
        default: {}
      options:
        description: Options of C(daemon.json) that the operator sets.
        type: dict
        default: {}
      package_source:
        description: V(distribution) if the distribution's packages are installed when the host has no Docker.
        type: str
        default: ""
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Inspect the host
  jupyterhub_host_info:
    name: jupyterhub
    bind_address: 0.0.0.0
    settings: {jupyterhub_backup_schedule: "02:30"}
    front: {name: jupyterhub-front, directory: /etc/jupyterhub-front, https: none, http_port: 8000, https_port: 443}
    docker: {minimum_version: "20.10"}
  register: __host
"""

RETURN = r"""
setting_problems:
  description: What is wrong with the settings, one message for each.
  type: list
  elements: str
  returned: always
certificate_warnings:
  description: What browsers may complain about in the operator's own certificate, which does not stop a run. These are
    also among the warnings of the module.
  type: list
  elements: str
  returned: always
disk_path:
  description: Docker's directory of images and volumes, or the nearest existing parent. With containerd's image store,
    containerd's directory if less is free there.
  type: str
  returned: always
  sample: /var/lib/docker
disk_free_bytes:
  description: Free bytes in that file system.
  type: int
  returned: always
  sample: 53687091200
data_problem:
  description: Why the hub cannot write its database, with what to do; null when it can.
  type: str
  returned: always
name_problems:
  description: Containers, networks and volumes that have the hub's names and do not belong to it, a message for each.
  type: list
  elements: str
  returned: always
backup_schedule:
  description: Whether a backup schedule for this hub is installed on the host.
  type: bool
  returned: always
hub_exists:
  description: Whether the hub's container exists.
  type: bool
  returned: always
docker_installed:
  description: Whether Docker answers or is at least installed.
  type: bool
  returned: always
docker_ready:
  description:
    - Whether Docker runs as wanted. Then M(docker_engine_info) would report no change, no warning and no error.
  type: bool
  returned: always
deployment:
  description: The version of this project that provisioned the hub last, and a newer one that the operator has
    acknowledged. Empty when not recorded.
  type: dict
  returned: always
  sample: {"version": "0.2.0", "acknowledged": ""}
"""

import os
import re
import socket
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import encryption
from ansible.module_utils.jupyterhub_deploy.copy import rsync
from ansible.module_utils.jupyterhub_deploy.docker import client as docker_client
from ansible.module_utils.jupyterhub_deploy.docker import (
    daemon_api,
    daemon_control,
    daemon_info,
    daemon_plan,
    ownership,
)
from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.daemon_data import DATA_ROOT
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.front import acme, preflight
from ansible.module_utils.jupyterhub_deploy.front.preflight import FrontSettings
from ansible.module_utils.jupyterhub_deploy.hub import deployment, host, reachability
from ansible.module_utils.jupyterhub_deploy.images import apt_sources, build, reference
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.schedule import times

UNOWNED = "no label says whose these volumes are, so no user gets them: {volumes}; see docs/how-to/volume-owner.md"
CONTAINERD_CONFIG, CONTAINERD_ROOT = "/etc/containerd/config.toml", "/var/lib/containerd"  # its defaults


# Each raises the error with which a later module would stop. An empty setting is not checked.
CHECKS: dict[str, Callable[[Any], object]] = {
    "jupyterhub_notebook_image": reference.parse,
    "jupyterhub_notebook_images": lambda images: [reference.parse(image) for image in images],
    "jupyterhub_hub_image": reference.parse,
    "jupyterhub_images_hub": reference.parse,
    "jupyterhub_images_proxy": reference.parse,
    "jupyterhub_images_front_image": reference.parse,
    "jupyterhub_images_base": reference.parse,
    "jupyterhub_images_repository": lambda name: reference.parse(f"{name}/hub"),
    # The system's file is installed with Docker.
    "jupyterhub_images_ca_bundle": lambda path: path == preflight.SYSTEM_CA_BUNDLE or build.read_certificates(path),
    "jupyterhub_backup_schedule": times.check,
    "jupyterhub_backup_recipients": encryption.recipients,
    "jupyterhub_backup_push_to": rsync.Target.of,
    "jupyterhub_backup_push_host_key": rsync.known_hosts_line,
}


def setting_problems(settings: dict[str, Any]) -> list[str]:
    """Return a message for each setting that a later module would not accept."""
    problems = []
    for name, value in settings.items():
        # An empty key is missing if there is a machine to push to.
        if value or (name == "jupyterhub_backup_push_host_key" and settings["jupyterhub_backup_push_to"]):
            try:
                CHECKS[name](value)
            except DeployError as error:
                problems.append(str(error) if str(error).startswith(name) else f"{name}: {error}")
    return problems


def base_problems(settings: dict[str, Any], suite: str) -> list[str]:
    """Return why a host without Docker cannot build the base image. Later, the module ``jupyterhub_image`` says so.

    :param suite: the code name of the distribution.
    """
    hub = settings["jupyterhub_images_hub"] or settings["jupyterhub_hub_image"]
    given = [hub, settings["jupyterhub_images_proxy"], settings["jupyterhub_images_front_image"]]
    problem = apt_sources.local_only(apt_sources.index_targets(), suite)
    return [problem] if problem and not settings["jupyterhub_images_base"] and not all(given) else []


def address_problems(address: str) -> list[str]:
    """Return a message when this host does not have an address."""
    try:
        with socket.socket() as listener:
            listener.bind((address, 0))
    except OSError as error:
        return [
            f"jupyterhub_bind_address is {address}, which this host cannot use ({error.strerror}); use an address that "
            "`ip address` shows on the host, or 0.0.0.0 for all of them"
        ]
    return []


def data_problem(name: str, volumes: list[dict[str, Any]]) -> str | None:
    """Return a message if the hub cannot write to its data volume, ``None`` if it can or has none."""
    paths = (volume["Mountpoint"] for volume in volumes if volume["Name"] == f"{name}-data")
    return next((host.data_problem(name, path) for path in paths), None)


def docker_ready(wanted: dict[str, Any]) -> bool:
    """Return whether Docker runs as wanted. If not, the role ``docker``, which may be skipped, reports why."""
    try:
        _, _, plan = daemon_control.plan_changes(wanted)
    except DeployError:
        return False
    return not (plan.steps or plan.warnings)


def package_problems(wanted: dict[str, Any], facts: dict[str, str]) -> list[str]:
    """Return why the Docker that would be installed cannot work as wanted, where its version is known before."""
    distribution = f"{facts['ansible_distribution']} {facts['ansible_distribution_major_version']}"
    version = daemon_plan.PACKAGED.get(distribution)
    ignored = list(daemon_plan.misplaced(wanted["options"]))
    if not version or wanted["package_source"] != "distribution":
        return ignored
    options = [name for name, value in wanted["options"].items() if value is not None]
    return [
        *ignored,
        *daemon_plan.too_old(version, wanted["minimum_version"]),
        *(
            f"{problem}; or set docker_package_source: docker"
            for problem in daemon_plan.too_new(options, version, distribution)
        ),
    ]


def disk(info: dict[str, Any]) -> str:
    """Return the directory, or its nearest parent, in whose file system images need space.

    :param info: Docker's answer to ``/info``; empty when it does not run.
    """
    paths = [info.get("DockerRootDir") or DATA_ROOT]
    if info and daemon_info.data_of(info, daemon_api.SOCKET)["containerd_images"]:
        root = re.search(r"^root *= *[\"'](.+)[\"']", read_text(CONTAINERD_CONFIG) or "", re.MULTILINE)
        paths.append(root[1] if root else CONTAINERD_ROOT)
    return min(map(host.nearest_existing, paths), key=host.free_bytes)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Return the values that preflight checks, and the facts about the distribution."""
    name = module.params["name"]
    # Without the SDK, which may not be installed yet.
    info = daemon_api.get("/info") or {}
    if info and (docker_client.docker or docker_client.SDK_FAULT):
        docker_client.connect_or_none()  # a broken SDK would stop a later module
    listed = (daemon_api.get("/containers/json?all=1") or []) if info else None
    containers = listed or []
    networks = (daemon_api.get("/networks") or []) if info else []
    volumes = ((daemon_api.get("/volumes") or {}).get("Volumes") or []) if info else []
    unowned = ownership.without_owner(volumes, name)
    front = FrontSettings(**module.params["front"], bind_address=module.params["bind_address"])
    certificate = preflight.certificate_problems(front, name)
    hub_exists = name in map(name_of, containers)
    firewall = preflight.firewall_problems(front, name, hub_exists, reachability.read_rules())
    unresolved, dns_warnings = host.wildcard_problems(module.params["subdomains_of"], hub_exists)
    path = disk(info)
    docker_installed = bool(info or daemon_info.find_dockerd())
    facts = host.distribution()
    return {
        "setting_problems": setting_problems(module.params["settings"])
        + address_problems(module.params["bind_address"])
        + preflight.directory_problems(front)
        + preflight.port_problems(front, name, listed)
        + preflight.conflicts(front, name)
        + preflight.plain_problems(front)
        + preflight.ca_bundle_problems(front)
        + certificate.faults
        + firewall.faults
        + unresolved
        + ([] if docker_installed else package_problems(module.params["docker"], facts))
        + ([] if docker_installed else base_problems(module.params["settings"], facts["ansible_distribution_release"])),
        "data_problem": data_problem(name, volumes),
        "name_problems": ownership.problems(containers, networks, volumes, name),
        "warnings": ([UNOWNED.format(volumes=", ".join(unowned))] if unowned else [])
        + certificate.warnings
        + firewall.warnings
        + dns_warnings,
        "certificate_warnings": certificate.warnings if front.https == "own" else [],
        "disk_path": path,
        "disk_free_bytes": host.free_bytes(path),
        "backup_schedule": os.path.exists(host.backup_settings(name)),
        "docker_installed": docker_installed,
        "docker_ready": docker_ready(module.params["docker"]),
        "hub_exists": hub_exists,
        "deployment": deployment.read(name),
        "ansible_facts": facts,
    }


FRONT = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "https": {"type": "str", "required": True},
    "domain": {"type": "str", "default": ""},
    "subdomains": {"type": "bool", "default": False},
    "http_port": {"type": "int", "required": True},
    "https_port": {"type": "int", "required": True},
    "certificate": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": True},
    "acme": {"type": "dict", "default": {}, "options": acme.OPTIONS},
    "ca_bundle": {"type": "str", "default": ""},
    "plain_sign_up": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    docker = {
        **daemon_control.OPTIONS,
        "minimum_version": {"type": "str", "required": True},
        "package_source": {"type": "str", "default": ""},
    }
    run_module(
        {
            "name": {"type": "str", "required": True},
            "bind_address": {"type": "str", "required": True},
            "subdomains_of": {"type": "str", "default": ""},
            "settings": {"type": "dict", "required": True},
            "front": {"type": "dict", "required": True, "options": FRONT},
            "docker": {"type": "dict", "required": True, "options": docker},
        },
        run,
        doing="inspecting the host",
    )


if __name__ == "__main__":
    main()
