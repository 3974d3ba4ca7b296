"""Check, upgrade and restore the schema of the hub's database.

``python -m jupyterhub_deploy_hub.schema`` prints its state as JSON; with ``--check`` it fails when the database is too
new for this JupyterHub, with ``--restore`` it restores the newest copy that fits. ``start`` upgrades an older database
before the hub starts. Each change replaces the file in one step and keeps the old file as
``jupyterhub.sqlite.<revision>.<UTC time>``, so a kill at any moment leaves a complete database.

JupyterHub can upgrade a schema but not downgrade it, so the copy is the only way back. Databases other than SQLite
are managed by their own tools: their state is ``unmanaged``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from . import CONFIG_FILE, HubError
from .seed import configured_db_url

ABSENT, CURRENT, OLDER, NEWER, UNMANAGED = "absent", "current", "older", "newer", "unmanaged"

# How JupyterHub's migration scripts name themselves and the revision before.
_REVISION = re.compile(r"""^(revision|down_revision)\s*=\s*['"]([0-9a-f]+)['"]""", re.MULTILINE)


class Schemas(NamedTuple):
    """The revisions that a JupyterHub knows: all of them, and the newest, which it needs."""

    known: frozenset[str]
    head: str


class State(NamedTuple):
    """The hub's database for this JupyterHub: its revision, the revision that the hub needs, and a copy that has it."""

    state: str
    database: str | None
    hub: str
    copy: str | None


def schemas(scripts: Iterable[str]) -> Schemas:
    """Return the revisions, from the texts of the migration scripts.

    Raises HubError unless exactly one of them is the newest.
    """
    own: set[str] = set()
    before: set[str] = set()
    for text in scripts:
        for kind, revision in _REVISION.findall(text):
            (own if kind == "revision" else before).add(revision)
    heads = own - before
    if len(heads) != 1:
        raise HubError(
            f"JupyterHub's migrations have {len(heads)} newest revisions instead of one; use a tested version."
        )
    return Schemas(frozenset(own), heads.pop())


def compare(revision: str | None, known: Schemas) -> str:
    """Compare the revision of a database (None: there is none) with those that a JupyterHub knows."""
    if revision is None:
        return ABSENT
    if revision == known.head:
        return CURRENT
    return OLDER if revision in known.known else NEWER


def observe(database: Path | None = None) -> State:
    """Return the state of the hub's database, without loading JupyterHub (a second at each start)."""
    known = schemas(path.read_text(encoding="utf-8") for path in sorted(_migrations().glob("*.py")))
    path = database or database_file()
    if path is None:
        return State(UNMANAGED, None, known.head, None)
    revision = revision_of(path)
    return State(compare(revision, known), revision, known.head, newest_copy(path, known.head))


def database_file() -> Path | None:
    """Return the SQLite file of the hub, None when its database is something else."""
    url = configured_db_url(CONFIG_FILE)
    return Path(url.removeprefix("sqlite:///").partition("?")[0]) if url.startswith("sqlite:///") else None


def revision_of(path: Path) -> str | None:
    """Return the revision of a database, None when there is no file or nothing in it yet.

    Raises HubError when the file is not a database, or is damaged.
    """
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        raise HubError(_damaged(path, str(error))) from error
    return str(row[0]) if row else None


def newest_copy(path: Path, revision: str) -> str | None:
    """Return the newest copy with that revision in the directory of the database."""
    copies = sorted(path.parent.glob(f"{path.name}.{revision}.*Z"))
    return str(copies[-1]) if copies else None


def upgrade() -> str | None:
    """Upgrade an older database; return the copy of the old one, None when no upgrade was needed.

    No hub may run meanwhile. Raises HubError when a newer JupyterHub wrote the database, or the upgrade fails. The
    database is then unchanged.
    """
    found, path = observe(), database_file()
    if found.state == NEWER:
        raise HubError(newer_problem(found))
    if found.state != OLDER or path is None:
        return None
    staging = path.with_name(f".{path.name}.upgrade")
    _copy(path, staging)
    _migrate(staging)
    if revision_of(staging) != found.hub:
        raise HubError(
            f"the database {path} is still at revision {revision_of(staging)} after the upgrade to {found.hub}."
        )
    return _replace(path, staging, str(found.database))


def restore() -> str | None:
    """Restore the newest copy that fits; return where the replaced database is kept, None when none was replaced.

    No hub may run meanwhile. Raises HubError when there is no copy.
    """
    found, path = observe(), database_file()
    if found.state != NEWER or path is None:
        return None
    if found.copy is None:
        raise HubError(newer_problem(found))
    staging = path.with_name(f".{path.name}.restore")
    _copy(Path(found.copy), staging)
    return _replace(path, staging, str(found.database))


def newer_problem(found: State) -> str:
    """Return why this JupyterHub cannot use the database, and what to do."""
    way = f"its copy {found.copy} fits, but lacks all later changes" if found.copy else "there is no copy that fits"
    return (
        f"the hub's database has schema {found.database}, which is newer than this JupyterHub's ({found.hub}); {way}. "
        "Set jupyterhub_version back to the newer one."
    )


def _migrations() -> Path:
    package = importlib.util.find_spec("jupyterhub")
    if package is None or package.origin is None:
        raise HubError("this image has no JupyterHub; build it again.")
    return Path(package.origin).parent / "alembic" / "versions"


def _damaged(path: Path, problem: str) -> str:
    return f"the database {path} is damaged ({problem}); restore it from a backup."


def _copy(source: Path, target: Path) -> None:
    """Copy a database consistently and check the copy."""
    target.unlink(missing_ok=True)
    try:
        with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as old, sqlite3.connect(target) as new:
            old.backup(new)
            result = new.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        result = str(error)
    if result != "ok":
        raise HubError(_damaged(source, result))
    os.chmod(target, 0o600)


def _migrate(path: Path) -> None:
    from jupyterhub.dbutil import write_alembic_ini

    ini = Path("/tmp", f"alembic-{os.getpid()}.ini")  # noqa: S108 - the container's own, and gone with it
    write_alembic_ini(str(ini), f"sqlite:///{path}")
    command = [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    ini.unlink()
    if done.returncode:
        raise HubError(f"the database could not be upgraded and is unchanged: {done.stdout.strip()[-2000:]}")


def _replace(path: Path, staging: Path, revision: str) -> str:
    """Replace the database with `staging`; return where the old one is kept."""
    kept = path.with_name(f"{path.name}.{revision}.{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}")
    with staging.open("rb") as file:
        os.fsync(file.fileno())
    kept.unlink(missing_ok=True)
    os.link(path, kept)
    os.replace(staging, path)
    return str(kept)


def main(argv: list[str] | None = None) -> int:
    """Run the command; print JSON, or one line on stderr and return 1."""
    parser = argparse.ArgumentParser(prog="jupyterhub_deploy_hub.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the database is newer than this JupyterHub")
    parser.add_argument("--restore", action="store_true", help="restore the newest copy that fits this JupyterHub")
    options = parser.parse_args(argv)
    os.umask(0o077)
    try:
        kept = restore() if options.restore else None
        found = observe()
        if options.check and found.state == NEWER:
            raise HubError(newer_problem(found))
        print(json.dumps({**found._asdict(), "kept": kept}))
    except HubError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
