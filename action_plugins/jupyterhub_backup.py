"""Action plugin of the module ``jupyterhub_backup``: shows a line for each volume during the run."""

from __future__ import annotations

from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("progress", class_only=True)):  # type: ignore[misc]
    """Show the progress of ``jupyterhub_backup``."""
