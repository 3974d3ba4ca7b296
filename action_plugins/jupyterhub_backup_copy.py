"""Action plugin of the module ``jupyterhub_backup_copy``: shows the progress of a push."""

from __future__ import annotations

from typing import Any

from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("progress", class_only=True)):  # type: ignore[misc]
    """Show the progress of a push; the steps of a fetch are short."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        if self._task.args.get("state", "pushed") == "pushed":
            return dict(super().run(tmp, task_vars))
        return dict(self._execute_module(task_vars=task_vars))
