"""End a user's sessions. NativeAuthenticator 1.3.0 keeps them open after a change of the password."""

from __future__ import annotations

from typing import Any

#: The OAuth client of tokens from the Token page, from the API, and of running servers.
_TOKENS_BY_NAME = "jupyterhub"


def end_sessions(db: Any, user: Any, tokens_too: bool = False) -> None:
    """End every browser session of the hub user `user` (a row of JupyterHub's table ``users``).

    The login cookie contains ``cookie_id``. Notebook servers got tokens at sign-in, which they cache, so they may
    accept a deleted one for up to five minutes. `tokens_too` also deletes the tokens that the user created, and those
    with which running servers report their activity.
    """
    from jupyterhub import orm

    user.cookie_id = orm.new_token()
    tokens = db.query(orm.APIToken).filter(orm.APIToken.user_id == user.id)
    if not tokens_too:
        tokens = tokens.filter(orm.APIToken.client_id != _TOKENS_BY_NAME)
    for token in tokens.all():
        db.delete(token)
    for code in db.query(orm.OAuthCode).filter(orm.OAuthCode.user_id == user.id).all():
        db.delete(code)
    db.commit()
