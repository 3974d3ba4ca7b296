"""End what a person is signed in to. Upstream (NativeAuthenticator 1.3.0) lets sessions outlive their password."""

from __future__ import annotations

from typing import Any

#: The OAuth client of tokens that were asked for by name (on the Token page, by the API, by a running server).
_TOKENS_BY_NAME = "jupyterhub"


def end_sessions(db: Any, user: Any, tokens_too: bool = False) -> None:
    """End every browser session of the hub user `user` (a row of JupyterHub's table ``users``).

    The login cookie carries ``cookie_id``; notebook servers hold tokens that were issued to them at sign-in, and may
    trust a token that is gone for up to five minutes more (their cache). With `tokens_too` the tokens that the person
    made go as well, and so does the one that a running server reports its activity with.
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
