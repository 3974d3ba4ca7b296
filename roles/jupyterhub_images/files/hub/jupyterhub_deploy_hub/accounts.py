"""Read, write and delete sign-in accounts, in the hub's container.

``python -m jupyterhub_deploy_hub.accounts`` reads one line of JSON from standard input, because a process list shows
arguments and ``docker inspect`` shows environments. The line names an `ACTIONS` entry in ``action``, with its
arguments. The answer is one line of JSON, ``{"error": …}`` with exit status 1 when the request is refused. A bug of
this program ends in a traceback on standard error, without an answer. The modules ``jupyterhub_users`` and
``jupyterhub_user`` send the requests from the host.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import CONFIG_FILE, HubError, seed
from .names import name_problem, normalise
from .passwords import digest_of, password_problem
from .sessions import end_sessions
from .signin import administrators, provider_prefix

#: No password has this digest, and comparing with it takes as long as with any other. An account with it reserves its
#: name: nobody can sign up under the name or sign in until the account gets a password.
LOCKED = b"$2b$12$" + b"." * 53

#: The service ``deploy`` must not grant administrator rights, so each run gets a token of an administrator.
TOKEN_SECONDS = 120
TOKEN_SCOPES = ("admin:users", "admin:groups")
TOKEN_NOTE = "jupyterhub_users, from the host"  # noqa: S105  (a note, not the token)

#: Seconds to wait while the hub writes to its SQLite database.
BUSY_SECONDS = 30


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Return the configured administrators, and for each of ``names`` its spelling, its problems and its account.

    ``passwords``: by name. ``compare``: names whose password is compared even if the account is in use. ``native``:
    whether the hub has accounts with passwords.
    """
    import bcrypt

    config = seed.load_config(CONFIG_FILE)
    names = {given: normalise(given) for given in request["names"]}
    prefixes = {name: provider_prefix(config, name) for name in names.values()}
    name_problems = {given: name_problem(name.removeprefix(prefixes[name] or "")) for given, name in names.items()}
    refused = {given: password_problem(text, given, 1, None) for given, text in request["passwords"].items()}
    rows = _rows(seed.db_url(config)) if request["native"] else {}
    accounts = {}
    for given, name in names.items():
        if name in rows:
            digest, authorized = rows[name]
            password = None if refused.get(given) else request["passwords"].get(given)
            # Each comparison takes a quarter of a second, so skip those whose result is not used.
            compare = password is not None and digest != LOCKED and (given in request["compare"] or not authorized)
            matches = compare and bcrypt.checkpw(str(password).encode(), digest)
            accounts[name] = {"authorized": authorized, "locked": digest == LOCKED, "password_right": matches}
    return {
        "admin_user": normalise(os.environ.get("JUPYTERHUB_ADMIN", "")),
        # Users that become administrators at each sign-in.
        "admins_by_configuration": sorted({normalise(name) for name in administrators(config)}),
        "names": names,
        "at_provider": [name for name, prefix in prefixes.items() if prefix is not None],
        "name_problems": {given: problem for given, problem in name_problems.items() if problem},
        "password_problems": {given: problem for given, problem in refused.items() if problem},
        "accounts": accounts,
    }


def write(request: dict[str, Any]) -> dict[str, Any]:
    """Write accounts, end sessions, and return a token of an administrator that is valid for two minutes.

    The token belongs to the first name in ``token_of`` that the hub knows as an administrator. Each of ``accounts`` has
    ``name``, ``new``, ``authorized``, ``password`` (None: unchanged) and ``end`` (None, ``sessions`` or ``all``).
    """
    from jupyterhub.orm import User, new_session_factory

    with new_session_factory(seed.configured_db_url(CONFIG_FILE))() as session:
        for account in request["accounts"]:
            _write_account(session, account)
            user = User.find(session, account["name"])
            if account["end"] and user is not None:
                end_sessions(session, user, servers_too=account["end"] == "all")
        return _new_token(session, request["token_of"], TOKEN_SCOPES, TOKEN_SECONDS, TOKEN_NOTE)


def token(request: dict[str, Any]) -> dict[str, Any]:
    """Return a token of an administrator as `write` does, with ``scopes``, valid for ``seconds``, and with ``note``."""
    from jupyterhub.orm import new_session_factory

    with new_session_factory(seed.configured_db_url(CONFIG_FILE))() as session:
        return _new_token(session, request["token_of"], request["scopes"], request["seconds"], request["note"])


def exists(request: dict[str, Any]) -> dict[str, Any]:
    """Return whether there is an account with exactly the name ``name``."""
    return {"exists": request["name"] in _rows(seed.configured_db_url(CONFIG_FILE))}


def delete(request: dict[str, Any]) -> dict[str, Any]:
    """Delete the account with exactly the name ``name``; return whether there was one."""
    with _engine(seed.configured_db_url(CONFIG_FILE)).begin() as connection:
        if not _has_accounts(connection):
            return {"deleted": False}
        return {"deleted": _delete(connection, request["name"])}


def unused(request: dict[str, Any]) -> dict[str, Any]:
    """Return the accounts that signed up since the time ``since`` and that nobody has used (see `sign_ups.unused`).

    ``keep``: names to leave out.
    """
    from . import sign_ups

    keep = {normalise(name) for name in request["keep"]}
    with _engine(seed.configured_db_url(CONFIG_FILE)).connect() as connection:
        found = sign_ups.unused(connection, request["since"])
    return {"accounts": [account for account in found if account["name"] not in keep]}


def discard(request: dict[str, Any]) -> dict[str, Any]:
    """Delete those of the accounts ``names`` that are still unused, and return their names.

    The hub deletes the accounts of users that it knows; those are left out here.
    """
    from . import sign_ups

    with _engine(seed.configured_db_url(CONFIG_FILE)).begin() as connection:
        found = {account["name"] for account in sign_ups.unused(connection, request["since"]) if not account["known"]}
        discarded = [name for name in request["names"] if name in found]
        for name in discarded:
            _delete(connection, name)
        return {"discarded": discarded}


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "read": read, "write": write, "token": token, "exists": exists, "delete": delete, "unused": unused,
    "discard": discard,
}  # fmt: skip


def _new_token(session: Any, token_of: list[str], scopes: Sequence[str], seconds: int, note: str) -> dict[str, Any]:
    from jupyterhub.orm import APIToken, User

    users = [User.find(session, name) for name in token_of]
    # Users without auth state first: the hub asks no provider about them (see oauth.py).
    admins = sorted(
        (user for user in users if user is not None and user.admin),
        key=lambda user: bool(user.encrypted_auth_state),
    )
    if not admins:
        raise HubError(
            f"none of {', '.join(token_of)} is an administrator of this hub, so its accounts cannot be "
            "changed; name one who can sign in, such as in admin_users of an authenticator, and run make site"
        )
    name = admins[0].name
    token = admins[0].new_api_token(expires_in=seconds, note=note, scopes=[*scopes, f"tokens!user={name}"])
    row = APIToken.find(session, token)
    # SQLite reuses the id of a deleted token. The running hub, which did not see the deletion, would take the new
    # row for the old one and refuse it, so the row gets an id that no token has had.
    row.id = 2**30 + secrets.randbelow(2**30)
    session.commit()
    return {"token": token, "token_id": row.api_id, "token_of": name}


def _delete(connection: Any, name: str) -> bool:
    """Delete an account and the record of its sign-up; return whether there was one."""
    from sqlalchemy import text

    from . import sign_ups

    sign_ups.forget(connection, name)
    return bool(connection.execute(text("DELETE FROM users_info WHERE username = :name"), {"name": name}).rowcount)


def _write_account(session: Any, account: dict[str, Any]) -> None:
    from nativeauthenticator.orm import UserInfo

    from . import sign_ups

    name, password = account["name"], account["password"]
    digest = None if password is None else digest_of(password)
    if account["new"] and not seed.insert_account(session, name, digest or LOCKED):
        raise HubError(f"someone has just signed up as {name}; check that account, then run the same again")
    row = UserInfo.find(session, name)
    if row is None:
        raise HubError(f"the account {name} has just been removed; run the same again")
    if digest is not None:
        row.password = digest
    row.is_authorized = account["authorized"]
    sign_ups.forget(session.connection(), name)  # from now on, it is the operator's
    session.commit()


def _rows(url: str) -> dict[str, tuple[bytes, bool]]:
    """Return digest and authorization of each account, without loading JupyterHub, which takes a second."""
    from sqlalchemy import text

    with _engine(url).connect() as connection:
        if not _has_accounts(connection):
            return {}
        found = connection.execute(text("SELECT username, password, is_authorized FROM users_info"))
        return {row[0]: (bytes(row[1]), bool(row[2])) for row in found}


def _engine(url: str) -> Any:
    from sqlalchemy import create_engine

    return create_engine(url, connect_args={"timeout": BUSY_SECONDS} if url.startswith("sqlite:") else {})


def _has_accounts(connection: Any) -> bool:
    """Return whether the table of accounts exists: a hub without native accounts never had it."""
    from sqlalchemy import inspect

    return bool(inspect(connection).has_table("users_info"))


def main() -> int:
    """Answer the request; return 1 when it is refused."""
    os.umask(0o077)
    request = json.loads(sys.stdin.readline())
    try:
        answer = ACTIONS[request["action"]](request)
    except HubError as error:
        answer = {"error": str(error)}
    except Exception as error:
        reason = _database_reason(error)
        if reason is None:
            raise  # a bug: the host shows the traceback
        answer = {"error": reason}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


def _database_reason(error: Exception) -> str | None:
    """Return why the database refused a statement, None for another error.

    Only the first line of the driver's message: SQLAlchemy's own text contains the values of the statement.
    """
    exceptions = sys.modules.get("sqlalchemy.exc")
    if exceptions is None or not isinstance(error, exceptions.DBAPIError):
        return None
    lines = str(error.orig).splitlines()
    return f"the hub's database refused: {lines[0] if lines else type(error.orig).__name__}"


if __name__ == "__main__":
    sys.exit(main())
