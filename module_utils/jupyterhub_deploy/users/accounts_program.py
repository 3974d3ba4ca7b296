"""What is done to sign-in accounts, inside the hub's container: its interpreter runs this file, nothing of the host's.

One line of JSON comes in by standard input, because a process list shows arguments and `docker inspect` environments;
one line of JSON goes out, with the reason when something is refused. The hub's own package (`jupyterhub_deploy_hub`)
says which names and passwords there can be, where the database is and how sessions end. See users/sync.py for the
host's part.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from typing import Any

# No password has this digest; comparing with it takes as long as with any other. An account that has it reserves its
# name: nobody signs up under it, and nobody signs in until it has a password.
LOCKED = b"$2b$12$" + b"." * 53

# What the hub lets only an administrator grant: its service `deploy` may not, so the token is made when it is needed.
TOKEN_SECONDS = 120
TOKEN_NOTE = "jupyterhub_users, from the host"  # noqa: S105  (what it is for, not the token)


class RefusedError(Exception):
    """Something the operator can mend; the text says what."""


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the configuration and the table of accounts have about the names of a request.

    `names`: as declared. `passwords`: by name. `compare`: names whose password is to be compared even if the account is
    in use. `native`: whether there are accounts at all.
    """
    import bcrypt

    from jupyterhub_deploy_hub.names import name_problem, normalise
    from jupyterhub_deploy_hub.passwords import password_problem
    from jupyterhub_deploy_hub.signin import administrators, elsewhere

    url, config = _configured()
    spelt = {name: normalise(name) for name in request["names"]}
    prefixes = {name: elsewhere(config, name) for name in spelt.values()}
    problems = {given: name_problem(name.removeprefix(prefixes[name] or "")) for given, name in spelt.items()}
    refused = {given: password_problem(text, given, 1, None) for given, text in request["passwords"].items()}
    rows = _rows(url) if request["native"] else {}
    accounts = {}
    for given, name in spelt.items():
        if name in rows:
            digest, authorized = rows[name]
            password = None if refused.get(given) else request["passwords"].get(given)
            # A quarter of a second each, so only where the answer matters.
            asked = password is not None and digest != LOCKED and (given in request["compare"] or not authorized)
            right = asked and bcrypt.checkpw(str(password).encode(), digest)
            accounts[name] = {"authorized": authorized, "locked": digest == LOCKED, "password_right": right}
    return {
        "admin_user": normalise(os.environ.get("JUPYTERHUB_ADMIN", "")),
        # Whom the hub makes administrators at each sign-in.
        "admins_by_configuration": sorted({normalise(name) for name in administrators(config)}),
        "names": spelt,
        "elsewhere": [name for name, prefix in prefixes.items() if prefix is not None],
        "name_problems": {given: problem for given, problem in problems.items() if problem},
        "password_problems": {given: problem for given, problem in refused.items() if problem},
        "accounts": accounts,
    }


def change(request: dict[str, Any]) -> dict[str, Any]:
    """Write accounts, end sessions, and return a token of an administrator's that lives for two minutes.

    It is the first one's of `token_of` who is there: without native accounts the deployment's own admin is not.
    Each of `accounts` has `name`, `new`, `authorized`, `password` (None: as it is), `end` (None, `sessions` or `all`).
    """
    from jupyterhub.orm import APIToken, User, new_session_factory

    from jupyterhub_deploy_hub.sessions import end_sessions

    url, _ = _configured()
    with new_session_factory(url)() as session:
        for wanted in request["accounts"]:
            _write(session, wanted)
            user = User.find(session, wanted["name"])
            if wanted["end"] and user is not None:
                end_sessions(session, user, tokens_too=wanted["end"] == "all")
        known = [User.find(session, name) for name in request["token_of"]]
        # First those about whom no provider is asked (see oauth.py): what is known of them there may be out of date.
        admins = sorted((one for one in known if one and one.admin), key=lambda one: bool(one.encrypted_auth_state))
        if not admins:
            raise RefusedError(
                f"none of {', '.join(request['token_of'])} is an administrator of this hub, although the settings say "
                "so; run site.yml"
            )
        name = admins[0].name
        scopes = ["admin:users", "admin:groups", f"tokens!user={name}"]
        token = admins[0].new_api_token(expires_in=TOKEN_SECONDS, note=TOKEN_NOTE, scopes=scopes)
        row = APIToken.find(session, token)
        # SQLite gives the number of a deleted token to the next one. The hub, which did not see the deletion, would
        # take this row for the old one and refuse it; so it gets a number that no token ever had.
        row.id = 2**30 + secrets.randbelow(2**30)
        session.commit()
        return {"token": token, "token_id": row.api_id, "token_of": name}


def _write(session: Any, wanted: dict[str, Any]) -> None:
    import bcrypt
    from nativeauthenticator.orm import UserInfo

    from jupyterhub_deploy_hub.seed import _insert_unless_there

    password = wanted["password"]
    digest = None if password is None else bcrypt.hashpw(password.encode(), bcrypt.gensalt())
    if wanted["new"] and not _insert_unless_there(session, UserInfo, wanted["name"], digest or LOCKED):
        raise RefusedError(
            f"somebody has signed up as {wanted['name']} in this moment; look at the account, then run again"
        )
    row = UserInfo.find(session, wanted["name"])
    if row is None:
        raise RefusedError(f"the account {wanted['name']} was removed in this moment; run again")
    if digest is not None:
        row.password = digest
    row.is_authorized = wanted["authorized"]
    session.commit()


def _configured() -> tuple[str, Any]:
    """Return where the hub keeps its database, and its configuration."""
    from traitlets.config.loader import PyFileConfigLoader

    from jupyterhub_deploy_hub import CONFIG_FILE
    from jupyterhub_deploy_hub.seed import configured_db_url

    return configured_db_url(CONFIG_FILE), PyFileConfigLoader(str(CONFIG_FILE)).load_config()


def _rows(url: str) -> dict[str, tuple[bytes, bool]]:
    """Read the table of accounts without loading JupyterHub, which takes a second."""
    from sqlalchemy import create_engine, text

    with create_engine(url).connect() as connection:
        found = connection.execute(text("SELECT username, password, is_authorized FROM users_info"))
        return {row[0]: (bytes(row[1]), bool(row[2])) for row in found}


def main() -> int:
    """Answer the request; exit 1 when it was refused."""
    os.umask(0o077)
    request = json.loads(sys.stdin.readline())
    try:
        answer = {"look": look, "change": change}[request["do"]](request)
    except Exception as error:
        # Only the first line of what the database says: the next ones have the statement's values.
        reason = str(getattr(error, "orig", None) or error).splitlines()
        kind = "" if isinstance(error, RefusedError) else f"{type(error).__name__}: "
        answer = {"error": kind + (reason[0] if reason else "no reason given")}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
