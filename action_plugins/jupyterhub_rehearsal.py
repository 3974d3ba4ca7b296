"""Action plugin of the module ``jupyterhub_rehearsal``: shows the progress of the starts and of the removal."""

from __future__ import annotations

from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("progress", class_only=True)):  # type: ignore[misc]
    """Show the progress of ``jupyterhub_rehearsal``."""
