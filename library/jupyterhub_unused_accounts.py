#!/usr/bin/python
"""Ansible module: discard accounts that nobody has used."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_unused_accounts
short_description: Discard accounts that signed up and that nobody has used
description:
  - After a flood of sign-ups, discards native accounts that were created by the sign-up form since a time and that
    nobody has used.
  - An account is kept if it has had a server, if there is a volume, a directory or a backup of its user, or if the
    user is an administrator or in a group. It is also kept if it was waiting for approval and an administrator has
    authorized it, or if it is in O(keep).
  - Accounts that were created before the hub had version 0.3 of this project, by an administrator, or by the inventory
    are never discarded.
  - After an interrupted run, the next run does the rest.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  since:
    description: The time from which on accounts are discarded, in UTC unless it has an offset.
    type: str
    required: true
  keep:
    description: Names of users to keep, such as those that the inventory declares.
    type: list
    elements: str
    default: []
  directory:
    description: Directory of this hub's backups on the host.
    type: path
    required: true
  token_file:
    description: The hub's secret C(api_token) on the host.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would be discarded.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
"""

EXAMPLES = r"""
- name: Discard the accounts of a flood
  jupyterhub_unused_accounts:
    name: jupyterhub
    since: 2026-11-27T10:00
    directory: /var/backups/jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
"""

RETURN = r"""
accounts:
  description: Names of the accounts that were discarded, the oldest first; users that the hub knows come before others.
  type: list
  elements: str
  returned: success
  sample: [u1, u2]
kept:
  description: What there is of users whose accounts have not had a server, by name.
  type: dict
  returned: success
  sample: {bob: volume jupyterhub-user-bob}
messages:
  description: What was discarded or kept.
  type: list
  elements: str
  returned: success
  sample: ["2 unused accounts that signed up since 2026-11-27 10:00 UTC were discarded: u1, u2"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.users import unused
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "since": {"type": "str", "required": True},
    "keep": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "path", "required": True},
    "token_file": {"type": "path", "required": True, "no_log": False},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Find the accounts and, unless in check mode, discard them; return the module's result."""
    params, hub = module.params, module.params["name"]
    since = unused.parse_since(params["since"])
    with lock.held(hub, module.check_mode):
        client = connect()
        api = hub_api.connect(client, hub, params["token_file"])
        accounts = Accounts(client, hub)
        found = accounts.request("unused", since=since.timestamp(), keep=params["keep"])["accounts"]
        planned = unused.plan(found, unused.Host(client, hub, params["directory"]))
        if module.check_mode:
            names = [account["name"] for account in planned.discard]
        else:
            names = unused.apply(accounts, api, planned, since)
    return {
        "changed": bool(names),
        "accounts": names,
        "kept": planned.keep,
        "messages": unused.messages(names, planned, since, module.check_mode),
    }


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, run, doing="discarding unused accounts")


if __name__ == "__main__":
    main()
