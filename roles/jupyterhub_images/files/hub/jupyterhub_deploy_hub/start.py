"""The hub image's command: bring the database to this JupyterHub's schema, seed the admin, then become JupyterHub.

A hub whose admin could not be seeded does not start: nobody shall find a hub on which ``admin`` is still free.
"""

from __future__ import annotations

import os
import sys

from . import CONFIG_FILE, HubError, schema, seed


def main() -> int:
    """Seed, then replace this process, so that the container's signals reach the hub itself."""
    os.umask(0o077)  # the database holds what users sign in with
    try:
        kept = schema.upgrade()
        if kept:
            print(f"The database was upgraded; what it was before is kept in {kept}", file=sys.stderr)
        seed.ensure_admin()
    except HubError as error:
        print(f"JupyterHub was not started: {error}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG_FILE), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
    raise AssertionError("execv does not return")


if __name__ == "__main__":
    sys.exit(main())
