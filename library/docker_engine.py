#!/usr/bin/python
"""Ansible module: configure and start Docker on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: Configure and start Docker on a host
description:
  - Merges C(daemon.json), keeps a backup, and starts, reloads or restarts Docker, with as little interruption as the
    change allows. Waits until Docker answers.
  - Docker 23.0 and newer validates the new C(daemon.json) before anything is changed, also in check mode. An older
    Docker reloads it before a restart, and refuses a wrong option while its containers keep running.
  - Uses systemd. Where it does not run, starts dockerd directly, with its log in
    C(/var/log/dockerd.log).
  - If Docker refuses or does not start with a changed C(daemon.json), restores the old file before the module fails.
  - Records its own options, and what an interrupted run left to be done, in
    C(/etc/jupyterhub-deploy/docker-engine.json).
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
  timeout:
    description: Seconds to wait for Docker after a start.
    type: int
    default: 120
attributes:
  check_mode:
    description: Shows what would be done.
    support: full
  diff_mode:
    description: Shows C(daemon.json) before and after, without the passwords of URLs.
    support: full
"""

EXAMPLES = r"""
- name: Configure and start Docker
  docker_engine:
    defaults:
      live-restore: true
    options:
      registry-mirrors: [https://mirror.example.com]
"""

RETURN = r"""
steps:
  description: The actions that were done, or in check mode would be done, as messages.
  type: list
  elements: str
  returned: always
  sample: [write live-restore to /etc/docker/daemon.json, reload Docker]
backup_file:
  description: The old C(daemon.json), when it existed and was changed.
  type: str
  returned: changed
engine:
  description: The state of Docker afterwards, as M(docker_engine_info) returns it.
  type: dict
  returned: always
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker import daemon_control, daemon_info, daemon_json, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module


def require(seen: dict[str, Any], plan: daemon_plan.Plan, minimum_version: str) -> None:
    """Assert that the packages on the host are usable.

    :raises DeployError: Docker is missing or too old, this Python does not find the docker SDK, or options have to
        change of a Docker that stores them elsewhere.
    """
    if not seen["installed"] and not seen["running"]:
        raise DeployError("dockerd is not installed on this host; run the whole role docker, which installs it")
    newest = seen["installed_version"] or seen["version"]
    for problem in daemon_plan.too_old(newest, minimum_version):
        raise DeployError(problem)
    if not seen["sdk"]["importable"]:
        raise DeployError(
            f"python3-docker is installed, but {seen['sdk']['python']} does not find it; set "
            "ansible_python_interpreter: /usr/bin/python3 for this host"
        )
    if plan.write and seen["running"] and not (seen["installed"] and seen["pid"]):
        raise DeployError(
            "Docker runs on this host, but not from a package of the host's system, and does not read "
            f"{seen['config']['path']}; configure it the way it was installed, and leave docker_daemon_options, "
            "docker_registry_mirrors and docker_insecure_registries empty"
        )


def apply(module: AnsibleModule, seen: dict[str, Any], record: daemon_plan.Record, plan: daemon_plan.Plan) -> str:
    """Run a plan; return the path of the backup of ``daemon.json``, or an empty string.

    :raises DeployError: Docker does not start. Then the old ``daemon.json`` is restored.
    """
    path, backup = seen["config"]["path"], ""
    if plan.write:
        backup = module.backup_local(path) if seen["config"]["exists"] else ""
        # The pending action is recorded first: the next run completes a run that is interrupted here.
        pending = plan.action if plan.action in ("reload", "restart") else ""
        daemon_control.write_record(daemon_plan.Record(record.managed, plan.applied, pending))
        try:
            daemon_control.write_config(path, daemon_json.render(plan.options))
        except OSError:
            daemon_control.write_record(record)  # or options that are in the file would count as somebody else's
            raise
    if plan.enable:
        daemon_control.enable()
    try:
        # Without a service manager, a dockerd that somebody started by hand keeps its arguments.
        daemon_control.apply_action(plan.action, seen, plan.options, module.params["timeout"], seen["arguments"])
    except DeployError as error:
        if not plan.write:
            raise
        advice = daemon_json.advice("", plan.options, plan.applied, path)
        raise DeployError(f"{error}\n{roll_back(module, seen, record, plan, backup)} {advice}") from error
    if plan.write or record.pending:
        daemon_control.write_record(daemon_plan.Record(record.managed, plan.applied, ""))
    return backup


def roll_back(
    module: AnsibleModule, seen: dict[str, Any], record: daemon_plan.Record, plan: daemon_plan.Plan, backup: str
) -> str:
    """Restore the old ``daemon.json`` and start Docker with it; return the result as a message."""
    path = seen["config"]["path"]
    if backup:
        with open(backup, encoding="utf-8") as file:
            daemon_control.write_config(path, file.read())
    else:
        os.unlink(path)
    daemon_control.write_record(record)
    if not seen["running"]:
        return f"{path} is as it was before."
    try:
        now = daemon_info.observe(module.params["minimum_version"])
        # After a failed reload, the same dockerd is still running, and a reload does not interrupt its containers.
        reloaded = now["running"] and now["pid"] == seen["pid"]
        action = "reload" if reloaded else plan.action if now["running"] else "start"
        daemon_control.apply_action(action, now, seen["config"]["options"], module.params["timeout"], seen["arguments"])
    except DeployError as error:
        return f"{path} is as it was before, but Docker does not start with it either: {error}"
    return f"{path} is as it was before, and Docker is running with it again."


def run(module: AnsibleModule) -> dict[str, Any]:
    """Inspect, plan and, unless in check mode, apply; return the result."""
    params = module.params
    seen, record, plan = daemon_control.plan_changes(params)
    after, backup = (seen, record, plan), ""
    if not module.check_mode:
        require(seen, plan, params["minimum_version"])
        if plan.configures:
            backup = apply(module, seen, record, plan)
            after = daemon_control.plan_changes(params)
    result: dict[str, Any] = {
        "changed": plan.configures,
        "steps": plan.steps,
        "engine": daemon_plan.report(*after),
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
    run_module({**daemon_control.OPTIONS, "timeout": {"type": "int", "default": 120}}, run, "configuring Docker")


if __name__ == "__main__":
    main()
