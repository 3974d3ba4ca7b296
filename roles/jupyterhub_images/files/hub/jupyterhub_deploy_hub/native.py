"""NativeAuthenticator with fixes for JupyterHub 5.5 and 6.1.

Each fix names the fault of jupyterhub-nativeauthenticator 1.3.0, and can be removed when upstream has one. Settings are
the library's (``c.NativeAuthenticator.…``); handlers.py has the pages.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from typing import Any

from jupyterhub import orm
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from tornado import web
from traitlets import Integer

from . import handlers, hashing, lockout
from .attempts import FailedSignIns
from .names import CULLER_SERVICE, DEPLOY_SERVICE, REHEARSAL_PREFIX, is_reserved, name_problem, normalise
from .passwords import PREPARED, digest_of, password_problem
from .sessions import end_sessions
from .sign_ups import SignUps

KNOWN_BROWSER_COOKIE = "jupyterhub-known-browser"
KNOWN_BROWSER_DAYS = 180
#: Seconds in which new accounts of one network address are counted.
SIGN_UP_WINDOW = 3600
WRONG = "Invalid username or password."


class HubNative(NativeAuthenticator):
    """Native accounts: nobody can sign up under the admin's name, or lock another user out."""

    failed_logins_per_address = Integer(
        50, config=True, help="Wrong passwords for all names from one network address before a wait; 0: no limit."
    )
    sign_ups_per_address = Integer(
        100, config=True, help="New accounts in one hour from one network address before a wait; 0: no limit."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failed_sign_ins = FailedSignIns(self.db)
        self.sign_ups = SignUps(self.db)

    @property
    def multi(self) -> Any:
        """The authenticator that this one is a part of, or None when it is the only one."""
        return self.parent if hasattr(self.parent, "joined_names") else None

    # ---- accounts and names

    def get_user(self, username: str) -> Any:
        """Return the account of `username` from the database: other programs write to it while the hub runs."""
        name = self.normalize_username(username)
        return self.db.query(UserInfo).filter(UserInfo.username == name).populate_existing().first()

    def normalize_username(self, username: str) -> str:
        """Map all Unicode spellings of a name to one; the library treats them as different names."""
        return super().normalize_username(normalise(username))

    def validate_username(self, username: str) -> bool:
        """Refuse ``:``, and white space that the library accepts (a tab got HTML into its authorisation page)."""
        return name_problem(username) is None and super().validate_username(username)

    def is_reserved(self, username: str) -> bool:
        """Return whether `username` belongs to an administrator, by the configuration or in the hub's database.

        So is a name that has a role or a group, by the configuration or by an administrator: its owner gets a password
        from an administrator. Names of temporary users are reserved, too: a rehearsal removes such users with all that
        they have. So are those of the hub's own services.

        The library authorises anyone who signs up under a name in ``admin_users``, even while sign-up is closed.
        """
        if normalise(username).startswith(REHEARSAL_PREFIX):
            return True
        # JupyterHub refuses a service the deletion of a user of its name.
        declared = {normalise(os.environ.get("JUPYTERHUB_ADMIN", "")), DEPLOY_SERVICE, CULLER_SERVICE} | set(
            self.admin_users
        )
        if self.multi is not None:
            declared |= self.multi.joined_names
        user = orm.User.find(self.db, self.normalize_username(username))
        if user is not None and (user.admin or user.groups or any(role.name != "user" for role in user.roles)):
            return True
        return is_reserved(username, {name for name in declared if name})

    def has_signed_in(self, username: str) -> bool:
        """Return whether someone has signed in as `username`: at a provider, or with an account discarded since.

        A new user of the name would get the old one's files. An administrator can set a password for it.
        """
        user = orm.User.find(self.db, self.normalize_username(username))
        return user is not None and user.last_activity is not None

    def may_have_password(self, username: str) -> bool:
        """Return whether `username` can have a native account: users who sign in at a provider must not get one."""
        return self.validate_username(username) and (self.multi is None or username not in self.multi.joined_names)

    # ---- passwords

    def password_problem(self, username: str, password: str) -> str | None:
        """Return why `password` is refused for `username`, as shown to the user, or None."""
        is_common = self.is_password_common if self.check_common_password else None
        return password_problem(password, username, self.minimum_password_length, is_common)

    def is_password_strong(self, password: str) -> bool:
        """Replace the library's check, which fails with a ValueError of bcrypt 5 for more than 72 bytes."""
        return self.password_problem("", password) is None

    def set_password(self, username: str, digest: bytes) -> None:
        """Set the password of `username`, and end the sessions of the old one (the library leaves them open).

        Creates the account of a user that an administrator added. The caller has called `password_problem` and, in a
        thread, `digest_of`.
        """
        row = self.get_user(username)
        if row is None:
            self.db.add(UserInfo(username=self.normalize_username(username), password=digest, is_authorized=True))
        else:
            row.password = digest
        self.db.commit()
        self.end_sessions(username)

    def change_password(self, username: str, new_password: str) -> bool | None:
        """Replace the library's function, for callers other than our pages."""
        if self.get_user(username) is None or self.password_problem(username, new_password):
            return None
        self.set_password(username, digest_of(new_password))
        return True

    def end_sessions(self, username: str, servers_too: bool = False) -> None:
        """Sign `username` out everywhere."""
        user = orm.User.find(self.db, self.normalize_username(username))
        if user is not None:
            end_sessions(self.db, user, servers_too)

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        """End the session of a user who is no longer authorised; called every ``auth_refresh_age`` seconds."""
        row = self.get_user(user.name)
        if row is not None and not row.is_authorized:
            return False
        return await super().refresh_user(user, handler)

    # ---- sign-up

    def sign_up_problem(self, username: str, password: str) -> str | None:
        """Return why this sign-up is refused, as shown to the user, or None."""
        name = self.normalize_username(username)
        if not self.enable_signup:
            return handlers.SIGN_UP_CLOSED
        problem = name_problem(name)
        if problem:
            return problem
        if self.is_reserved(name) or self.user_exists(name) or self.has_signed_in(name):
            return f"The user name {name} is taken or reserved. Choose another, or ask an administrator."
        if not self.validate_username(name):
            return f"The user name {name} does not fit this hub's rules."
        return self.password_problem(name, password)

    def create_user(self, username: str, password: str, **kwargs: Any) -> Any:
        """Create an account, unless there is a problem: every sign-up calls this.

        The library hashes the password here, and the hub stands still meanwhile; `SignUp` does it in a thread before.
        """
        if self.sign_up_problem(username, password):
            return None
        name = self.normalize_username(username)
        # Not the library's get_authed_users, which asks the database for each account; this one is new.
        authorized = self.open_signup or name in self.allowed_users | self.admin_users
        try:
            account = UserInfo(
                username=name, password=PREPARED.get() or digest_of(password), is_authorized=authorized, **kwargs
            )
        except AssertionError:  # the library's check of the e-mail address
            return None
        pattern = self.allow_self_approval_for
        if pattern and not authorized and re.match(pattern, account.email):
            self.send_approval_email(account.email, self.generate_approval_url(name))
            account.login_email_sent = True
        self.db.add(account)
        self.sign_ups.add(name, account.is_authorized)
        self.db.commit()
        return account

    def delete_user(self, user: Any) -> Any:
        """Delete the account of a user, and the record of its sign-up: the next of that name is another one."""
        self.sign_ups.forget(user.name)
        return super().delete_user(user)

    def sign_up_wait(self, handler: Any) -> int:
        """Return how many seconds the client has to wait before it can create another account."""
        return self.failed_sign_ins.wait(self._sign_ups_key(handler), self.sign_ups_per_address, SIGN_UP_WINDOW)

    def count_sign_up(self, handler: Any) -> None:
        """Count a new account for the client's network address."""
        self.failed_sign_ins.count(self._sign_ups_key(handler), SIGN_UP_WINDOW)

    def _sign_ups_key(self, handler: Any) -> str:
        return lockout.record_key(lockout.SIGN_UPS, lockout.source_of(None, self._client_address(handler)))

    # ---- sign-in

    async def authenticate(self, handler: Any, data: Any) -> str:
        """Return the name of the user who signs in; raise HTTPError with the text for the login page otherwise.

        The library keeps its lock-out in memory, counts only names that exist, locks the name for everybody, and shows
        whether an unauthorised user's password is right while the name is locked.
        """
        given = data if isinstance(data, dict) else {}  # the API passes anything
        username, password, code = (str(given.get(key) or "") for key in ("username", "password", "2fa"))
        name = self.normalize_username(username)
        row = await self.verify(handler, name, password, code)
        if not row.is_authorized:
            raise web.HTTPError(403, f"{name} has not been authorized by an administrator yet.")
        user = orm.User.find(self.db, name)
        if user is not None:
            self.db.refresh(user)  # the cookie needs the current ``cookie_id``, which other programs may have changed
        if handler is not None:
            handler._set_cookie(
                KNOWN_BROWSER_COOKIE,
                f"{secrets.token_urlsafe(12)} {name}",
                path=handler.hub.base_url,
                expires_days=KNOWN_BROWSER_DAYS,
            )
        return name

    async def verify(
        self, handler: Any, name: str, password: str, code: str = "", *, second_factor: bool = True
    ) -> Any:
        """Return the account of `name` if `password` is right; count a failure and raise HTTPError otherwise.

        With `second_factor`, accounts that have one need its code, too.

        The failure is counted first and removed on success, so that simultaneous attempts cannot exceed the limit.
        Those of all names together are counted afterwards, because a class may share an address, and checked again at
        one's turn. The comparison takes a quarter of a second in a thread; the library's blocks the hub.
        """
        limit, lock_seconds = self.allowed_failed_logins, self.seconds_before_next_try
        browser = self._known_browser(handler, name)
        source = lockout.source_of(browser, self._client_address(handler))
        key, all_names = lockout.record_key(name, source), lockout.record_key(lockout.ALL_NAMES, source)
        now = time.time()
        failures = self.failed_sign_ins.get(key)

        def wait_for_others() -> int:
            limit = 0 if browser else self.failed_logins_per_address
            return self.failed_sign_ins.wait(all_names, limit, lock_seconds)

        def refuse(wait: int) -> None:
            if wait:
                self.log.warning("Sign-in for %.64r refused: too many failures from %s", name, source)
                raise handlers.too_many("Too many failed attempts. Try again in {}.", wait)

        refuse(max(lockout.seconds_to_wait(failures, now, limit, lock_seconds), wait_for_others()))
        if limit:
            self.failed_sign_ins.put(key, lockout.one_more(failures, now, lock_seconds))
        async with hashing.TURNS:
            refuse(wait_for_others())
            row = self.get_user(name) if name else None
            right = await hashing.in_thread(hashing.matches, password, row.password if row is not None else None)
        needs_code = second_factor and row is not None and row.has_2fa
        if row is not None and right and (not needs_code or row.is_valid_token(code)):
            self.failed_sign_ins.forget(key)
            return row
        if not browser:
            self.failed_sign_ins.count(all_names, lock_seconds)
        self.log.warning("Failed sign-in for %.64r from %s", name, source)
        raise web.HTTPError(403, WRONG)

    def _known_browser(self, handler: Any, name: str) -> str | None:
        """Return the id of the browser if `name` has signed in from it before."""
        raw = handler.get_secure_cookie(KNOWN_BROWSER_COOKIE, max_age_days=KNOWN_BROWSER_DAYS) if handler else None
        browser_id, _, owner = raw.decode("utf-8", "replace").partition(" ") if raw else ("", "", "")
        return browser_id if browser_id and owner == name else None

    def _client_address(self, handler: Any) -> str:
        """Return the address of the browser; do not trust headers of a notebook that connects to the hub directly."""
        if handler is None:
            return ""
        request = handler.request
        peer = str((getattr(request.connection.context, "address", None) or [request.remote_ip])[0])
        if self.db.query(orm.Server).filter(orm.Server.ip == peer).first() is not None:
            return peer
        hub = self.parent if self.multi is None else self.multi.parent
        trusted = getattr(hub, "trusted_downstream_ips", None) or []
        return lockout.client_address(peer, ",".join(request.headers.get_list("X-Forwarded-For")), trusted)

    # ---- pages

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """Return the library's pages, with replacements for the faulty ones."""
        return [(path, handlers.OVERRIDES.get(handler, handler)) for path, handler in super().get_handlers(app)]
