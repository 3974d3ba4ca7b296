#!/usr/bin/python
"""Ansible module: the users of a hub, as they are declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_users
short_description: Make a hub's users, administrators and groups what is declared
description:
  - Adds, promotes, demotes, disables and authorizes the users that are declared, and puts them into their groups, by
    the hub's REST API. Accounts that people sign in with by a password are written in the hub's container.
  - Touches nobody who is not declared.
  - Runs on the hub's host, against a hub that runs.
options:
  name:
    description: Name of the hub's container.
    type: str
    required: true
  token_file:
    description: File on the host with the token of the hub's service C(deploy). M(jupyterhub_secrets) makes it.
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
          - Name that the user signs in with. Who comes by another of several ways than native accounts, C(github:alice)
            say, has no account here, and so neither a password nor the state V(disabled).
        type: str
        required: true
      state:
        description:
          - V(present) is a user who may sign in. An account that waits for approval is authorized.
          - V(disabled) cannot sign in, is signed out everywhere with all tokens, and has no running server. Files are
            kept.
          - V(absent) is refused as long as the user is there; C(delete_user.yml) removes one and archives the
            files.
        type: str
        choices: [present, disabled, absent]
        default: present
      admin:
        description: Whether the user administers the hub. When not given, that is left as it is.
        type: bool
      groups:
        description: The groups that the user is in, and no others. When not given, they are left as they are.
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
  native:
    description: Whether the hub has accounts with passwords (NativeAuthenticator).
    type: bool
    default: true
  create:
    description: Whether users who are not there are added. Otherwise it is an error that they are not.
    type: bool
    default: true
  undeclared_admins:
    description: What to do with administrators who are not declared. V(keep) only names them.
    type: str
    choices: [keep, demote]
    default: keep
attributes:
  check_mode:
    description: Tells what would be done, also on a host without a hub.
    support: full
  diff_mode:
    description: Shows each user with something to do, before and after; of a password only that it changes.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Make alice an administrator with a first password, and shut bob out
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
  description: A sentence for each user with something to do.
  type: list
  elements: str
  returned: success
  sample: ["alice: account made, added to the hub, made an administrator, joined group teachers"]
undeclared_admins:
  description: Administrators whom nobody declares, neither here nor in the hub's configuration.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.users import plan, sync

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
}


def observe(module: AnsibleModule) -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    """Return what the program and the API tell, and both; in check mode a hub that cannot tell has nothing.

    :raises DeployError: the hub does not answer or refuses.
    """
    params = module.params
    client = connect_or_none() if module.check_mode else connect()
    if module.check_mode and (client is None or inspect_container(client, params["name"]) is None):
        return {**sync.NOTHING, "names": {user["name"]: user["name"] for user in params["users"]}}, {}, None, None
    api = hub_api.connect(client, params["name"], params["token_file"])
    ask = sync.asker(client, params["name"])
    known = sync.at_hub(api)  # first: a hub that is down says so best
    return sync.look(ask, params["users"], params["native"]), known, ask, api


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params = module.params
    try:
        seen, known, ask, api = observe(module)
    except DeployError as error:
        if not module.check_mode:
            raise
        # A hub that site.yml would start or mend first.
        module.warn(f"what would change for the declared users cannot be told: {error}")
        return {"changed": False, "messages": [], "undeclared_admins": []}
    declared = plan.checked(params["users"], seen, params["native"])
    if not params["create"]:
        plan.require(declared, seen, known)
    todos = plan.plan(declared, seen, known, params["native"])
    plan.refuse_removal(todos)
    others = plan.undeclared_admins(declared, seen, known)
    if params["undeclared_admins"] == "demote":
        todos += plan.demotions(others)
        others = []
    if todos and not module.check_mode:
        sync.apply(ask, api, todos, seen)
    return {
        "changed": bool(todos),
        "messages": plan.sentences(todos),
        "undeclared_admins": others,
        "diff": plan.diff(todos, seen, known),
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "token_file": {"type": "path", "required": True, "no_log": False},
            "users": {"type": "list", "elements": "dict", "required": True, "options": USER_SPEC},
            "native": {"type": "bool", "default": True},
            "create": {"type": "bool", "default": True},
            "undeclared_admins": {"type": "str", "choices": ["keep", "demote"], "default": "keep"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except DeployError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
