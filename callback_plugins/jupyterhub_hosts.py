"""Fail a run of a play that has no hosts, for which Ansible reports success, or two hosts that are one hub.

Ansible loads this from beside the playbook, also where it ignores ansible.cfg.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: jupyterhub_hosts
type: notification
short_description: Fail a run without hosts
"""

NO_HOSTS = (
    "Nothing was done, because this run has no host of the group jupyterhub. Check that your inventory has hosts in "
    "this group, and what --limit selects. In a directory that everyone can write to, Ansible ignores ansible.cfg and "
    "does not find inventory/; add -i inventory."
)
SAME_HUB = (
    "Nothing was done, because {0} and {1} in the inventory are the same hub, {2}, on the same machine, {3}. Each of "
    "them would undo the other one. Give each hub its own jupyterhub_name and jupyterhub_port."
)


def same_hub(hosts: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, str, str] | None:
    """Return two hosts that are the same hub of the same machine, with the hub's name and the machine's address.

    :param hosts: the variables of each host of the group, by its name. Those that are templates are not resolved.
    """
    seen: dict[tuple[str, str], str] = {}
    for host, variables in hosts.items():
        local = variables.get("ansible_connection") == "local"
        port = f" port {variables['ansible_port']}" if "ansible_port" in variables else ""
        address = "the one that runs Ansible" if local else f"{variables.get('ansible_host', host)}{port}"
        key = (str(variables.get("jupyterhub_name", "jupyterhub")), address)
        if key in seen:
            return seen[key], host, *key
        seen[key] = host
    return None


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """End the run at the first of our plays that has no hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "jupyterhub_hosts"

    ours = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember whether the play is one of ours; an operator's own may have no hosts."""
        self.ours = play.hosts == ["jupyterhub"]
        manager = play.get_variable_manager()
        group = manager._inventory.groups.get("jupyterhub") if self.ours else None
        hosts = {host.name: manager.get_vars(host=host) for host in group.get_hosts()} if group else {}
        same = same_hub(hosts)
        if same:
            self._display.error(SAME_HUB.format(*same))
            sys.exit(1)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Exit; an exception would be caught."""
        if self.ours:
            self._display.error(NO_HOSTS)
            sys.exit(1)
