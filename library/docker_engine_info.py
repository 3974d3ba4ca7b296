#!/usr/bin/python
"""Ansible module: inspect Docker on a host, and plan the changes that it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine_info
short_description: Inspect Docker on a host and plan the changes that it needs
description:
  - Changes nothing. Works with and without Docker, and only needs Python on the host.
  - Fails when Docker refuses the options that would be written (Docker 23.0 and newer).
  - A Docker that somebody else installed and that is recent enough needs no change, unless its C(daemon.json) differs
    from I(options).
options:
  minimum_version:
    description: The oldest accepted version.
    type: str
    default: "20.10"
  defaults:
    description: Options of C(daemon.json) for a Docker that this project installed. All other options have precedence.
    type: dict
    default: {}
  options:
    description: Options of C(daemon.json) that the operator sets; null removes one.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Inspect Docker
  docker_engine_info:
    minimum_version: "20.10"
  register: docker_engine

- name: Show what is missing
  ansible.builtin.debug:
    var: docker_engine.plan.steps
"""

RETURN = r"""
interrupted:
  description: Whether the installation of Docker was interrupted. Then it counts as not installed.
  returned: always
  type: bool
  sample: false
installed:
  description: Whether C(dockerd) is installed.
  type: bool
  returned: always
dockerd:
  description: The path of C(dockerd); empty when it is not installed.
  type: str
  returned: always
running:
  description: Whether Docker answers on C(/var/run/docker.sock).
  type: bool
  returned: always
version:
  description: Version of the running Docker, else of the installed one, else empty.
  type: str
  returned: always
  sample: 26.1.5+dfsg1
installed_version:
  description: Version of the installed Docker. Read only when Docker is not running or too old, else empty.
  type: str
  returned: always
api_version:
  description: Newest API version of the running Docker.
  type: str
  returned: always
  sample: "1.45"
pid:
  description: Process id of dockerd, from its pid file; null when it is not running.
  type: int
  returned: always
arguments:
  description: The arguments of dockerd, or those in its systemd unit.
  type: list
  elements: str
  returned: always
root_dir:
  description: The directory of images and volumes of the running Docker.
  type: str
  returned: always
  sample: /var/lib/docker
objects:
  description: How many containers, images and volumes Docker has; a stopped Docker, by its directory.
  type: dict
  returned: always
  sample: {"containers": 3, "images": 5}
containerd_images:
  description: Whether images are in containerd's store (C(containerd-snapshotter)).
  type: bool
  returned: always
storage_driver:
  description: The storage driver of the running Docker.
  type: str
  returned: always
  sample: overlay2
live_restore:
  description: Whether containers keep running while Docker restarts.
  type: bool
  returned: always
containers_running:
  description: Number of running containers.
  type: int
  returned: always
service_manager:
  description:
    - The service manager that can start Docker on this host, V(systemd) or V(none).
  type: str
  returned: always
  sample: systemd
enabled:
  description: Whether systemd starts Docker at boot.
  type: bool
  returned: always
config:
  description:
    - C(path) of C(daemon.json), whether it C(exists), the names of its C(options), and the C(error) when it is invalid.
  type: dict
  returned: always
sdk:
  description:
    - Whether this Python can import the docker SDK (C(importable)), its C(version), and the path of this C(python).
  type: dict
  returned: always
record:
  description: The record of earlier runs, C(managed), names of C(applied) options, and C(pending).
  type: dict
  returned: always
plan:
  description:
    - The actions to do, C(install), C(install_sdk), C(configure) (call M(docker_engine)), the C(steps) as messages,
      and C(warnings).
  type: dict
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker import daemon_control, daemon_plan
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Return the state and the plan, as documented above."""
    seen, record, plan = daemon_control.plan_changes(module.params)
    return {**daemon_plan.report(seen, record, plan), "warnings": plan.warnings}


def main() -> None:
    """Entry point."""
    run_module(daemon_control.OPTIONS, run, "inspecting Docker")


if __name__ == "__main__":
    main()
