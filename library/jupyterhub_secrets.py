#!/usr/bin/python
"""Ansible module: the secrets of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_secrets
short_description: Make the secrets of a hub once, as files that root alone can read
description:
  - Makes sure that C(cookie_secret), C(proxy_token), C(crypt_key), C(api_token) and C(admin_password) exist in a
    directory, mode 0600 in a directory of mode 0700, owned by root. What exists is kept, so users stay signed in.
  - Never returns or shows a secret.
options:
  path:
    description:
      - Directory of the secrets on the host. The directory that it is in is made root's alone as well.
    type: path
    required: true
  admin_password:
    description:
      - Password of the admin account. When empty, the one on the host is kept, or one is generated.
      - A password that differs from the one on the host replaces it, and RV(password_pending) is true until the file
        C(admin_password.pending) has been removed by whoever told the hub.
    type: str
    default: ""
  sign_in:
    description:
      - What ways to sign in have to keep secret, as name of the way to trait to value.
      - It becomes the file C(authenticators.json), which is removed when there is nothing to keep.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Tells what would be written.
    support: full
  diff_mode:
    description: Shows the names of the files, never their content.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Make the secrets
  jupyterhub_secrets:
    path: /etc/jupyterhub/secrets
    admin_password: "{{ vault_jupyterhub_admin_password }}"
"""

RETURN = r"""
written:
  description: Names of the secrets that were written.
  type: list
  elements: str
  returned: success
  sample: [cookie_secret, proxy_token, crypt_key, api_token, admin_password]
mended:
  description: Paths whose owner or mode was put right.
  type: list
  elements: str
  returned: success
password_pending:
  description: Whether a hub that exists has still to be told of a new admin password.
  type: bool
  returned: success
sign_in_generation:
  description: Changes when the secrets of O(sign_in) change, and tells nothing of them; empty when there are none.
  type: str
  returned: success
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.hub import secrets


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    directory, admin_password = module.params["path"], module.params["admin_password"]
    existing = {name: secrets.read(directory, name) for name in secrets.GENERATORS}
    names, replaced = secrets.plan(existing, admin_password)
    sign_in = secrets.read(directory, secrets.SIGN_IN)
    new_sign_in = secrets.plan_sign_in(sign_in, module.params["sign_in"])
    mended = secrets.wrong_modes(directory)
    if not module.check_mode and (names or mended or new_sign_in != sign_in):
        secrets.ensure_directory(directory)
        secrets.mend_modes(mended)
        if replaced:
            # First the marker: a kill between the two makes the hub be told once too often, not once too seldom.
            secrets.write(directory, secrets.PENDING, "")
        for name in names:
            given = admin_password if name == "admin_password" else ""
            secrets.write(directory, name, given or secrets.GENERATORS[name]())
        if new_sign_in is None and sign_in is not None:
            secrets.remove(directory, secrets.SIGN_IN)
        elif new_sign_in is not None and new_sign_in != sign_in:
            secrets.write(directory, secrets.SIGN_IN, new_sign_in)
    before = {name: "exists" for name, value in existing.items() if value is not None}
    after = {name: "to be written" if name in names else "exists" for name in existing}
    if sign_in is not None:
        before[secrets.SIGN_IN] = "exists"
    if new_sign_in is not None:
        after[secrets.SIGN_IN] = "exists" if new_sign_in == sign_in else "to be written"
    pending = replaced or os.path.exists(os.path.join(directory, secrets.PENDING))
    return {
        "changed": bool(names or mended or new_sign_in != sign_in),
        "written": names + ([secrets.SIGN_IN] if new_sign_in not in (None, sign_in) else []),
        "mended": mended,
        "password_pending": pending,
        "sign_in_generation": secrets.generation(new_sign_in),
        "diff": {"before": before, "after": after},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "admin_password": {"type": "str", "default": "", "no_log": True},
            "sign_in": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except OSError as error:
        module.fail_json(msg=f"the secrets cannot be written to {module.params['path']}: {error}")


if __name__ == "__main__":
    main()
