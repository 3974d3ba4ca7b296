"""Action plugin of the module ``jupyterhub_hub_state``: passes the private key without a file on the target."""

from __future__ import annotations

from ansible.plugins.loader import action_loader


class ActionModule(action_loader.get("jupyterhub_restore", class_only=True)):  # type: ignore[misc]
    """As for ``jupyterhub_restore``."""
