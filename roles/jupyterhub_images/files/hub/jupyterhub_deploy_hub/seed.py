"""Create the admin's account in the hub's database before anyone can sign up under its name.

``python -m jupyterhub_deploy_hub.seed [--set-password]`` prints ``{"changed": true|false}``. An existing account keeps
its password, unless ``--set-password`` sets the one in the file. The password comes from a file only, because a process
list shows arguments and environments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from . import ADMIN_PASSWORD_FILE, CONFIG_FILE, DEFAULT_DB_URL, HubError
from .names import name_problem, normalise
from .passwords import digest_of, too_long


def ensure_admin(set_password: bool = False) -> bool:
    """Ensure that ``$JUPYTERHUB_ADMIN`` can sign in; return whether anything changed. Raises HubError."""
    name = admin_name()
    url = configured_db_url(CONFIG_FILE)
    if not set_password and account_exists_in_sqlite(url, name):
        return False
    return _write(name, read_password(ADMIN_PASSWORD_FILE), url, set_password)


def admin_name() -> str:
    """Return the normalised name from ``$JUPYTERHUB_ADMIN``; raise HubError if it is not valid."""
    name = normalise(os.environ.get("JUPYTERHUB_ADMIN", ""))
    problem = name_problem(name)
    if problem:
        raise HubError(f"JUPYTERHUB_ADMIN={name!r} is not a valid name. {problem} Set jupyterhub_admin_user.")
    return name


def read_password(path: Path) -> str:
    """Return the password in the file at `path` (without one trailing newline)."""
    try:
        password = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise HubError(f"the admin's password cannot be read from {path}: {error}; run make site again.") from error
    if not password:
        raise HubError(f"the admin's password file {path} is empty; set jupyterhub_admin_password or delete the file.")
    if too_long(password):
        raise HubError(f"the admin's password in {path} is longer than 72 bytes; set a shorter one.")
    return password


def load_config(config_file: Path) -> Any:
    """Return the hub's configuration; raise HubError when the file does not load."""
    from traitlets.config.loader import PyFileConfigLoader

    try:
        return PyFileConfigLoader(str(config_file)).load_config()
    except Exception as error:  # the operator's Python may raise anything
        raise HubError(f"{config_file} does not load ({type(error).__name__}: {error}).") from error


def db_url(config: Any) -> str:
    """Return ``c.JupyterHub.db_url``, which the operator's extra configuration may have set."""
    return str(config.get("JupyterHub", {}).get("db_url", DEFAULT_DB_URL))


def configured_db_url(config_file: Path) -> str:
    """Return where the hub keeps its database, by its configuration file if there is one."""
    return db_url(load_config(config_file)) if config_file.exists() else DEFAULT_DB_URL


def account_exists_in_sqlite(url: str, name: str) -> bool:
    """Return whether the account exists, without loading JupyterHub: at a restart that would take a second."""
    return name in (account_names(url) or ())


def account_names(url: str) -> set[str] | None:
    """Return the names of all accounts, None if they cannot be read; a database that does not exist yet has none."""
    if not url.startswith("sqlite:///"):
        return None
    path = url.removeprefix("sqlite:///").partition("?")[0]
    if not os.path.exists(path):
        return set()
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'users_info'").fetchone():
                return set()
            return {str(row[0]) for row in db.execute("SELECT username FROM users_info")}
    except sqlite3.Error:
        return None


def _write(name: str, password: str, url: str, set_password: bool) -> bool:
    import bcrypt
    import sqlalchemy.exc
    from jupyterhub.orm import DatabaseSchemaMismatch, new_session_factory
    from nativeauthenticator.orm import UserInfo

    try:
        # Creates and stamps the schema of a new database: the hub does not start with only NativeAuthenticator's table.
        with new_session_factory(url)() as session:
            row = UserInfo.find(session, name)
            if row is None:
                return insert_account(session, name, digest_of(password))
            if not set_password or (row.is_authorized and bcrypt.checkpw(password.encode(), row.password)):
                return False
            row.password = digest_of(password)
            row.is_authorized = True
            _end_sessions(session, name)
            session.commit()
            return True
    except DatabaseSchemaMismatch as error:
        raise HubError(f"the database at {url} belongs to another version of JupyterHub: {error}") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error).splitlines()[0]
        raise HubError(f"the admin {name!r} cannot be written to the database: {reason}.") from error


def insert_account(session: Any, name: str, digest: bytes) -> bool:
    """Insert an account in one statement; return False when there is one: the column is not unique upstream."""
    from nativeauthenticator.orm import UserInfo
    from sqlalchemy import exists, insert, literal, select

    new = UserInfo(username=name, password=digest)  # generates the secret for two-factor codes
    values = {
        "username": literal(name),
        "password": literal(digest),
        "is_authorized": literal(True),
        "login_email_sent": literal(False),
        "has_2fa": literal(False),
        "otp_secret": literal(new.otp_secret),
    }
    missing = ~exists(select(UserInfo.id).where(UserInfo.username == name))
    done = session.execute(insert(UserInfo).from_select(list(values), select(*values.values()).where(missing)))
    session.commit()
    return bool(done.rowcount)


def _end_sessions(session: Any, name: str) -> None:
    from jupyterhub.orm import User

    from .sessions import end_sessions

    user = User.find(session, name)
    if user is not None:
        end_sessions(session, user)


def main(argv: list[str] | None = None) -> int:
    """Run the command; print JSON, or one line on stderr and return 1."""
    parser = argparse.ArgumentParser(prog="jupyterhub_deploy_hub.seed", description=__doc__)
    parser.add_argument(
        "--set-password", action="store_true", help="set the password of an existing account from the file"
    )
    options = parser.parse_args(argv)
    os.umask(0o077)
    try:
        changed = ensure_admin(set_password=options.set_password)
    except HubError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
