"""End a user's sessions. NativeAuthenticator 1.3.0 keeps them open after a change of the password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def end_sessions(db: Any, user: Any, servers_too: bool = False) -> None:
    """End every browser session and every token of the hub user `user` (a row of JupyterHub's table ``users``).

    The login cookie contains ``cookie_id``. Notebook servers got tokens at sign-in, which they cache, so they may
    accept a deleted one for up to five minutes. `servers_too` also deletes the tokens with which running servers
    report their activity.
    """
    from jupyterhub import orm

    user.cookie_id = orm.new_token()
    tokens = db.query(orm.APIToken).filter(orm.APIToken.user_id == user.id).all()
    kept = [] if servers_too else list(_of_servers(user, tokens))
    for token in tokens:
        if token not in kept:
            db.delete(token)
    for code in db.query(orm.OAuthCode).filter(orm.OAuthCode.user_id == user.id).all():
        db.delete(code)
    db.commit()


def _of_servers(user: Any, tokens: list[Any]) -> Iterator[Any]:
    """Yield the token of each running server: the last one with JupyterHub's note before the start of the server.

    A token that somebody else created in the name of the user may have the same note.
    """
    for server in user.orm_spawners.values():
        if server.started is not None:
            named = [one for one in tokens if (one.note or "").startswith("Server at ")]
            own = [one for one in named if one.created <= server.started]
            yield from sorted(own, key=lambda one: one.created)[-1:]
