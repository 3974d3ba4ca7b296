#!/usr/bin/python
"""Ansible module: sync a hub's users with the declared ones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_users
short_description: Sync a hub's users, administrators and groups with the declared ones
description:
  - Adds, promotes, demotes, disables and authorizes the declared users, and sets their groups, through the hub's REST
    API. A program in the hub's container writes the accounts with passwords.
  - Users who are not declared are not changed.
  - Runs on the hub's host. The hub has to be running.
options:
  name:
    description: Name of the hub's container.
    type: str
    required: true
  token_file:
    description: File on the host with the token of the hub's service C(deploy). M(jupyterhub_resources) creates it.
    type: path
    required: true
  users:
    description: The declared users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name that the user signs in with. A user who signs in with a provider, such as C(github:alice), has no
            account in the hub, and can have neither a password nor the state V(disabled).
        type: str
        required: true
      state:
        description:
          - V(present) is a user who can sign in. An account that waits for approval is authorized.
          - V(disabled) is a user who cannot sign in. Sessions and tokens end and servers are stopped; files are kept.
          - V(absent) is refused while the user exists; C(playbooks/delete_user.yml) deletes one and archives the files.
        type: str
        choices: [present, disabled, absent]
        default: present
      admin:
        description: Whether the user is an administrator of the hub. When omitted, this is not changed.
        type: bool
      groups:
        description: All groups of the user. When omitted, they are not changed.
        type: list
        elements: str
      password:
        description: Password of the account. Without one, the name is reserved until an admin sets a password.
        type: str
      update_password:
        description:
          - V(on_create) sets the password of accounts that have none or still wait for approval. V(always) also
            replaces one that differs, and signs the user out.
        type: str
        choices: [on_create, always]
        default: on_create
      authorize:
        description:
          - Whether V(present) authorizes an account that was disabled or waits for approval. Otherwise only its
            password is set.
        type: bool
        default: true
  native:
    description: Whether the hub has accounts with passwords (NativeAuthenticator).
    type: bool
    default: true
  create:
    description: Whether missing users are added. Otherwise a missing user is an error.
    type: bool
    default: true
  undeclared_admins:
    description: What to do with administrators who are not declared. V(keep) reports them, V(ignore) does not.
    type: str
    choices: [keep, demote, ignore]
    default: keep
attributes:
  check_mode:
    description: Reports what would change, also on a host without a hub.
    support: full
  diff_mode:
    description: Shows each changed user before and after; for a password only that it changes.
    support: full
"""

EXAMPLES = r"""
- name: Make alice an administrator with a first password, and disable bob
  jupyterhub_users:
    name: jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
    users:
      - name: alice
        admin: true
        groups: [teachers]
        password: "{{ vault_alice_password }}"
      - name: bob
        state: disabled
"""

RETURN = r"""
messages:
  description: One message for each changed user, and one for undeclared administrators.
  type: list
  elements: str
  returned: success
  sample: ["alice: account created, added to the hub, made an administrator, joined group teachers"]
undeclared_admins:
  description: Administrators who are declared neither here nor in the hub's configuration.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.users import plan, sync
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

USER_SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": list(plan.STATES), "default": plan.PRESENT},
    "admin": {"type": "bool"},
    "groups": {"type": "list", "elements": "str"},
    "password": {"type": "str", "no_log": True},
    "update_password": {
        "type": "str",
        "choices": [plan.ON_CREATE, plan.ALWAYS],
        "default": plan.ON_CREATE,
        "no_log": False,
    },
    "authorize": {"type": "bool", "default": True},
}
ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "token_file": {"type": "path", "required": True, "no_log": False},
    "users": {"type": "list", "elements": "dict", "required": True, "options": USER_SPEC},
    "native": {"type": "bool", "default": True},
    "create": {"type": "bool", "default": True},
    "undeclared_admins": {"type": "str", "choices": ["keep", "demote", "ignore"], "default": "keep"},
}


def observe(module: AnsibleModule) -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    """Return the state of accounts and users, and both interfaces; in check mode a missing hub has none of them.

    :raises DeployError: the hub does not answer or refuses.
    """
    params = module.params
    client = connect_or_none() if module.check_mode else connect()
    if module.check_mode and (client is None or inspect_container(client, params["name"]) is None):
        if not params["create"]:
            raise DeployError(
                f"there is no hub container {params['name']} on this host; create the hub with `make site`, or choose "
                "another host with --limit"
            )
        return {**sync.NOTHING, "names": {user["name"]: user["name"] for user in params["users"]}}, {}, None, None
    api = hub_api.connect(client, params["name"], params["token_file"])
    accounts = Accounts(client, params["name"])
    known = sync.read_users(api)  # first, because its error is the clearer one when the hub does not run
    return sync.read_accounts(accounts, params["users"], params["native"]), known, accounts, api


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for other runs on this hub, then update it; return the module's result."""
    with lock.held(module.params["name"], module.check_mode):
        return update(module)


def update(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params = module.params
    try:
        seen, known, accounts, api = observe(module)
    except DeployError as error:
        if not module.check_mode or not params["create"]:
            raise
        # A hub that site.yml would start or repair before this task.
        warning = f"check mode cannot show what would change for the declared users: {error}"
        return {"messages": [], "undeclared_admins": [], "warnings": [warning]}
    declared = plan.check_declared(params["users"], seen, params["native"])
    if not params["create"]:
        plan.require(declared, seen, known)
    changes = plan.plan(declared, seen, known, params["native"])
    plan.refuse_removal(changes)
    others = plan.undeclared_admins(declared, seen, known)
    policy = params["undeclared_admins"]
    if policy == "demote":
        changes += plan.demotions(others)
        others = []
    if changes and not module.check_mode:
        sync.apply(accounts, api, changes, seen)
    return {
        "changed": bool(changes),
        "messages": plan.messages(changes, others if policy == "keep" else []),
        "undeclared_admins": others,
        "diff": plan.diff(changes, seen, known),
    }


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, run, doing="syncing the declared users")


if __name__ == "__main__":
    main()
