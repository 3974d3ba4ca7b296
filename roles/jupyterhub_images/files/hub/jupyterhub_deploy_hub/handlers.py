"""Replacements for faulty pages of NativeAuthenticator, with the library's templates except for the list of accounts.

Each class names the fault of jupyterhub-nativeauthenticator 1.3.0 that it fixes.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from nativeauthenticator import handlers as native
from nativeauthenticator.orm import UserInfo
from tornado import web
from tornado.escape import url_escape

from . import hashing
from .lockout import waiting_time
from .passwords import PREPARED, digest_of
from .user_deletion import cancel_start, refuse_with_directory

SIGN_UP_CLOSED = "Sign-up is closed. Ask an administrator for an account."


def too_many(message: str, seconds: int) -> web.HTTPError:
    """Return the answer to a client that has to wait; ``{}`` in the message becomes the time."""
    error = web.HTTPError(429, message.format(waiting_time(seconds)))
    error.headers = {"Retry-After": str(seconds)}  # JupyterHub sends the headers of an exception
    return error


class _NoStatsd:
    """Replaces what JupyterHub 6 removed and the library's login still calls: every login was a 500."""

    def timer(self, *_: Any) -> _NoStatsd:
        return self

    def start(self) -> _NoStatsd:
        return self

    def stop(self, **_: Any) -> None:
        """Measure nothing."""


class Login(native.LoginHandler):
    """``/login``: show an error (an expired form, a lock-out) on the page.

    The library's ``_render`` does not take the ``sync`` that the hub passes since 5.3, which made it an empty 403.
    """

    if not hasattr(BaseHandler, "statsd"):
        statsd = _NoStatsd()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._more: dict[str, Any] = {}

    def _render(self, login_error: str | None = None, username: str | None = None, **more: Any) -> Any:
        self._more = more
        return super()._render(login_error=login_error, username=username)

    def render_template(self, name: str, **context: Any) -> Any:
        if name == "native-login.html":
            context = {**self._more, **context}
            multi = self.authenticator.multi
            if multi is not None:
                name, context["services"] = "signin.html", multi.services(self.hub.base_url)
        return super().render_template(name, **context)


class _Form(BaseHandler):
    """Report an expired form as such; the hub's own message is about a cookie and an argument."""

    def check_xsrf_cookie(self) -> None:
        try:
            super().check_xsrf_cookie()
        except web.HTTPError as error:
            self.log.warning("%s: %s", self.request.path, error)
            raise web.HTTPError(403, "This form has expired. Go back, reload the page and try again.") from None


class SignUp(_Form, native.SignUpHandler):
    """``/signup``: show the actual problem instead of a list of possible ones."""

    def prepare(self) -> Any:
        """Show that sign-up is closed, where the library has the page of an address that does not exist."""
        if not self.authenticator.enable_signup:
            raise web.HTTPError(403, SIGN_UP_CLOSED)
        return super().prepare()

    async def post(self) -> None:
        """Refuse too many accounts of one network address, and hash the password without blocking the hub."""
        self._refuse_too_many()
        username = self.get_body_argument("username", strip=False)
        password = self.get_body_argument("signup_password", strip=False)
        # Only the right ones: a hash takes a quarter of a second of a processor.
        if not self._is_confirmed(password) or self.authenticator.sign_up_problem(username, password):
            await super().post()
            return
        async with hashing.TURNS:
            self._refuse_too_many()
            PREPARED.set(await hashing.in_thread(digest_of, password))
            await super().post()

    def _refuse_too_many(self) -> None:
        wait = self.authenticator.sign_up_wait(self)
        if wait:
            raise too_many("Too many accounts were created from your network. Try again in {}.", wait)

    def get_result_message(self, user: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
        username = self.get_body_argument("username", strip=False)
        password = self.get_body_argument("signup_password", strip=False)
        refused = user is None and self._is_confirmed(password)
        problem = self.authenticator.sign_up_problem(username, password) if refused else None
        if problem:
            return "alert-danger", problem
        if user is not None:
            self.authenticator.count_sign_up(self)
        alert, message = super().get_result_message(user, *args, **kwargs)
        if user is not None and not user.is_authorized and not user.login_email_sent:
            message = "Your account was created. You can sign in as soon as an administrator has authorized it."
        return alert, message

    def _is_confirmed(self, password: str) -> bool:
        return password == self.get_body_argument("signup_password_confirmation", strip=False)


class Accounts(native.AuthorizationAreaHandler):
    """``/authorize``: the list of accounts, with buttons that post (see Authorize).

    It includes users that an administrator added and that have no password yet, unless they sign in at a provider.
    """

    @native.admin_users_scope
    async def get(self) -> None:
        accounts = self.db.query(UserInfo).order_by(UserInfo.is_authorized, UserInfo.username).all()
        names = {account.username for account in accounts}
        users = [user.name for user in self.db.query(orm.User).order_by(orm.User.name)]
        without = [name for name in users if name not in names and self.authenticator.may_have_password(name)]
        html = await self.render_template(
            "accounts.html",
            accounts=accounts,
            without_password=without,
            declared_admins=self.authenticator.admin_users,
            ask_email=self.authenticator.ask_email_on_signup,
        )
        self.finish(html)


def _refuse_to_change_admin(handler: Any, name: str) -> None:
    """Raise HTTPError if an administrator would be changed by a user who has only the scope, as JupyterHub does."""
    user = handler.find_user(name)
    is_admin = name in handler.authenticator.admin_users or (user is not None and user.admin)
    if is_admin and not handler.current_user.admin:
        raise web.HTTPError(403, "Only administrators can change administrators.")


class Authorize(_Form, native.ToggleAuthorizationHandler):
    """``/authorize/NAME``: the library toggles on a GET, which any web page can cause, and leaves sessions open."""

    @native.admin_users_scope
    async def get(self, slug: str) -> None:
        self.redirect(self.hub.base_url + "authorize")

    @native.admin_users_scope
    async def post(self, slug: str) -> None:
        account = self.authenticator.get_user(slug)
        if account is None:
            raise web.HTTPError(404, f"There is no account {slug}.")
        _refuse_to_change_admin(self, account.username)
        authorized = self.get_body_argument("authorized") == "yes"
        if not authorized and account.username in self.authenticator.admin_users:
            raise web.HTTPError(409, f"{account.username} is the administrator of this hub and stays authorized.")
        account.is_authorized = authorized
        self.db.commit()
        self.log.info("%s %s %s", self.current_user.name, "authorized" if authorized else "unauthorized", slug)
        if not authorized:
            await self._end(account.username)
        self.redirect(self.hub.base_url + "authorize#" + url_escape(account.username))

    async def _end(self, name: str) -> None:
        """Sign the user out everywhere and stop the servers: an open terminal is not checked again."""
        self.authenticator.end_sessions(name, servers_too=True)
        user = self.find_user(name)
        for server, spawner in list(user.spawners.items()) if user is not None else []:
            was_starting = await cancel_start(spawner)
            if not spawner.pending and (was_starting or spawner.active):
                await self.stop_single_user(user, server)


class Discard(_Form, native.DiscardHandler):
    """``/discard/NAME``: on a POST only, as `Authorize`."""

    @native.admin_users_scope
    async def get(self, user_name: str) -> None:
        self.redirect(self.hub.base_url + "authorize")

    @native.admin_users_scope
    async def post(self, user_name: str) -> None:
        _refuse_to_change_admin(self, user_name)
        user = self.find_user(user_name)
        if user is not None and user.active:
            raise web.HTTPError(409, f"The server of {user_name} is running. Stop it first.")
        if user is not None:
            refuse_with_directory(self, user.name)
        await native.DiscardHandler.get(self, user_name)


class _PasswordPage(_Form, native.LocalBase):
    """Shared by both password pages."""

    async def show(self, template: str, name: str, problem: str | None = None, done: str | None = None) -> None:
        """Show the form again, with the result."""
        alert = {"result_message": problem or done, "alert": "alert-danger" if problem else "alert-success"}
        if problem:
            self.set_status(400)
        self.finish(await self.render_template(template, user_name=name, **(alert if problem or done else {})))

    def new_password(self, name: str) -> tuple[str, str | None]:
        """Return the new password, and why it is refused (None: it is not)."""
        password = self.get_body_argument("new_password", strip=False)
        if password != self.get_body_argument("new_password_confirmation", strip=False):
            return password, "The new password and its confirmation differ. Please try again."
        return password, self.authenticator.password_problem(name, password)


class ChangePassword(_PasswordPage):
    """``/change-password``: the library fails with a 500 for users without a native account, and for 73 bytes."""

    @web.authenticated
    async def get(self) -> None:
        self._account()
        await self.show("change-password.html", self.current_user.name)

    @web.authenticated
    async def post(self) -> None:
        user = self.current_user
        self._account()
        password, problem = self.new_password(user.name)
        try:
            old = self.get_body_argument("old_password", strip=False)
            await self.authenticator.verify(self, user.name, old, second_factor=False)  # the page has no field for it
        except web.HTTPError as error:
            wrong = "Your current password was incorrect. Please try again."
            problem = error.log_message if error.status_code == 429 else wrong
        if problem:
            await self.show("change-password.html", user.name, problem)
            return
        self.authenticator.set_password(user.name, await hashing.digest(password))
        self.set_login_cookie(user)  # keeps this browser signed in; all others are signed out
        done = "Your password has been changed. You are signed out everywhere else, and your API tokens have ended."
        await self.show("change-password.html", user.name, done=done)

    def _account(self) -> None:
        if self.authenticator.get_user(self.current_user.name) is None:
            raise web.HTTPError(404, "You sign in without a password here, so there is none to change.")


class ChangePasswordAdmin(_PasswordPage):
    """``/change-password/NAME``: also sets the first password of a user that an administrator added."""

    @native.admin_users_scope
    async def get(self, user_name: str) -> None:
        await self.show("change-password-admin.html", self._known(user_name))

    @native.admin_users_scope
    async def post(self, user_name: str) -> None:
        name = self._known(user_name)
        password, problem = self.new_password(name)
        if problem:
            await self.show("change-password-admin.html", name, problem)
            return
        self.authenticator.set_password(name, await hashing.digest(password))
        if name == self.current_user.name:
            self.set_login_cookie(self.current_user)
        done = f"The password of {name} has been changed. {name} is signed out everywhere; API tokens have ended."
        await self.show("change-password-admin.html", name, done=done)

    def _known(self, user_name: str) -> str:
        name = self.authenticator.normalize_username(user_name)
        _refuse_to_change_admin(self, name)
        if self.authenticator.get_user(name) is not None:
            return name
        if self.find_user(name) is None:
            raise web.HTTPError(404, f"There is no user {name}.")
        if not self.authenticator.may_have_password(name):
            raise web.HTTPError(404, f"{name} signs in at a provider and has no password here.")
        return name


OVERRIDES = {
    native.LoginHandler: Login,
    native.SignUpHandler: SignUp,
    native.AuthorizationAreaHandler: Accounts,
    native.ToggleAuthorizationHandler: Authorize,
    native.DiscardHandler: Discard,
    native.ChangePasswordHandler: ChangePassword,
    native.ChangePasswordAdminHandler: ChangePasswordAdmin,
}
