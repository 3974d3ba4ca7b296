"""NativeAuthenticator with its faults mended, on JupyterHub 5.5 and 6.1.

Each mend names the fault of jupyterhub-nativeauthenticator 1.3.0 that it is for, and can go when upstream has its own.
Settings are the library's (``c.NativeAuthenticator.…``); handlers.py has the pages.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import Any

import bcrypt
from jupyterhub import orm
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from tornado import web

from . import handlers, lockout
from .attempts import FailedSignIns
from .names import is_reserved, name_problem, normalise
from .passwords import password_problem, too_long
from .sessions import end_sessions

KNOWN_BROWSER_COOKIE = "jupyterhub-known-browser"
KNOWN_BROWSER_DAYS = 180
WRONG = "Invalid username or password."
#: Compared with for names that have no account, so that the time it takes does not tell which names have one.
_NO_DIGEST = b"$2b$12$" + b"." * 53


class HubNative(NativeAuthenticator):
    """Native accounts: sign-up that cannot take the admin's name, lock-out that cannot be turned on somebody else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failed_sign_ins = FailedSignIns(self.db)

    @property
    def several(self) -> Any:
        """The authenticator that this one is a part of, or None when native accounts are the only way to sign in."""
        return self.parent if hasattr(self.parent, "joined_names") else None

    # ---- accounts and names

    def get_user(self, username: str) -> Any:
        """Return the account of `username` as the database has it now: ``seed`` writes to it past the running hub."""
        name = self.normalize_username(username)
        return self.db.query(UserInfo).filter(UserInfo.username == name).populate_existing().first()

    def normalize_username(self, username: str) -> str:
        """Unicode has several spellings of one name, and the library tells them apart."""
        return super().normalize_username(normalise(username))

    def validate_username(self, username: str) -> bool:
        """Refuse ``:``, and white space that the library lets through (a tab got HTML into its authorisation page)."""
        return name_problem(username) is None and super().validate_username(username)

    def is_reserved(self, username: str) -> bool:
        """Say whether `username` is an administrator's, by the configuration or in the hub's database.

        The library authorises whoever registers a name in ``admin_users``, even while sign-up is closed.
        """
        declared = {normalise(os.environ.get("JUPYTERHUB_ADMIN", ""))} | set(self.admin_users)
        if self.several is not None:
            declared |= self.several.joined_names
        user = orm.User.find(self.db, self.normalize_username(username))
        return is_reserved(username, {name for name in declared if name}) or (user is not None and user.admin)

    def was_here(self, username: str) -> bool:
        """Say whether somebody has signed in as `username`: by another way, or with an account that was discarded.

        What they left would be the next one's. An administrator gives such a name a password on the page Accounts.
        """
        user = orm.User.find(self.db, self.normalize_username(username))
        return user is not None and user.last_activity is not None

    def may_have_password(self, username: str) -> bool:
        """Say whether `username` can be a native account's: who signs in elsewhere must not get a second way."""
        return self.validate_username(username) and (self.several is None or username not in self.several.joined_names)

    # ---- passwords

    def password_problem(self, username: str, password: str) -> str | None:
        """Return why `password` cannot be `username`'s, in words for the person, or None."""
        is_common = self.is_password_common if self.check_common_password else None
        return password_problem(password, username, self.minimum_password_length, is_common)

    def is_password_strong(self, password: str) -> bool:
        """The library's own check, kept for its other callers; over 72 bytes it ends in a ValueError of bcrypt 5."""
        return self.password_problem("", password) is None

    def set_password(self, username: str, password: str) -> None:
        """Give `username` a new password, and end the sessions that the old one opened (the library leaves them).

        Makes the account if the hub knows the user but the library does not: an administrator added the name by hand.
        The caller has asked `password_problem`.
        """
        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt())
        row = self.get_user(username)
        if row is None:
            self.db.add(UserInfo(username=self.normalize_username(username), password=digest, is_authorized=True))
        else:
            row.password = digest
        self.db.commit()
        self.end_sessions(username)

    def change_password(self, username: str, new_password: str) -> bool | None:
        """The library's entry point, for callers other than our pages."""
        if self.get_user(username) is None or self.password_problem(username, new_password):
            return None
        self.set_password(username, new_password)
        return True

    def end_sessions(self, username: str, tokens_too: bool = False) -> None:
        """Sign `username` out everywhere."""
        user = orm.User.find(self.db, self.normalize_username(username))
        if user is not None:
            end_sessions(self.db, user, tokens_too)

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        """Turn away whoever is not authorised any more (asked by the hub every ``auth_refresh_age`` seconds)."""
        row = self.get_user(user.name)
        if row is not None and not row.is_authorized:
            return False
        return await super().refresh_user(user, handler)

    # ---- sign-up

    def sign_up_problem(self, username: str, password: str) -> str | None:
        """Return why this person cannot sign up, in words for that person, or None."""
        name = self.normalize_username(username)
        if not self.enable_signup:
            return "Sign-up is closed. Ask an administrator for an account."
        problem = name_problem(name)
        if problem:
            return problem
        if self.is_reserved(name) or self.user_exists(name) or self.was_here(name):
            return f"The user name {name} is taken. Choose another."
        if not self.validate_username(name):
            return f"The user name {name} does not fit this hub's rules."
        return self.password_problem(name, password)

    def create_user(self, username: str, password: str, **kwargs: Any) -> Any:
        """Every way to a new account passes here, so here administrators' names are refused."""
        if self.sign_up_problem(username, password):
            return None
        return super().create_user(username, password, **kwargs)

    # ---- sign-in

    async def authenticate(self, handler: Any, data: Any) -> str:
        """Return the name of who signs in; raise HTTPError, whose text the sign-in page shows, for anybody else.

        Replaces the library's: its lock-out lived in memory, counted only names that exist, locked the name for
        everybody, and told an unauthorised user's password right or wrong while locked.
        """
        given = data if isinstance(data, dict) else {}  # the API hands over what it was sent
        username, password, code = (str(given.get(key) or "") for key in ("username", "password", "2fa"))
        name = self.normalize_username(username)
        row = await self.verify(handler, name, password, code)
        if not row.is_authorized:
            raise web.HTTPError(403, f"{name} has not been authorized by an administrator yet.")
        user = orm.User.find(self.db, name)
        if user is not None:
            self.db.refresh(user)  # seed may have ended the sessions: the cookie must carry what the database has
        if handler is not None:
            handler._set_cookie(
                KNOWN_BROWSER_COOKIE,
                f"{secrets.token_urlsafe(12)} {name}",
                path=handler.hub.base_url,
                expires_days=KNOWN_BROWSER_DAYS,
            )
        return name

    async def verify(self, handler: Any, name: str, password: str, code: str = "") -> Any:
        """Return the account of `name` if `password` is right; count a failure and raise HTTPError otherwise.

        The failure is counted first and forgiven on success, so that attempts at the same moment do not outrun the
        limit. The comparison, a quarter of a second of work, leaves the hub free for others (the library's does not).
        """
        limit, lock_seconds = self.allowed_failed_logins, self.seconds_before_next_try
        source = lockout.source_of(self._known_browser(handler, name), self._client_address(handler))
        key, now = lockout.record_key(name, source), time.time()
        failures = self.failed_sign_ins.get(key)
        wait = lockout.seconds_to_wait(failures, now, limit, lock_seconds)
        if wait:
            self.log.warning("Sign-in for %.64r refused: too many failures from %s", name, source)
            raise web.HTTPError(429, f"Too many failed attempts. Try again in {lockout.waiting_time(wait)}.")
        if limit:
            self.failed_sign_ins.put(key, lockout.one_more(failures, now, lock_seconds), now - lock_seconds)
        row = self.get_user(name) if name else None
        right = await asyncio.to_thread(_matches, password, row.password if row is not None else _NO_DIGEST)
        if row is not None and right and (not row.has_2fa or row.is_valid_token(code)):
            self.failed_sign_ins.forget(key)
            return row
        self.log.warning("Failed sign-in for %.64r from %s", name, source)
        raise web.HTTPError(403, WRONG)

    def _known_browser(self, handler: Any, name: str) -> str | None:
        """Return the mark of the browser if `name` has signed in from it."""
        raw = handler.get_secure_cookie(KNOWN_BROWSER_COOKIE, max_age_days=KNOWN_BROWSER_DAYS) if handler else None
        mark, _, owner = raw.decode("utf-8", "replace").partition(" ") if raw else ("", "", "")
        return mark if mark and owner == name else None

    def _client_address(self, handler: Any) -> str:
        """Return where the browser is; a notebook that asks the hub past the proxy is not believed."""
        if handler is None:
            return ""
        request = handler.request
        peer = str((getattr(request.connection.context, "address", None) or [request.remote_ip])[0])
        if self.db.query(orm.Server).filter(orm.Server.ip == peer).first() is not None:
            return peer
        hub = self.parent if self.several is None else self.several.parent
        trusted = getattr(hub, "trusted_downstream_ips", None) or []
        return lockout.client_address(peer, ",".join(request.headers.get_list("X-Forwarded-For")), trusted)

    # ---- pages

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The library's pages, those with a fault replaced."""
        return [(path, handlers.MENDED.get(handler, handler)) for path, handler in super().get_handlers(app)]


def _matches(password: str, digest: bytes) -> bool:
    """Compare as the library does, without its ValueError (a 500) for what bcrypt 5 cannot hash."""
    return not too_long(password) and "\0" not in password and bcrypt.checkpw(password.encode(), digest)
