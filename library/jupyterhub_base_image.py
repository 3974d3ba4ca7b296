#!/usr/bin/python
"""Ansible module: start to build the base image of a hub's images, before Docker is installed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_base_image
short_description: Start to build the base image, before Docker is installed
description:
  - Starts mmdebstrap in the background, and does not wait for it. M(jupyterhub_image) waits, and imports the archive.
  - The archive and the log are in C(/var/lib/jupyterhub-deploy/base-image) until then. An archive of more than a day
    ago, or with other packages, is not used.
options:
  suite:
    description: Code name of the distribution's release.
    type: str
    required: true
  packages:
    description: Packages, separated by commas.
    type: str
    required: true
attributes:
  check_mode:
    description: Starts nothing.
    support: full
  diff_mode:
    support: none
  idempotent:
    description: Not started while it is running. The role calls it only on a host without Docker.
    support: partial
requirements:
  - mmdebstrap
"""

EXAMPLES = r"""
- name: Start to build the base image
  jupyterhub_base_image:
    suite: bookworm
    packages: ca-certificates,python3,tini
"""

RETURN = r"""
# Nothing but changed.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.images import base_archive, bootstrap
from ansible.module_utils.jupyterhub_deploy.images.plan import fingerprint
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Start the build unless in check mode."""
    args = dict(module.params)
    if module.check_mode:
        return {"changed": True}
    return {"changed": base_archive.start(fingerprint(args), lambda directory: bootstrap.make_command(directory, args))}


def main() -> None:
    """Entry point."""
    spec = {"suite": {"type": "str", "required": True}, "packages": {"type": "str", "required": True}}
    run_module(spec, run, "building the base image")


if __name__ == "__main__":
    main()
