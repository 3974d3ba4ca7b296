"""The hub's database and secrets as files: what a backup brings beside them, and how it takes their place.

The database lies in the data volume, the secrets in ``/etc``: no one step replaces both. So a mark is written first,
which tells the new files from the old by their inodes. Then the secrets change places, and last, in one step, the
database: from then on the new state is the one that counts, and before it the old one. Whatever kill comes in between,
the next run finds the mark and goes back, or finishes (:func:`recover`).

=========================  ============================================================================================
``home/.restoring``        beside the volume's ``_data``: the run that is going on, or was killed; root's alone
``…/_data``                what was extracted from the archive
``…/old``                  the old database (a hard link) and a copy of the old secrets
``…/mark``                 written before anything is replaced: the inodes of the new secrets and the new database
``…/back``                 written when the new state is to be taken back
``<config>/.secrets-new``  the new secrets; after the exchange, the old ones
``<config>/.secrets-old``  the old ones for the moment between two renames, where there is no exchange
``home/before-<time>``     what a restore has replaced
=========================  ============================================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.backup.hub_state import DATABASE
from ansible.module_utils.jupyterhub_deploy.backup.store import stem_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import sync_directory
from ansible.module_utils.jupyterhub_deploy.hub import secrets
from ansible.module_utils.jupyterhub_deploy.restore import swap

SECRETS, OLD, MARK, BACK = "secrets", "old", "mark", "back"
# What SQLite keeps beside a database while it writes. A database without its own is not whole, one with another's is
# destroyed by it.
JOURNALS = ("-journal", "-wal", "-shm")
# Between containers of this host alone, and the proxy that runs has the one that is here: nobody's connection is cut.
OF_THE_HOST = "proxy_token"


class Places:
    """Where the state of one hub is, and where a run puts what it needs.

    :param home: the directory of the data volume, in which its ``_data`` is.
    :param config_dir: the hub's directory in ``/etc``.
    """

    def __init__(self, home: str, config_dir: str) -> None:
        self.home, self.config = Path(home), Path(config_dir)
        self.data = self.home / swap.DATA
        self.database = self.data / DATABASE
        self.secrets = self.config / SECRETS
        self.staging = self.home / swap.STAGING
        self.new_tree = self.staging / swap.DATA
        self.new_database = self.new_tree / DATABASE
        self.new_secrets = self.config / f".{SECRETS}-new"
        self.aside = self.config / f".{SECRETS}-old"
        self.old = self.staging / OLD
        self.mark, self.back = self.staging / MARK, self.staging / BACK


def prove(places: Places, archive: str) -> None:
    """Look whether what was extracted is the state of a hub.

    :param archive: its path, for messages.
    :raises DeployError: it is not, or its database is damaged.
    """
    for parent, folders, names in os.walk(places.new_tree):
        for name in folders + names:
            kind = os.lstat(os.path.join(parent, name)).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise DeployError(f"{name} in {archive} is neither file nor directory; no backup of a hub has that")
    for path, there in ((places.new_database, os.path.isfile), (places.new_tree / SECRETS, os.path.isdir)):
        if not there(path):
            raise DeployError(f"there is no {path.name} in {archive}; it is no backup of a hub's state")
    try:
        with contextlib.closing(sqlite3.connect(f"{places.new_database.as_uri()}?mode=ro", uri=True)) as database:
            ((verdict,), *_) = database.execute("PRAGMA integrity_check").fetchall()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        verdict, tables = str(error), set()
    if verdict != "ok":
        raise DeployError(f"the database in {archive} is damaged ({verdict}); choose another backup")
    missing = {"users", "alembic_version"} - tables
    if missing:
        raise DeployError(f"the database in {archive} has no table {min(missing)}: it is no JupyterHub's")


def prepare(places: Places) -> None:
    """Make the new state ready to take the old one's place: owners, modes, and secrets where they belong."""
    os.chown(places.new_database, 0, 0)
    os.chmod(places.new_database, secrets.FILE_MODE)
    places.config.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove(places.new_secrets)
    # Each file gets its mode only after its content, and everybody may look into /etc.
    places.new_secrets.mkdir(mode=0o700)
    shutil.copytree(places.new_tree / SECRETS, places.new_secrets, dirs_exist_ok=True)
    if places.secrets.is_dir():
        for name in sorted(os.listdir(places.secrets)):
            # What the backup does not have stays: a secret that is newer than the backup, or the operator's own. Not
            # the note that the hub is to be told of a password, which went with the password.
            kept = name == OF_THE_HOST or not (places.new_secrets / name).exists()
            if kept and name != secrets.PENDING and (places.secrets / name).is_file():
                shutil.copyfile(places.secrets / name, places.new_secrets / name)
    for parent, _, names in os.walk(places.new_secrets):
        for path, mode in [(parent, 0o700)] + [(os.path.join(parent, name), 0o600) for name in names]:
            os.chown(path, 0, 0)
            os.chmod(path, mode)


def put_in_place(places: Places) -> None:
    """Replace database and secrets. No hub may run.

    :raises DeployError: it cannot be; both are as they were, or will be after :func:`recover`.
    """
    try:
        _settle(places.database)
        places.old.mkdir(mode=0o700)
        for path in (places.database, *_journals(places.database)):
            if path.exists():
                os.link(path, places.old / path.name)
        if places.secrets.is_dir():
            shutil.copytree(places.secrets, places.old / SECRETS)
        os.sync()  # volume and /etc may be on two file systems
        inodes = {SECRETS: _inode(places.new_secrets), DATABASE: _inode(places.new_database)}
        _write(places.mark, json.dumps(inodes))
        _exchange_secrets(places)
        for path in _journals(places.database):
            path.unlink()
        os.replace(places.new_database, places.database)
        sync_directory(str(places.data))
        sync_directory(str(places.staging))
    except OSError as error:
        raise DeployError(
            f"the hub's state in {places.data} and {places.config} cannot be replaced: {error}"
        ) from error


def take_back(places: Places) -> None:
    """Put back what :func:`put_in_place` has replaced. No hub may run."""
    _write(places.back, "")
    recover(places)


def keep(places: Places, keep_old: bool) -> str | None:
    """After :func:`put_in_place`, keep the old state and return where it is, or remove it."""
    kept = None
    if keep_old and places.old.is_dir() and os.listdir(places.old):
        name = swap.KEPT + stem_of(datetime.now(timezone.utc))
        path, number = places.home / name, 1
        while path.exists():
            number += 1
            path = places.home / f"{name}-{number}"
        os.rename(places.old, path)
        sync_directory(str(places.home))
        kept = str(path)
    _clear(places)
    return kept


def unfinished(places: Places) -> bool:
    """Tell whether a run was killed while it replaced the state."""
    return places.mark.exists()


def recover(places: Places) -> str | None:
    """Put right what a killed run has left; return where it kept the old state if the new one is in place.

    No hub may run when :func:`unfinished`.
    """
    found = _read_mark(places)
    if found is None:
        _clear(places)
        return None
    if not places.back.exists() and not places.new_database.exists():
        return keep(places, keep_old=True)  # the last step was done
    old = places.old / DATABASE
    if places.back.exists() and _inode(places.database) != _inode(old):
        for path in _journals(places.database):
            path.unlink()
        if old.exists():
            _link_over(old, places.database)
        else:
            places.database.unlink()
    for suffix in JOURNALS:  # there are some only where the old database was too damaged to be settled
        journal = places.old / (DATABASE + suffix)
        if journal.exists() and not (places.data / journal.name).exists():
            _link_over(journal, places.data / journal.name)
    if places.aside.exists():  # between two renames
        if not places.secrets.exists():
            os.rename(places.aside, places.secrets)
        else:
            os.rename(places.aside, places.new_secrets)
    if _inode(places.secrets) == found[SECRETS]:
        _exchange_secrets(places)
    sync_directory(str(places.data))
    _clear(places)
    return None


def _settle(database: Path) -> None:
    """Have SQLite undo what a hub that was killed had begun to write, so that the file alone is the database."""
    if not database.exists():
        return
    # One that is too damaged for that is kept as it is, with its journal.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        opened.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _exchange_secrets(places: Places) -> None:
    """Let the two directories of secrets change places; called again, they change back."""
    if not places.secrets.exists():
        os.rename(places.new_secrets, places.secrets)
    elif not places.new_secrets.exists():
        os.rename(places.secrets, places.new_secrets)  # there were none before
    elif not swap.exchange(str(places.new_secrets), str(places.secrets)):
        os.rename(places.secrets, places.aside)
        os.rename(places.new_secrets, places.secrets)
        os.rename(places.aside, places.new_secrets)
    sync_directory(str(places.config))


def _journals(database: Path) -> list[Path]:
    """Return what SQLite has beside a database."""
    return [path for suffix in JOURNALS if (path := database.with_name(database.name + suffix)).exists()]


def _link_over(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.back")
    partial.unlink(missing_ok=True)
    os.link(source, partial)
    os.replace(partial, target)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, path)
    sync_directory(str(path.parent))


def _read_mark(places: Places) -> dict[str, int] | None:
    try:
        return dict(json.loads(places.mark.read_text(encoding="ascii")))
    except FileNotFoundError:
        return None


def _clear(places: Places) -> None:
    # The staging first: without its mark nothing tells which secrets the others are.
    swap.discard(str(places.home), str(places.staging))
    _remove(places.new_secrets)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None
