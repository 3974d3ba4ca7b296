"""OAuthenticator with clear errors: for the user on the page, for the administrator in the log.

Each fix names a fault of oauthenticator 17.4.0, and can be removed when upstream has one. The classes and their
settings (``c.GitHubOAuthenticator.…``) are upstream's.
"""

from __future__ import annotations

import json
import ssl
from typing import Any

from jupyterhub.auth import Authenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthenticator
from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets import default

from jupyterhub_deploy_hub import proxied

#: Answers of providers when the hub's registration is wrong; the second is GitHub's.
_WRONG_HUB = ("invalid_client", "incorrect_client_credentials", "unauthorized_client")
#: Answers of providers when the code of a sign-in has expired or was used before.
_WRONG_CODE = ("invalid_grant", "bad_verification_code")
#: GitHub's answer when the callback URL is not the registered one.
_WRONG_CALLBACK = "redirect_uri_mismatch"
_TOO_MANY = 429  # requests, so the provider did not answer the question


class ClearErrors(OAuthenticator):
    """Mixed into an OAuthenticator class by `with_clear_errors`."""

    @default("custom_403_message")
    def _refusal(self) -> str:
        where = self.login_service
        return (
            f"{where} knows you, but this hub does not let you in. If you have another account at {where}, sign out "
            "there and try again; otherwise ask the administrator of this hub."
        )

    @default("http_client")
    def _default_http_client(self) -> Any:
        return proxied.ProxiedClient() if proxied.is_configured() else super()._default_http_client()

    async def httpfetch(
        self, url: str, label: str = "fetching", parse_json: bool = True, raise_error: bool = True, **kwargs: Any
    ) -> Any:
        """Request `url` of the provider; raise HTTPError with a clear message where upstream fails with a bare 500.

        A provider that refuses a user's token (4xx) raises upstream's error, which `refresh_user` relies on.
        """
        # GitLab's subgroups are quoted twice: https://github.com/jupyterhub/oauthenticator/issues/423
        url = url.replace("%252F", "%2F")
        asks_for_token = url == self.token_url
        try:
            answer = await super().httpfetch(url, label, False, raise_error, **kwargs)
            self._check_membership(url, answer)
            if not parse_json:
                return answer
            found = json.loads(answer.body.decode("utf-8", "replace")) if answer.body else None
            if url.partition("?")[0] in (self.token_url, self.userdata_url) and not isinstance(found, dict):
                raise ValueError(f"expected an object, got {str(found)[:50]}")
        except HTTPClientError as error:
            if error.response is None:  # for example a time-out, which has a status of Tornado's own
                raise self._unreachable(url, error) from error
            if asks_for_token:
                raise self._token_problem(_error_of(error.response.body), error.code) from error
            if 400 <= error.code < 500 and error.code != _TOO_MANY:
                raise
            raise self._unreachable(url, error) from error
        except (OSError, ValueError) as error:  # nothing listens, or the answer is something else
            raise self._unreachable(url, error) from error
        if asks_for_token and isinstance(found, dict) and "error" in found:
            raise self._token_problem(str(found["error"]), 200)
        return found

    def _check_membership(self, url: str, answer: Any) -> None:
        """Raise HTTPError when the provider did not say whether a user is a member: upstream takes that for a no."""
        if answer.code >= 500 or answer.code == _TOO_MANY:
            raise self._unreachable(url, f"HTTP {answer.code}")
        if answer.code not in (200, 204, 404):
            self.log.warning(
                "%s answered %s to %s: %s", self.login_service, answer.code, url, (answer.body or b"")[:200]
            )

    def _token_problem(self, error: str, code: int) -> web.HTTPError:
        if error in _WRONG_HUB or (not error and code == 401):
            self.log.error(
                "%s refused this hub's client id or secret (%s): compare both with what %s shows for the hub's "
                "application, and run make site",
                self.login_service, error or code, self.login_service,
            )  # fmt: skip
            return _page(
                502, f"{self.login_service} does not accept this hub. Please contact the administrator of this hub."
            )
        if error in _WRONG_CODE:
            self.log.warning("%s: the code has expired or was used before (%s)", self.login_service, error)
            return _page(
                400, f"Signing in with {self.login_service} took too long, or was done twice. Please sign in again."
            )
        if code >= 500:
            return self._unreachable(str(self.token_url), f"HTTP {code}")
        advice = ""
        if error == _WRONG_CALLBACK:
            advice = f": compare the callback URL {self.oauth_callback_url} with the one that is registered there"
        self.log.error("%s sent no token (%s)%s", self.login_service, error or f"HTTP {code}", advice)
        return _page(
            502, f"{self.login_service} did not send your user name to this hub. Please contact its administrator."
        )

    def _unreachable(self, url: str, error: Any) -> web.HTTPError:
        """Return an error that says what the hub has seen: an answer, another certificate, or no connection."""
        label = self.login_service
        if isinstance(error, ssl.SSLError):
            saw, message = "does not have a certificate that this hub trusts", f"This hub does not trust {label}."
        elif isinstance(error, str) or (isinstance(error, HTTPClientError) and error.response is not None):
            saw, message = "answered with an error", f"{label} answered with an error. Please try again later."
        elif isinstance(error, ValueError):
            saw = "sent an answer that this hub cannot read"
            message = f"{label} {saw}."
        else:
            saw, message = "cannot be reached", f"This hub cannot reach {label}. Please try again later."
            if proxied.is_used(url):
                saw += " through the HTTP proxy (jupyterhub_http_proxy)"
        self.log.error("%s %s, at %s: %s", label, saw, url.partition("?")[0], error)
        return _page(503, f"{message} If it happens again, contact the administrator of this hub.")

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Show a page when the provider sends no user name; upstream fails with a bare 500."""
        try:
            return str(super().user_info_to_username(user_info))
        except web.HTTPError:
            raise
        except Exception as error:  # username_claim may be the operator's own function
            self.log.error(
                "%s did not send the user name: username_claim is %r, and it sent %s (%s: %s)",
                self.login_service, self.username_claim, ", ".join(sorted(user_info)), type(error).__name__, error,
            )  # fmt: skip
            raise _page(
                502, f"{self.login_service} did not send your user name to this hub. Please contact its administrator."
            ) from error

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Show a page when the provider refuses a token for a missing scope; upstream fails with a bare 500."""
        try:
            return await super().get_authenticated_user(handler, data)
        except HTTPClientError as error:
            self.log.error(
                "%s refused the request for the user (HTTP %s); see the lines above", self.login_service, error.code
            )
            raise _page(
                502, f"{self.login_service} did not send your user name to this hub. Please contact its administrator."
            ) from error

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Keep users signed in while the provider is down; upstream answers every page with a 500.

        With auth state, upstream refuses the tokens of a user who has none: of servers that were running when it was
        turned on, and of an administrator who has never signed in. A token cannot sign in again, so accept it.
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


def with_clear_errors(cls: type[Authenticator]) -> type[Authenticator]:
    """Return a class like `cls`, with clear errors if it is an OAuthenticator. It reads the settings of `cls`."""
    if not issubclass(cls, OAuthenticator):
        return cls
    handler = type("Callback", (_Callback, cls.callback_handler), {})
    return type(cls.__name__, (ClearErrors, cls), {"callback_handler": handler, "__module__": __name__})


class _Callback(OAuthCallbackHandler):
    """The page to which the provider sends the user back."""

    def _request_summary(self) -> str:
        """Return what tornado logs of a failed sign-in, without the code in the address."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    async def get(self) -> None:
        """Mark errors for templates/error.html, which explains them and links back to the login page."""
        try:
            await super().get()
        except web.HTTPError as error:
            error.not_signed_in = True
            raise

    def check_arguments(self) -> None:
        """Replace upstream's messages, which are about cookies and arguments."""
        try:
            super().check_arguments()
        except web.HTTPError as error:
            label = self.authenticator.login_service
            self.log.warning("Signing in with %s: %s", label, error.log_message)
            if self.get_argument("error", "") == "access_denied":
                raise _page(403, f"You did not allow {label} to send your user name to this hub.") from None
            if self.get_argument("error", ""):
                raise _page(
                    502, f"{label} refused this hub's request. Please contact the administrator of this hub."
                ) from None
            raise _page(
                400, "This sign-in has expired, or was started in another window. Please sign in again."
            ) from None


def _page(status: int, message: str) -> web.HTTPError:
    """Return the error for an error page; a ``%`` in the message is not a placeholder."""
    return web.HTTPError(status, "%s", message)


def _error_of(body: bytes) -> str:
    """Return the ``error`` in a provider's answer (RFC 6749, section 5.2), empty if there is none."""
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
