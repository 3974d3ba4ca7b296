#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_hub_state
short_description: Restore a hub's database and secrets from a backup
description:
  - Takes the newest backup of the hub's own state, or a named one, and replaces the database and the secrets by those
    in the backup. The module C(jupyterhub_restore) restores users' volumes.
  - Before anything is touched, the archive's checksum and members are validated, SQLite checks the database, and
    the hub image that is to use it is asked whether its schema is not a newer JupyterHub's.
  - The hub is stopped for the restore and started again. If it does not become healthy, its old state is put back.
  - Refuses while users' servers are running. The restored hub may not know them.
  - The proxy and its token stay as they are. Other secrets that the backup does not have stay, too.
  - May be killed at any moment; the next run goes back to the old state or finishes, then restores as requested.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  directory:
    description: Directory of this hub's backups on the host.
    type: path
    required: true
  state:
    description:
      - V(restored) replaces the state of a hub.
      - V(recovered) brings the state to a host without a hub, before C(site.yml) makes one. Refused where there is a
        hub container or a database already.
    type: str
    choices: [restored, recovered]
    default: restored
  backup:
    description: Name of the backup, such as C(20261123T014440Z). The newest if not given.
    type: str
  config_dir:
    description: Directory of the hub's secrets and configuration.
    type: path
    default: /etc/jupyterhub
  data_volume:
    description: Volume with the hub's database. When empty, C(<name>-data).
    type: str
    default: ""
  front_dir:
    description: Directory of the host's front. It gets the hub's certificate from ACME, unless the host has one.
    type: path
    default: /etc/jupyterhub-front
  keep_old:
    description: Keep what is replaced, beside the data volume's own directory; the result says where.
    type: bool
    default: true
  stop_servers:
    description: Stop users' servers that run, instead of refusing.
    type: bool
    default: false
  health_timeout:
    description: Seconds for the hub to become healthy, before its old state is put back.
    type: float
    default: 120
  identity:
    description:
      - The text of the private key for an encrypted backup, as an C(age) or SSH key's file has it. It is kept in memory
        and never written to the host's disk. On the task, give O(identity_file) instead.
    type: str
  identity_file:
    description: On the control machine, file with the private key. The action plugin reads it and passes O(identity).
    type: path
  limit:
    description:
      - Name of the host in the inventory, for the commands in messages. The action plugin gives it if the inventory has
        several hosts.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reads and validates the archive, and writes nothing. The database itself is not checked.
  diff_mode:
    support: none
  idempotent:
    support: none
    description: Each run restores.
requirements:
  - docker (Python SDK) 5.0 or newer on the target
  - GNU tar, and zstd or gzip for what was compressed by them
"""

EXAMPLES = r"""
- name: Go back to the hub of last night
  jupyterhub_hub_state:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    backup: 20261123T014440Z
    stop_servers: true
"""

RETURN = r"""
backup:
  description: Name of the backup.
  type: str
  returned: success
  sample: 20261123T014440Z
old_state:
  description: Where the replaced database and secrets are; null if there were none.
  type: str
  returned: success
  sample: /var/lib/docker/volumes/jupyterhub-data/before-20261123T020000Z
stopped_servers:
  description: Containers of users' servers that were stopped for the restore.
  type: list
  elements: str
  returned: success
  sample: [jupyter-alice]
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: success
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import encryption, store
from ansible.module_utils.jupyterhub_deploy.backup.settings import load
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.restore import hub_state
from ansible.module_utils.jupyterhub_deploy.restore.select import select_hub_state


def run(module: AnsibleModule) -> dict[str, Any]:
    """Restore; return the module's result."""
    settings = load(hub_state.HubStateSettings, module.params)
    # Keep backups from being made or removed meanwhile. The lock is a file, so not in check mode.
    locked = contextlib.nullcontext() if module.check_mode else store.lock(settings.directory, shared=True)
    with encryption.unlocked(module.params["identity"]), locked:
        backup = select_hub_state(settings.directory, settings.name, settings.backup)
        with lock.held(settings.name, module.check_mode):
            return hub_state.Restore(connect(), settings, module.check_mode).run(backup)


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["restored", "recovered"], "default": "restored"},
            "backup": {"type": "str"},
            "config_dir": {"type": "path", "default": "/etc/jupyterhub"},
            "front_dir": {"type": "path", "default": "/etc/jupyterhub-front"},
            "data_volume": {"type": "str", "default": ""},
            "keep_old": {"type": "bool", "default": True},
            "stop_servers": {"type": "bool", "default": False},
            "health_timeout": {"type": "float", "default": 120},
            "identity": {"type": "str", "no_log": True},
            "identity_file": {"type": "path", "no_log": False},
            "limit": {"type": "str", "default": ""},
        },
        run,
        doing="restoring the hub's state",
    )


if __name__ == "__main__":
    main()
