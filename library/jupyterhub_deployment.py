#!/usr/bin/python
"""Ansible module: the recorded version of the deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_deployment
short_description: Record the version of this project that provisioned a hub
description:
  - The record is C(/etc/jupyterhub-deploy/version-<name>.json) on the hub's host.
  - In check mode, nothing is recorded, and RV(messages) shows what is.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  version:
    description: The version that has provisioned the hub.
    type: str
  acknowledged:
    description: The version whose breaking changes the operator has acknowledged. Cleared when O(version) is set.
    type: str
attributes:
  check_mode:
    description: Reports what would change.
    support: full
  diff_mode:
    description: Shows the record.
    support: full
"""

EXAMPLES = r"""
- name: Record the version
  jupyterhub_deployment:
    name: jupyterhub
    version: "0.2.0"
"""

RETURN = r"""
messages:
  description: The recorded version before this run, compared with O(version).
  type: list
  elements: str
  returned: when O(version) is set
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.hub import deployment
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Write the record if it differs."""
    name, version = module.params["name"], module.params["version"] or ""
    before = deployment.read(name)
    after = deployment.plan(before, version, module.params["acknowledged"] or "")
    if after != before and not module.check_mode:
        deployment.write(name, after)
    return {
        "changed": after != before,
        "diff": {"before": before, "after": after},
        "messages": deployment.messages(before, version) if version else [],
    }


def main() -> None:
    """Entry point."""
    run_module(
        {"name": {"type": "str", "required": True}, "version": {"type": "str"}, "acknowledged": {"type": "str"}},
        run,
        doing="recording the version of the deployment",
    )


if __name__ == "__main__":
    main()
