#!/usr/bin/python
"""Ansible module: what there is of a Docker engine on a host, and what should be done about it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine_info
short_description: Observe the Docker engine of a host and plan what it needs
description:
  - Reads only. Works with and without an engine, and needs nothing but Python on the host.
  - An engine that somebody else installed and that is recent enough needs nothing, unless I(options) name something
    that its C(daemon.json) does not have.
options:
  minimum_version:
    description: The oldest version that is left alone.
    type: str
    default: "20.10"
  defaults:
    description: Options of C(daemon.json) for an engine that this project installed. Options of anybody else go first.
    type: dict
    default: {}
  options:
    description: Options of C(daemon.json) that the operator wants; null takes one out.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Look at the engine
  docker_engine_info:
    minimum_version: "20.10"
  register: docker_engine

- name: Tell what is missing
  ansible.builtin.debug:
    var: docker_engine.plan.steps
"""

RETURN = r"""
installed:
  description: Whether there is a C(dockerd) program.
  type: bool
  returned: always
dockerd:
  description: Where that program is; empty when there is none.
  type: str
  returned: always
running:
  description: Whether an engine answers on C(/var/run/docker.sock).
  type: bool
  returned: always
version:
  description: Version of the running engine, else of the installed program, else empty.
  type: str
  returned: always
  sample: 26.1.5+dfsg1
installed_version:
  description: Version of the installed program. Looked up only where no engine runs, or one that is too old.
  type: str
  returned: always
api_version:
  description: Newest API version of the running engine.
  type: str
  returned: always
  sample: "1.45"
pid:
  description: Process id of the engine, by its pid file; null when it does not run.
  type: int
  returned: always
arguments:
  description: What dockerd was started with, or would be by systemd.
  type: list
  elements: str
  returned: always
root_dir:
  description: Where the running engine keeps images and volumes.
  type: str
  returned: always
  sample: /var/lib/docker
storage_driver:
  description: How the running engine stores images.
  type: str
  returned: always
  sample: overlay2
live_restore:
  description: Whether containers of the running engine outlive its restart.
  type: bool
  returned: always
containers_running:
  description: How many containers run.
  type: int
  returned: always
service_manager:
  description:
    - Who can start the engine on this host. C(none) also where there is an init script which cannot work for want of
      CAP_SYS_RESOURCE.
  type: str
  returned: always
  sample: systemd
enabled:
  description: Whether systemd starts the engine at boot.
  type: bool
  returned: always
config:
  description:
    - C(path) of C(daemon.json), whether it C(exists), the names of its C(options), and the C(error) of reading it.
  type: dict
  returned: always
sdk:
  description:
    - Whether this Python can import the docker SDK (C(importable)), its C(version), and which C(python) that is.
  type: dict
  returned: always
record:
  description: What an earlier run remembered, C(managed), names of C(applied) options, and C(pending).
  type: dict
  returned: always
plan:
  description:
    - What should be done, C(install), C(install_sdk), C(settle) (call M(docker_engine)), C(steps) in words, and
      C(warnings).
  type: dict
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info, daemon_plan
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Return the observation with the plan, as documented above."""
    params = module.params
    seen = daemon_info.observe(params["minimum_version"])
    record = daemon_info.read_record(daemon_info.RECORD_FILE)
    plan = daemon_plan.make_plan(
        seen,
        record,
        minimum_version=params["minimum_version"],
        defaults=params["defaults"],
        wanted=params["options"],
    )
    return {**daemon_plan.report(seen, record, plan), "warnings": plan.warnings}


def main() -> None:
    """Entry point."""
    spec = {
        "minimum_version": {"type": "str", "default": "20.10"},
        "defaults": {"type": "dict", "default": {}},
        "options": {"type": "dict", "default": {}},
    }
    run_module(spec, run, "inspecting Docker")


if __name__ == "__main__":
    main()
