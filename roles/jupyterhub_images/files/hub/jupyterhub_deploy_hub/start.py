"""The hub image's command: load JupyterHub, wait for the running hub to end, bring the database to this JupyterHub's
schema, seed the admin, then be JupyterHub.

Loading takes most of a start, and does not disturb another hub. So the host may start a new hub while the old one still
serves; the new one waits on standby, and takes over as soon as the old one ends. It learns of that by a lock on a file
in the directory of the database, which every hub holds while it runs and which ends with its process. The lock also
keeps two hubs from writing to one database. ``standby`` explains what happens to requests meanwhile.

A hub whose admin could not be seeded does not start, so that nobody can sign up as ``admin`` before.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import IO

from . import CONFIG_FILE, HubError, schema, seed, signin, storage

LOCK_FILE = Path("/data/hub.lock")
#: Locked while this hub is on standby; the module jupyterhub_hub on the host waits for that.
STANDBY_FILE = Path("/data/hub.standby.lock")


def hold_lock(path: Path, standby_path: Path) -> IO[str]:
    """Return the file at `path`, locked by this process; while waiting for the lock, hold `standby_path`."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with standby_path.open("w") as waiting:
            fcntl.flock(waiting, fcntl.LOCK_EX)
            print("JupyterHub is loaded and on standby until the running hub has ended", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
    return file


def main() -> int:
    """Run the hub until it ends; return the exit code."""
    os.umask(0o077)  # the database has the hashes of passwords
    # Imported now, because it takes time; the configuration uses the first two.
    from . import native, spawner, standby  # noqa: F401

    entries = signin.read_entries(CONFIG_FILE.with_name("settings.json"))
    signin.preload(entries)
    standby.open_on_signal()
    try:
        lock = hold_lock(LOCK_FILE, STANDBY_FILE)
        standby.keep_port()
        kept = schema.upgrade()
        if kept:
            print(f"The database was upgraded; the old one is kept in {kept}", file=sys.stderr)
        if signin.NATIVE in entries:
            seed.ensure_admin()
        storage.write()
    except HubError as error:
        print(f"JupyterHub was not started: {error}", file=sys.stderr)
        return 1
    # In this process, which has the lock and the loaded modules, and gets the container's signals.
    with lock:
        standby.Hub.launch_instance(["-f", str(CONFIG_FILE), *sys.argv[1:]])
    return 0


if __name__ == "__main__":
    sys.exit(main())
