"""Fail a run of a play that has no hosts; Ansible itself reports success.

Ansible loads this from beside the playbook, also where it ignores ansible.cfg.
"""

from __future__ import annotations

import sys
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


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """End the run at the first of our plays that has no hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "jupyterhub_hosts"

    ours = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember whether the play is one of ours; an operator's own may have no hosts."""
        self.ours = play.hosts == ["jupyterhub"]

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Exit; an exception would be caught."""
        if self.ours:
            self._display.error(NO_HOSTS)
            sys.exit(1)
