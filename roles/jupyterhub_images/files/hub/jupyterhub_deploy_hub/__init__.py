"""What this deployment adds to JupyterHub, inside the hub image.

``start`` seeds the admin and becomes the hub, ``seed`` does only the former, ``check`` proves a configuration,
``health`` is the container's health check, ``signin`` configures how people sign in. ``native``, ``oauth``, ``alone``,
``several`` and ``spawner`` have the classes that the hub runs.
Importing this package is cheap: nothing of JupyterHub is loaded before it is needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

CONFIG_FILE = Path("/etc/jupyterhub/config/jupyterhub_config.py")
ADMIN_PASSWORD_FILE = Path("/etc/jupyterhub/secrets/admin_password")
AUTHENTICATOR_SECRETS_FILE = Path("/etc/jupyterhub/secrets/authenticators.json")
DEFAULT_DB_URL = "sqlite:////data/jupyterhub.sqlite"
#: The line of jupyterhub_config.py below which the operator's own text begins (see jupyterhub_config.py.j2).
EXTRA_CONFIG_MARKER = "# ---- jupyterhub_extra_config ----"


class HubError(Exception):
    """Something the operator can mend; the text is one line that says what, where, and what next."""


def template_paths() -> list[str]:
    """Directories for ``JupyterHub.template_paths``: ours, then NativeAuthenticator's (it needs its own page.html)."""
    paths = [str(Path(__file__).parent / "templates")]
    native = importlib.util.find_spec("nativeauthenticator")
    if native is not None and native.origin is not None:
        paths.append(str(Path(native.origin).parent / "templates"))
    return paths
