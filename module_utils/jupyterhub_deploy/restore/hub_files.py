"""Replace the files of the hub's state, its database and secrets, by those of a backup.

The database is in the data volume, the secrets are in ``/etc``: no single step replaces both. So a mark is written
first, with the inodes of the new files. Then the secrets are exchanged, and last, in one step, the database. Before
that step the old state is valid, after it the new one. After a kill at any step, the next run finds the mark and goes
back or finishes (:func:`recover`).

=========================  ============================================================================================
``home/.restoring``        beside the volume's ``_data``: the run that is in progress, or was killed; only for root
``…/_data``                what was extracted from the archive, and the record of this restore for the hub
``…/old``                  the old database and record (hard links) and a copy of the old secrets
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
from ansible.module_utils.jupyterhub_deploy.errors import DeployError, reason
from ansible.module_utils.jupyterhub_deploy.files import sync_directory, write_atomically
from ansible.module_utils.jupyterhub_deploy.hub import secrets
from ansible.module_utils.jupyterhub_deploy.restore import swap

SECRETS, OLD, MARK, BACK = "secrets", "old", "mark", "back"
READY = "ready"  # becomes BACK by being renamed, which also works on a full disk
# SQLite keeps these beside a database while it writes. Without its own journal, a database is incomplete; the journal
# of another database destroys it.
JOURNALS = ("-journal", "-wal", "-shm")
RESTORED = "restored.json"  # in the data volume; the hub image has the same name
# Only the containers of this host use it. The running proxy has the host's token, so its connections continue.
OF_THE_HOST = "proxy_token"


class Places:
    """The paths of the state of one hub, and of the files that a run needs.

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
        self.record, self.new_record = self.data / RESTORED, self.new_tree / RESTORED
        self.new_secrets = self.config / f".{SECRETS}-new"
        self.aside = self.config / f".{SECRETS}-old"
        self.old = self.staging / OLD
        self.mark, self.back, self.ready = (self.staging / name for name in (MARK, BACK, READY))


def check_state(places: Places, archive: str) -> None:
    """Check that the extracted files are the state of a hub.

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
            raise DeployError(f"there is no {path.name} in {archive}; it is not a backup of a hub's state")
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
        raise DeployError(f"the database in {archive} has no table {min(missing)}: it is not JupyterHub's")


def prepare(places: Places) -> None:
    """Prepare the new state: set owners and modes, and copy the secrets beside the old ones."""
    os.chown(places.new_database, 0, 0)
    os.chmod(places.new_database, secrets.FILE_MODE)
    places.config.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove(places.new_secrets)
    # Each file gets its mode only after its content, and every user can read /etc.
    places.new_secrets.mkdir(mode=0o700)
    shutil.copytree(places.new_tree / SECRETS, places.new_secrets, dirs_exist_ok=True)
    if places.secrets.is_dir():
        for name in sorted(os.listdir(places.secrets)):
            # Keep the secrets that the backup does not have: newer ones, and the operator's own. Do not keep the note
            # that a password is pending for the hub: the password is replaced.
            kept = name == OF_THE_HOST or not (places.new_secrets / name).exists()
            if kept and name != secrets.PENDING and (places.secrets / name).is_file():
                shutil.copyfile(places.secrets / name, places.new_secrets / name)
    for parent, _, names in os.walk(places.new_secrets):
        for path, mode in [(parent, 0o700)] + [(os.path.join(parent, name), 0o600) for name in names]:
            os.chown(path, 0, 0)
            os.chmod(path, mode)


def put_in_place(places: Places, backup: datetime) -> None:
    """Replace database and secrets. No hub may run.

    :param backup: when the backup was made.
    :raises DeployError: it cannot be; both are as they were, or will be after :func:`recover`.
    """
    try:
        # Before anything is replaced, because the disk may be full.
        _write_record(places.new_record, backup, datetime.now(timezone.utc))
        _roll_back(places.database)
        places.old.mkdir(mode=0o700)
        for path in (places.record, places.database, *_journals(places.database)):
            if path.exists():
                os.link(path, places.old / path.name)
        if places.secrets.is_dir():
            shutil.copytree(places.secrets, places.old / SECRETS)
        write_atomically(str(places.ready), "")
        os.sync()  # volume and /etc may be on two file systems
        inodes = {SECRETS: swap.inode(places.new_secrets), DATABASE: swap.inode(places.new_database)}
        swap.mark(str(places.mark), inodes)
        sync_directory(str(places.staging))
        _exchange_secrets(places)
        for path in _journals(places.database):
            path.unlink()
        os.replace(places.new_database, places.database)
        os.replace(places.new_record, places.record)
        sync_directory(str(places.data))
        sync_directory(str(places.staging))
    except OSError as error:
        raise DeployError(
            f"the hub's state in {places.data} and {places.config} cannot be replaced: {reason(error)}; the hub keeps "
            "the old one. Fix that, then run the same again"
        ) from error


def decide_back(places: Places) -> None:
    """Let :func:`recover` put back what :func:`put_in_place` has replaced, also if this run is killed first."""
    if not places.back.exists():
        os.rename(places.ready, places.back)
        sync_directory(str(places.staging))


def take_back(places: Places) -> None:
    """Put back what :func:`put_in_place` has replaced. No hub may run."""
    decide_back(places)
    recover(places)


def keep(places: Places, keep_old: bool) -> str | None:
    """After :func:`put_in_place`, keep the old state and return where it is, or remove it."""
    kept = None
    if places.new_record.exists():  # killed right after the database was replaced
        os.replace(places.new_record, places.record)
        sync_directory(str(places.data))
    if keep_old and places.old.is_dir() and os.listdir(places.old):
        kept = swap.kept_path(str(places.home))
        os.rename(places.old, kept)
        sync_directory(str(places.home))
    _clear(places)
    return kept


def unfinished(places: Places) -> bool:
    """Return whether a run was killed while it replaced the state."""
    return os.path.lexists(places.mark)


def is_complete(places: Places) -> bool:
    """Return whether a run that was killed had replaced all, and was not about to put it back."""
    return not places.back.exists() and not places.new_database.exists()


def has_leftovers(places: Places) -> bool:
    """Return whether a run was killed at any time, and left files."""
    return any(map(os.path.lexists, (places.staging, places.home / swap.DISCARDED, places.new_secrets)))


def recover(places: Places) -> str | None:
    """Clean up after a killed run; return where it kept the old state if the new one is in place.

    No hub may run when :func:`unfinished`.
    """
    new_secrets = swap.read_mark(str(places.mark), SECRETS)
    if new_secrets is None:
        _clear(places)
        return None
    if is_complete(places):
        return keep(places, keep_old=True)  # the last step was done
    old = places.old / DATABASE
    if places.back.exists() and swap.inode(places.database) != swap.inode(old):
        for path in _journals(places.database):
            path.unlink()
        if old.exists():
            _link_over(old, places.database)
        else:
            places.database.unlink()
    if places.back.exists() and not places.new_record.exists():
        if (places.old / RESTORED).exists():
            _link_over(places.old / RESTORED, places.record)
        else:
            places.record.unlink(missing_ok=True)
    for suffix in JOURNALS:  # only if the old database was too damaged for SQLite
        journal = places.old / (DATABASE + suffix)
        if journal.exists() and not (places.data / journal.name).exists():
            _link_over(journal, places.data / journal.name)
    if places.aside.exists():  # between two renames
        if not places.secrets.exists():
            os.rename(places.aside, places.secrets)
        else:
            os.rename(places.aside, places.new_secrets)
    if swap.inode(places.secrets) == new_secrets:
        _exchange_secrets(places)
    sync_directory(str(places.data))
    _clear(places)
    return None


def _write_record(path: Path, backup: datetime, restored: datetime) -> None:
    """Record a restore for the hub, which does not know the users who were added after the backup."""
    moments = {"backup": backup, "restored": restored}
    text = {name: one.replace(tzinfo=None).isoformat(timespec="seconds") for name, one in moments.items()}
    write_atomically(str(path), json.dumps(text))


def _roll_back(database: Path) -> None:
    """Undo, with SQLite, the unfinished writes of a killed hub, so that the file is the complete database."""
    if not database.exists():
        return
    # A database that is too damaged for that is kept as it is, with its journal.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        opened.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _exchange_secrets(places: Places) -> None:
    """Exchange the two directories of secrets; a second call exchanges them back."""
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
    """Return the existing journals of a database."""
    return [path for suffix in JOURNALS if (path := database.with_name(database.name + suffix)).exists()]


def _link_over(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.back")
    partial.unlink(missing_ok=True)
    os.link(source, partial)
    os.replace(partial, target)


def _clear(places: Places) -> None:
    # The staging directory with its mark comes first: the mark identifies the new secrets.
    swap.discard(str(places.home), str(places.staging))
    _remove(places.new_secrets)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
