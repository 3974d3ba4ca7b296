"""The name of a user's volume. The hub makes it; here is the same rule for what works on volumes without a hub.

The rule's home is ``jupyterhub_deploy_hub/names.py`` in the hub image, which no target has; a test holds the two
together.
"""

from __future__ import annotations

import hashlib
import string

LONGEST_ESCAPED = 128
_SAFE = frozenset(string.ascii_lowercase + string.digits)


def docker_name(user: str) -> str:
    """Return the part of container and volume names that stands for a user."""
    escaped = "".join(c if c in _SAFE else "".join(f"-{byte:02x}" for byte in c.encode()) for c in user)
    if len(escaped) <= LONGEST_ESCAPED:
        return escaped
    digest = hashlib.sha256(user.encode()).hexdigest()[:32]
    return f"{escaped[: LONGEST_ESCAPED - 3 - len(digest)].rstrip('-')}---{digest}"


def volume_name(hub: str, user: str) -> str:
    """Return the name of a user's volume at a hub."""
    return f"{hub}-user-{docker_name(user)}"


def is_of(user: str, hub: str, volume: str | None, label: str | None) -> bool:
    """Tell whether a volume is a user's: by its label, or by its name when it has none."""
    return label == user or (label is None and volume == volume_name(hub, user))
