#!/usr/bin/python
"""Ansible module: configure the Docker engine of a host and have it run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: Configure the Docker engine of a host and have it run
description:
  - Merges C(daemon.json), has the engine's program check it, keeps a backup, and starts, reloads or restarts the
    engine, whichever is the least that the change needs. Done when the engine answers.
  - Uses systemd or the init script; where neither can work, starts dockerd itself, with its log in
    C(/var/log/dockerd.log).
  - An engine that does not come up with a changed C(daemon.json) gets the former one back before the module fails.
  - Remembers in C(/etc/jupyterhub-deploy/docker-engine.json) which options are its own, and what an interrupted run
    left to be done.
options:
  minimum_version:
    description: The oldest version that is good enough.
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
  timeout:
    description: Seconds that the engine may take to answer after a start.
    type: int
    default: 120
attributes:
  check_mode:
    description: Tells what would be done.
    support: full
  diff_mode:
    description: Shows C(daemon.json) before and after, without the passwords of URLs.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Configure and run the engine
  docker_engine:
    defaults:
      live-restore: true
    options:
      registry-mirrors: [https://mirror.example.com]
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be, in words.
  type: list
  elements: str
  returned: always
  sample: [write live-restore to /etc/docker/daemon.json, reload the engine]
backup_file:
  description: The former C(daemon.json), when there was one and it was changed.
  type: str
  returned: changed
engine:
  description: The engine afterwards, as M(docker_engine_info) returns it.
  type: dict
  returned: always
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker import daemon_control, daemon_info, daemon_json, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module

CONFIG_MODE = 0o644  # what Docker's documentation and packages use


def require(seen: dict[str, Any], plan: daemon_plan.Plan, minimum_version: str) -> None:
    """Refuse a host that is not as the role's packages leave it.

    :raises DeployError: when there is no engine, it is too old, this Python does not find the docker SDK, or options
        are to be changed of an engine that keeps them elsewhere.
    """
    if not seen["installed"] and not seen["running"]:
        raise DeployError("there is no dockerd on this host; run the whole role docker, which installs it")
    newest = seen["installed_version"] or seen["version"]
    if not daemon_plan.is_recent(newest, minimum_version):
        raise DeployError(
            f"Docker {newest} is the newest that the host's packages give, but docker_minimum_version is "
            f"{minimum_version}; lower it, or take the engine from Docker's repository (docker_package_source: docker)"
        )
    if not seen["sdk"]["importable"]:
        raise DeployError(
            f"python3-docker is installed, but {seen['sdk']['python']} does not find it; set "
            "ansible_python_interpreter: /usr/bin/python3 for this host"
        )
    if plan.write and seen["running"] and not (seen["installed"] and seen["pid"]):
        raise DeployError(
            "the engine of this host is no ordinary installation (a snap, perhaps) and does not read "
            f"{seen['config']['path']}; set its options its own way and leave docker_daemon_options, "
            "docker_registry_mirrors and docker_insecure_registries empty"
        )


def apply(module: AnsibleModule, seen: dict[str, Any], record: daemon_plan.Record, plan: daemon_plan.Plan) -> str:
    """Carry out a plan; return where the backup of ``daemon.json`` is, or an empty text.

    :raises DeployError: when the engine does not come up. Then the former ``daemon.json`` is back.
    """
    path, backup = seen["config"]["path"], ""
    if plan.write:
        daemon_control.validate(seen["dockerd"], seen["installed_version"] or seen["version"], plan.options)
        backup = module.backup_local(path) if seen["config"]["exists"] else ""
        # What is pending is remembered first: a run that is cut off here is taken up by the next one.
        pending = plan.action if plan.action in ("reload", "restart") else ""
        daemon_control.write_record(daemon_plan.Record(record.managed, plan.applied, pending))
        daemon_control.write(path, daemon_json.render(plan.options), CONFIG_MODE)
    if plan.enable:
        daemon_control.enable()
    try:
        # Where there is no service manager, an engine that somebody started by hand keeps the arguments it had.
        daemon_control.settle(plan.action, seen, plan.options, module.params["timeout"], seen["arguments"])
    except DeployError as error:
        if not plan.write:
            raise
        raise DeployError(f"{error}\n{take_back(module, seen, record, plan, backup)}") from error
    if plan.write or record.pending:
        daemon_control.write_record(daemon_plan.Record(record.managed, plan.applied, ""))
    return backup


def take_back(
    module: AnsibleModule, seen: dict[str, Any], record: daemon_plan.Record, plan: daemon_plan.Plan, backup: str
) -> str:
    """Put the former ``daemon.json`` back and the engine with it; return what came of it, in words."""
    path = seen["config"]["path"]
    if backup:
        with open(backup, encoding="utf-8") as file:
            daemon_control.write(path, file.read(), CONFIG_MODE)
    else:
        os.unlink(path)
    daemon_control.write_record(record)
    if not seen["running"]:
        return f"{path} is as it was before."
    try:
        now = daemon_info.observe(module.params["minimum_version"])
        # An engine that only disliked a reload went on all the time: its containers are to notice nothing.
        action = plan.action if now["running"] else "start"
        daemon_control.settle(action, now, seen["config"]["options"], module.params["timeout"], seen["arguments"])
    except DeployError as error:
        return f"{path} is as it was before, but the engine does not come up with that either: {error}"
    return f"{path} is as it was before, and the engine runs with it again."


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params = module.params

    def observe() -> tuple[dict[str, Any], daemon_plan.Record, daemon_plan.Plan]:
        seen = daemon_info.observe(params["minimum_version"])
        record = daemon_info.read_record(daemon_info.RECORD_FILE)
        plan = daemon_plan.make_plan(
            seen,
            record,
            minimum_version=params["minimum_version"],
            defaults=params["defaults"],
            wanted=params["options"],
        )
        return seen, record, plan

    seen, record, plan = observe()
    backup = ""
    if not module.check_mode:
        require(seen, plan, params["minimum_version"])
        if plan.settles:
            backup = apply(module, seen, record, plan)
    after_seen, after_record, after_plan = observe() if plan.settles else (seen, record, plan)
    result: dict[str, Any] = {
        "changed": plan.settles,
        "steps": plan.steps,
        "engine": daemon_plan.report(after_seen, after_record, after_plan),
        "warnings": plan.warnings,
    }
    if backup:
        result["backup_file"] = backup
    if plan.write:
        result["diff"] = {
            "before_header": seen["config"]["path"],
            "after_header": seen["config"]["path"],
            "before": daemon_json.show(seen["config"]["options"]) if seen["config"]["exists"] else "",
            "after": daemon_json.show(plan.options),
        }
    return result


def main() -> None:
    """Entry point."""
    spec = {
        "minimum_version": {"type": "str", "default": "20.10"},
        "defaults": {"type": "dict", "default": {}},
        "options": {"type": "dict", "default": {}},
        "timeout": {"type": "int", "default": 120},
    }
    run_module(spec, run, "configuring Docker")


if __name__ == "__main__":
    main()
