#!/usr/bin/python
"""Ansible module: rehearse many users at once on a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_rehearsal
short_description: Start real servers for temporary users, report, and remove them
description:
  - Creates users C(rehearsal-1), C(rehearsal-2) and so on, starts a server for each, measures how long they wait and
    what the servers need, and removes the users with their servers and volumes.
  - Removes them also after a failure or a C(SIGTERM). After a kill, the next run removes them first.
  - Refuses to begin if the servers would not fit beside those of real users. Stops early if a real user's server is not
    ready after 30 seconds, if the hub becomes full, or if memory becomes scarce.
  - Holds the lock of the hub, so other runs on this hub wait until it has ended.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  users:
    description: How many temporary users start a server. V(0) ends a running rehearsal and removes what is left.
    type: int
    default: 10
  at_once:
    description: How many of them start their server at the same time; V(0) means all. The hub's queue applies, too.
    type: int
    default: 0
  kernels:
    description: Whether to start a kernel in each server, too.
    type: bool
    default: false
  token_file:
    description: The hub's secret C(api_token) on the host.
    type: path
    required: true
  progress_file:
    description: File on the host for progress lines; the action plugin of this module sets it.
    type: path
attributes:
  check_mode:
    support: full
    description: Checks everything that can be checked, and reports what would be done.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Changes are reported only for what an earlier run had left.
requirements:
  - docker (Python SDK) 5.0 or newer on the target
"""

EXAMPLES = r"""
- name: Rehearse a class of 60
  jupyterhub_rehearsal:
    name: jupyterhub
    users: 60
    token_file: /etc/jupyterhub/secrets/api_token
"""

RETURN = r"""
messages:
  description: The report; its last line is the conclusion.
  type: list
  elements: str
  returned: success, and failure after servers were started
  sample:
    - "started: 40 of 40"
    - "time until ready: median 23 s, slowest 43 s"
removed:
  description: Names of the temporary users of an earlier run that were removed.
  type: list
  elements: str
  returned: success
ready_servers:
  description: How many servers became ready.
  type: int
  returned: when servers were started
failed_starts:
  description: How many servers failed to start.
  type: int
  returned: when servers were started
slowest_seconds:
  description: How long the slowest user waited; none if no server became ready.
  type: float
  returned: when servers were started
servers_left:
  description: How many more servers of the same size the memory is enough for; none if no server became ready.
  type: int
  returned: when servers were started
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.rehearsal import plan
from ansible.module_utils.jupyterhub_deploy.rehearsal import run as rehearsals
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import Wanted
from ansible.module_utils.jupyterhub_deploy.text import counted

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "users": {"type": "int", "default": 10},
    "at_once": {"type": "int", "default": 0},
    "kernels": {"type": "bool", "default": False},
    "token_file": {"type": "path", "required": True, "no_log": False},
    "progress_file": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Check, and unless in check mode rehearse; return the module's result."""
    params, hub, check = module.params, module.params["name"], module.check_mode
    wanted = Wanted(params["users"], params["at_once"], params["kernels"])
    plan.check_numbers(wanted)
    if not wanted.users and not check:
        rehearsals.end_running(hub)
    with lock.held(hub, check):
        if not check:
            rehearsals.forget_end(hub)
        rehearsal = rehearsals.Rehearsal(connect(), hub, params["token_file"], Reporter(params["progress_file"]))
        left = rehearsal.users.existing()
        if not check:
            rehearsal.remove(left)
        result: dict[str, Any] = {"changed": bool(left), "removed": left, "messages": removal(left, check)}
        if wanted.users:
            found = rehearsal.check(wanted, left if check else [])
            if check:
                result["messages"] += [f"servers would be started for {wanted.shown()}, and removed again"]
            else:
                done = rehearsal.run(wanted, found)
                result = {**result, **done, "messages": result["messages"] + done["messages"]}
        elif not left:
            result["messages"] += ["no temporary users of a rehearsal exist; nothing was removed"]
    return result


def removal(left: list[str], check: bool) -> list[str]:
    """Return the line about temporary users of an earlier run, nothing if there are none."""
    if not left:
        return []
    verb = "would be removed" if check else "removed"
    return [f"{verb}: {counted(len(left), 'temporary user', 'temporary users')} of an earlier rehearsal"]


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, run, doing="rehearsing")


if __name__ == "__main__":
    main()
