"""OAuthenticator's classes with words that people understand: for the person on the page, for the admin in the log.

Mended faults are those of oauthenticator 17.4.0; each mend names its own and can go when upstream has one. The classes
themselves are upstream's, and so are their settings (``c.GitHubOAuthenticator.…``).
"""

from __future__ import annotations

import json
from typing import Any

from jupyterhub.auth import Authenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthenticator
from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets import default

#: What providers answer when the hub's own registration is wrong; the first is the standard's, the second GitHub's.
_WRONG_HUB = ("invalid_client", "incorrect_client_credentials", "unauthorized_client")
#: ... and when the code that the person brought is too old, or was used before.
_WRONG_CODE = ("invalid_grant", "bad_verification_code")
_TOO_MANY = 429  # requests: neither yes nor no


class Understandable(OAuthenticator):
    """Mixed into an OAuthenticator class by `understandable`."""

    @default("custom_403_message")
    def _refusal(self) -> str:
        where = self.login_service
        return (
            f"{where} knows you, but this hub does not let you in. If you have another account at {where}, sign out "
            "there and try again; otherwise ask the administrator of this hub."
        )

    async def httpfetch(
        self, url: str, label: str = "fetching", parse_json: bool = True, raise_error: bool = True, **kwargs: Any
    ) -> Any:
        """Ask the provider; raise HTTPError with words for the person where upstream ends in a bare 500.

        A provider that refuses a person's own token (4xx) raises what upstream raises: `refresh_user` goes by it.
        """
        # GitLab's subgroups are quoted twice: https://github.com/jupyterhub/oauthenticator/issues/423
        url = url.replace("%252F", "%2F")
        asks_for_token = url == self.token_url
        try:
            answer = await super().httpfetch(url, label, False, raise_error, **kwargs)
            self._heed(url, answer)
            if not parse_json:
                return answer
            found = json.loads(answer.body.decode("utf-8", "replace")) if answer.body else None
        except HTTPClientError as error:
            if asks_for_token:
                body = error.response.body if error.response is not None else b""
                raise self._token_problem(_error_of(body), error.code) from error
            if 400 <= error.code < 500 and error.code != _TOO_MANY:
                raise
            raise self._silent(url, error) from error
        except (OSError, ValueError) as error:  # nobody listens, or it is no provider that answers
            raise self._silent(url, error) from error
        if asks_for_token and isinstance(found, dict) and "error" in found:
            raise self._token_problem(str(found["error"]), 200)
        return found

    def _heed(self, url: str, answer: Any) -> None:
        """Tell an answer to "is this person a member?" from none: upstream takes anything but yes for no, silently."""
        if answer.code >= 500 or answer.code == _TOO_MANY:
            raise self._silent(url, f"HTTP {answer.code}")
        if answer.code not in (200, 204, 404):
            self.log.warning(
                "%s answered %s to %s: %s", self.login_service, answer.code, url, (answer.body or b"")[:200]
            )

    def _token_problem(self, error: str, code: int) -> web.HTTPError:
        if error in _WRONG_HUB or (not error and code == 401):
            self.log.error(
                "%s refused this hub's client id or secret (%s): compare both with what %s shows for the hub's "
                "application, and run site.yml",
                self.login_service, error or code, self.login_service,
            )  # fmt: skip
            return _page(
                502, f"{self.login_service} does not accept this hub. Please tell the administrator of this hub."
            )
        if error in _WRONG_CODE:
            self.log.warning("%s: the code was too old, or used before (%s)", self.login_service, error)
            return _page(
                400, f"Signing in with {self.login_service} took too long, or was done twice. Please sign in again."
            )
        if code >= 500:
            return self._silent(str(self.token_url), f"HTTP {code}")
        self.log.error(
            "%s gave no token (%s %s): compare the callback URL %s with the one that is registered there",
            self.login_service, code, error, self.oauth_callback_url,
        )  # fmt: skip
        return _page(502, f"{self.login_service} did not let this hub know who you are. Please tell its administrator.")

    def _silent(self, url: str, error: Any) -> web.HTTPError:
        self.log.error("%s cannot be asked at %s: %s", self.login_service, url.partition("?")[0], error)
        return _page(
            503,
            f"{self.login_service} does not answer at the moment. Please try again later, or tell the administrator.",
        )

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """An answer that a token may not have (a scope that is missing) is a page too, not a bare 500."""
        try:
            return await super().get_authenticated_user(handler, data)
        except HTTPClientError as error:
            self.log.error(
                "%s refused to say who this is (HTTP %s): see the lines before", self.login_service, error.code
            )
            raise _page(
                502, f"{self.login_service} did not let this hub know who you are. Please tell its administrator."
            ) from error

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Whoever is signed in stays so while the provider is down; upstream answers every page with a 500.

        With auth state upstream refuses tokens of whoever has none: of servers that run when it is turned on, and of
        an administrator who was never here. Nobody can sign in again with a token, so it is not asked to.
        """
        by_token = handler is not None and handler.get_token() is not None
        if self.enable_auth_state and by_token and not await user.get_auth_state():
            return True
        try:
            return await super().refresh_user(user, handler, **kwargs)
        except web.HTTPError as error:
            if error.status_code != 503:
                raise
            return True


def understandable(cls: type[Authenticator]) -> type[Authenticator]:
    """Return a class like `cls`, with the mends if it is an OAuthenticator. Its settings stay those of `cls`."""
    if not issubclass(cls, OAuthenticator):
        return cls
    handler = type("Callback", (_Callback, cls.callback_handler), {})
    return type(cls.__name__, (Understandable, cls), {"callback_handler": handler, "__module__": __name__})


class _Callback(OAuthCallbackHandler):
    """Where the provider sends the person back to."""

    def _request_summary(self) -> str:
        """What tornado logs of a sign-in that fails, without the code in the address; the hub's own lines hide it."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    async def get(self) -> None:
        """Mark what ends here for templates/error.html, which has words and a way back for it."""
        try:
            await super().get()
        except web.HTTPError as error:
            error.not_signed_in = True
            raise

    def check_arguments(self) -> None:
        """Upstream's words are about cookies and arguments."""
        try:
            super().check_arguments()
        except web.HTTPError as error:
            label = self.authenticator.login_service
            self.log.warning("Signing in with %s: %s", label, error.log_message)
            if self.get_argument("error", "") == "access_denied":
                raise _page(403, f"You did not allow {label} to tell this hub who you are.") from None
            if self.get_argument("error", ""):
                raise _page(502, f"{label} refused this hub. Please tell the administrator of this hub.") from None
            raise _page(
                400, "This sign-in was begun too long ago, or in another window. Please sign in again."
            ) from None


def _page(status: int, message: str) -> web.HTTPError:
    """Return what the hub shows as an error page; a ``%`` in it is only a ``%``."""
    return web.HTTPError(status, "%s", message)


def _error_of(body: bytes) -> str:
    """Return the ``error`` of a provider's answer (RFC 6749, section 5.2), empty if it has none."""
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
