"""The limits after which servers and kernels are stopped, in the hub's configuration and in the containers of servers.

The container of a server has the limits that were in force at its start in its environment: ``culler`` applies these,
and the server's page warns of them, so that both always agree. Files that Jupyter Server reads are added to the
container, so that every image with a Jupyter Server warns its user and knows whether it is used.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .names import CULLER_SERVICE

#: Nobody is stopped in so many seconds after the start of the hub: servers report every 300 s that they are used.
GRACE_SECONDS = 600
#: Seconds between two looks at all servers, at least and at most.
EVERY_SECONDS = (2, 120)

_PREFIX = "JUPYTERHUB_DEPLOY_CULL_"
#: The directory of the container that `archive` is for. Jupyter reads ``etc/jupyter`` in it.
DIRECTORY = "/usr/local"
#: The only one of our files whose name an image's own file can have.
CONFIG_FILE = "etc/jupyter/jupyter_config.py"
_FILES = Path(__file__).parent / "server_files"


class Limits(NamedTuple):
    """Seconds after which something is stopped; 0 means never.

    Attributes:
        idle: servers that nobody uses.
        max_age: all servers, since their start.
        kernels: kernels that nobody uses.
    """

    idle: int = 0
    max_age: int = 0
    kernels: int = 0


def configure(c: Any, settings: Mapping[str, int], hub: str, network: str) -> tuple[list[Any], list[Any]]:
    """Set the limits in the hub's configuration `c`; return the services and the roles that apply them.

    `settings` are those of settings.json; `hub` and `network` are the names of the hub and of its servers' network.
    """
    limits = Limits(**settings)
    c.HubSpawner.cull_idle_seconds, c.HubSpawner.cull_max_age_seconds = limits.idle, limits.max_age
    c.HubSpawner.cull_kernels_seconds = limits.kernels
    shortest = min((seconds for seconds in limits[:2] if seconds), default=0)
    if not shortest:
        return [], []
    options = {"hub": hub, "network": network, **times(shortest)}
    command = [sys.executable, "-m", "jupyterhub_deploy_hub.culler", json.dumps(options)]
    role = {
        "name": CULLER_SERVICE,
        "services": [CULLER_SERVICE],
        "scopes": ["list:users", "read:servers", "delete:servers"],
    }
    return [{"name": CULLER_SERVICE, "command": command, "display": False}], [role]


def times(shortest: int) -> dict[str, int]:
    """Return the seconds between two looks and those without a stop, for the shortest limit of the hub."""
    least, most = EVERY_SECONDS
    return {"every": min(max(shortest // 10, least), most), "grace": min(shortest, GRACE_SECONDS)}


def environment(limits: Limits) -> dict[str, str]:
    """Return the variables of a server with these limits; none without a limit."""
    return {f"{_PREFIX}{name.upper()}": str(value) for name, value in limits._asdict().items() if any(limits)}


def limits_of(variables: Mapping[str, str]) -> Limits | None:
    """Return the limits of a server by its environment, None for one that was started without any."""
    found = {name: variables.get(f"{_PREFIX}{name.upper()}") for name in Limits._fields}
    if None in found.values():
        return None
    return Limits(**{name: int(value or 0) for name, value in found.items()})


def archive() -> bytes:
    """Return the files for a container, as a tar archive for `DIRECTORY`. Existing directories stay as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(_FILES.rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                entry = tarfile.TarInfo(str(path.relative_to(_FILES)))
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(entry, file)
    return buffer.getvalue()
