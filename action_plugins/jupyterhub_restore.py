"""Action plugin of the module ``jupyterhub_restore``: passes the private key without a file on the target, and the name
of the host for the commands in messages."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


def read_identity(path: str) -> str:
    """Return the text of a private key's file on this machine.

    :raises AnsibleActionFail: it cannot be read.
    """
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise AnsibleActionFail(
            f"identity {path}, the file with the private key on the control machine, cannot be read: {error}"
        ) from error


def limit(task_vars: dict[str, Any]) -> dict[str, str]:
    """Return the option with the host for ``--limit`` in commands, none if the inventory has one host only."""
    hosts = task_vars.get("groups", {}).get("jupyterhub", [])
    return {"limit": task_vars["inventory_hostname"]} if len(hosts) > 1 else {}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Run the module that the task names, with the key of ``identity_file`` in its arguments."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = {**limit(task_vars or {}), **self._task.args}
        path = args.pop("identity_file", None)
        if path:
            args["identity"] = read_identity(path)
            # Pipelined, the module comes through the connection; otherwise it is a file on the target for a moment.
            self._connection.set_option("pipelining", True)
            if not self._is_pipelining_enabled("new"):
                raise AnsibleActionFail(
                    "the private key would be written to the target's disk, as this connection cannot do without files "
                    "there; unset ANSIBLE_KEEP_REMOTE_FILES, and use a connection that has pipelining, such as ssh"
                )
        result.update(self._execute_module(module_args=args, task_vars=task_vars))
        return result
