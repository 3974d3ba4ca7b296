"""The pages of NativeAuthenticator that need a mend; the library's own templates, but for the list of accounts.

Each class names the fault of jupyterhub-nativeauthenticator 1.3.0 that it is for.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from nativeauthenticator import handlers as native
from nativeauthenticator.orm import UserInfo
from tornado import web
from tornado.escape import url_escape


class _NoStatsd:
    """Stands in for what JupyterHub 6 removed and the library's login still calls: every login was a 500."""

    def timer(self, *_: Any) -> _NoStatsd:
        return self

    def start(self) -> _NoStatsd:
        return self

    def stop(self, **_: Any) -> None:
        """Nothing is measured."""


class Login(native.LoginHandler):
    """``/login``: an error (an expired form, a lock-out) is shown on the page.

    The library's ``_render`` does not take the ``sync`` that the hub passes since 5.3: an empty 403.
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
            several = self.authenticator.several
            if several is not None:
                name, context["services"] = "signin.html", several.services(self.hub.base_url)
        return super().render_template(name, **context)


class _Form(BaseHandler):
    """A form that was left open too long says so; the hub's own words are about a cookie and an argument."""

    def check_xsrf_cookie(self) -> None:
        try:
            super().check_xsrf_cookie()
        except web.HTTPError as error:
            self.log.warning("%s: %s", self.request.path, error)
            raise web.HTTPError(403, "This form has expired. Go back, reload the page and try again.") from None


class SignUp(_Form, native.SignUpHandler):
    """``/signup``: say what is wrong instead of everything that could be."""

    def get_result_message(self, user: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
        username = self.get_body_argument("username", strip=False)
        password = self.get_body_argument("signup_password", strip=False)
        confirmed = password == self.get_body_argument("signup_password_confirmation", strip=False)
        problem = self.authenticator.sign_up_problem(username, password) if user is None and confirmed else None
        if problem:
            return "alert-danger", problem
        alert, message = super().get_result_message(user, *args, **kwargs)
        if user is not None and not user.is_authorized and not user.login_email_sent:
            message = "Your account was created. You can sign in as soon as an administrator has authorized it."
        return alert, message


class Accounts(native.AuthorizationAreaHandler):
    """``/authorize``: the list of accounts, with buttons that post (see Authorize).

    People whom an administrator added by hand have no password yet and are listed too, unless they sign in elsewhere.
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


class Authorize(_Form, native.ToggleAuthorizationHandler):
    """``/authorize/NAME``: the library toggles on a GET that any web page can cause, and leaves sessions open."""

    @native.admin_users_scope
    async def get(self, slug: str) -> None:
        self.redirect(self.hub.base_url + "authorize")

    @native.admin_users_scope
    async def post(self, slug: str) -> None:
        account = self.authenticator.get_user(slug)
        if account is None:
            raise web.HTTPError(404, f"There is no account {slug}.")
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
        """Sign the person out everywhere and stop what they run: an open terminal asks nobody again."""
        self.authenticator.end_sessions(name, tokens_too=True)
        user = self.find_user(name)
        for server, spawner in list(user.spawners.items()) if user is not None else []:
            if spawner.active and not spawner.pending:
                await self.stop_single_user(user, server)


class Discard(_Form, native.DiscardHandler):
    """``/discard/NAME``: on a POST only, as Authorize."""

    @native.admin_users_scope
    async def get(self, user_name: str) -> None:
        self.redirect(self.hub.base_url + "authorize")

    @native.admin_users_scope
    async def post(self, user_name: str) -> None:
        user = self.find_user(user_name)
        if user is not None and user.active:
            raise web.HTTPError(409, f"The server of {user_name} is running. Stop it first.")
        await native.DiscardHandler.get(self, user_name)


class _PasswordPage(_Form, native.LocalBase):
    """What both password pages share."""

    async def show(self, template: str, name: str, problem: str | None = None, done: str | None = None) -> None:
        """Show the form again, with what came of it."""
        alert = {"result_message": problem or done, "alert": "alert-danger" if problem else "alert-success"}
        if problem:
            self.set_status(400)
        self.finish(await self.render_template(template, user_name=name, **(alert if problem or done else {})))

    def new_password(self, name: str) -> tuple[str, str | None]:
        """Return the new password, and why it is refused."""
        password = self.get_body_argument("new_password", strip=False)
        if password != self.get_body_argument("new_password_confirmation", strip=False):
            return password, "The new password and its confirmation differ. Please try again."
        return password, self.authenticator.password_problem(name, password)


class ChangePassword(_PasswordPage):
    """``/change-password``: the library ends in a 500 for people without an account of its own, and for 73 bytes."""

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
            await self.authenticator.verify(self, user.name, self.get_body_argument("old_password", strip=False))
        except web.HTTPError as error:
            wrong = "Your current password was incorrect. Please try again."
            problem = error.log_message if error.status_code == 429 else wrong
        if problem:
            await self.show("change-password.html", user.name, problem)
            return
        self.authenticator.set_password(user.name, password)
        self.set_login_cookie(user)  # every other browser is signed out now, this one is not
        done = "Your password has been changed. You are signed out everywhere else."
        await self.show("change-password.html", user.name, done=done)

    def _account(self) -> None:
        if self.authenticator.get_user(self.current_user.name) is None:
            raise web.HTTPError(404, "You sign in without a password here; there is none to change.")


class ChangePasswordAdmin(_PasswordPage):
    """``/change-password/NAME``: also gives a first password to somebody whom an administrator added by hand."""

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
        self.authenticator.set_password(name, password)
        if name == self.current_user.name:
            self.set_login_cookie(self.current_user)
        done = f"The password of {name} has been changed. {name} is signed out everywhere."
        await self.show("change-password-admin.html", name, done=done)

    def _known(self, user_name: str) -> str:
        name = self.authenticator.normalize_username(user_name)
        if self.authenticator.get_user(name) is not None:
            return name
        if self.find_user(name) is None:
            raise web.HTTPError(404, f"There is no user {name}.")
        if not self.authenticator.may_have_password(name):
            raise web.HTTPError(404, f"{name} signs in elsewhere and has no password here.")
        return name


MENDED = {
    native.LoginHandler: Login,
    native.SignUpHandler: SignUp,
    native.AuthorizationAreaHandler: Accounts,
    native.ToggleAuthorizationHandler: Authorize,
    native.DiscardHandler: Discard,
    native.ChangePasswordHandler: ChangePassword,
    native.ChangePasswordAdminHandler: ChangePasswordAdmin,
}
