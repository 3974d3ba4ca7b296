"""This deployment's part of the hub image.

Programs: ``start`` seeds the admin and becomes the hub, ``seed`` only seeds, ``check`` checks a configuration,
``schema`` manages the database's schema, ``accounts`` answers requests about accounts, ``health`` is the container's
health check. ``storage`` reports where the data are, ``signin`` configures the authenticators. ``native``, ``oauth``,
``single``, ``multi`` and ``spawner`` have the classes that the hub runs. Importing this package does not load
JupyterHub.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

CONFIG_FILE = Path("/etc/jupyterhub/config/jupyterhub_config.py")
ADMIN_PASSWORD_FILE = Path("/etc/jupyterhub/secrets/admin_password")
AUTHENTICATOR_SECRETS_FILE = CONFIG_FILE.with_name("authenticators.json")
DEFAULT_DB_URL = "sqlite:////data/jupyterhub.sqlite"
#: The line of jupyterhub_config.py above the operator's own text (see jupyterhub_config.py.j2).
EXTRA_CONFIG_MARKER = "# ---- jupyterhub_extra_config ----"


class HubError(Exception):
    """An error that the operator can fix; the text is one line that says what, where, and what to do."""


def template_paths() -> list[str]:
    """Return ``JupyterHub.template_paths``: ours, then NativeAuthenticator's (it needs its own page.html)."""
    paths = [str(Path(__file__).parent / "templates")]
    native = importlib.util.find_spec("nativeauthenticator")
    if native is not None and native.origin is not None:
        paths.append(str(Path(native.origin).parent / "templates"))
    return paths
