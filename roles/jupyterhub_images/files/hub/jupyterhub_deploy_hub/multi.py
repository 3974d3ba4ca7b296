"""Several authenticators on one login page: jupyterhub-multiauthenticator 0.4.0 with what it lacks.

The library gives its parts no database (NativeAuthenticator then stops the hub), does not ask them when a user is
deleted or a session is refreshed, compares names without normalising them, and knows only the provider's names. Native
users have plain names; all others have a prefix, such as ``github:alice``, so that equal names are different users.
"""

from __future__ import annotations

import inspect
from html import escape
from typing import Any

from jupyterhub.auth import Authenticator
from multiauthenticator import MultiAuthenticator
from tornado import web

from .names import joined, normalise


class Part(Authenticator):
    """Mixed into the class of each authenticator, by `part`."""

    prefix = ""
    label = ""
    #: The provider's name to the hub's, for users whose two names the operator joined.
    users: dict[str, str]

    def __init__(self, **kwargs: Any) -> None:
        # NativeAuthenticator keeps its accounts in the hub's database.
        kwargs.setdefault("_deprecated_db_session", kwargs["parent"]._deprecated_db_session)
        super().__init__(**kwargs)
        # The hub does this only for the authenticator that it creates itself.
        for trait in ("admin_users", "allowed_users", "blocked_users"):
            setattr(self, trait, {self.normalize_username(name) for name in getattr(self, trait)})

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Give joined users their name at the hub, after the provider's name has been checked."""
        model = await super().get_authenticated_user(handler, data)
        if model is None:
            return None
        own = model["name"].removeprefix(self.prefix)
        if own in self.users:
            return {**model, "name": self.users[own]}
        others = [each for each in self.parent._authenticators if each is not self]
        if model["name"] in self.users.values() or any(
            each.prefix and model["name"].startswith(each.prefix) for each in others
        ):
            self.log.error("%s of %s was refused: that is the name at this hub of another user", own, self.label)
            raise web.HTTPError(
                403, "%s", f"The name {own} is in use at this hub. Ask its administrator for another one."
            )
        return model


def part(cls: type[Authenticator], prefix: str, label: str, users: dict[str, str]) -> type[Authenticator]:
    """Return a class like `cls` that can be one of several. It reads the settings of `cls`."""
    own = {"prefix": prefix, "label": label, "users": joined(users), "__module__": __name__}
    return type(cls.__name__, (Part, cls), own)


class HubMulti(MultiAuthenticator):
    """The hub's authenticator when ``jupyterhub_authenticators`` has more than one entry."""

    @property
    def local(self) -> Any:
        """The part with names and passwords of the hub's own, or None."""
        return next((each for each in self._authenticators if each.prefix == ""), None)

    @property
    def joined_names(self) -> set[str]:
        """Names at the hub of users who sign in at a provider: nobody can sign up under them."""
        return {name for each in self._authenticators for name in each.users.values()}

    def services(self, base_url: str) -> list[dict[str, str]]:
        """Return text and address of a button for each part without a form on the login page."""
        return [
            {"label": each.label, "url": each.login_url(base_url)}
            for each in self._authenticators
            if each is not self.local
        ]

    def get_custom_html(self, base_url: str) -> str:
        """Return the buttons for the hub's own login page, which is shown when there are no native accounts.

        The hub renders this as a template, hence the doubled braces.
        """
        buttons = "".join(
            f'<a role="button" class="btn btn-jupyter btn-lg" href="{escape(service["url"])}'
            f'{{% if next %}}?next={{{{ next }}}}{{% endif %}}">Sign in with {escape(service["label"])}</a>'
            for service in self.services(base_url)
        )
        return f'<div class="service-login d-grid gap-3 mx-auto pt-5" style="max-width: 350px">{buttons}</div>'

    def normalize_username(self, username: str) -> str:
        """Use one spelling of each name, as native accounts do."""
        return super().normalize_username(normalise(username))

    def _part_of(self, name: str) -> Any:
        for each in self._authenticators:
            if each.prefix and name.startswith(each.prefix):
                return each
        return self.local

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Ask the part that the user signs in with."""
        found = self._part_of(user.name)
        return True if found is None else await _finished(found.refresh_user(user, handler, **kwargs))

    async def delete_user(self, user: Any) -> None:
        """Call every part: a native account that stays would bring the user back with the old password."""
        for each in self._authenticators:
            await _finished(each.delete_user(user))

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        """Call the part that the user signs in with, which may pass auth state to the server's environment."""
        found = self._part_of(user.name)
        if found is not None:
            await _finished(found.pre_spawn_start(user, spawner))

    def check_allow_config(self) -> None:
        """Check each part: this class has no rules of its own, so a warning about it would be wrong."""
        for each in self._authenticators:
            each.check_allow_config()


async def _finished(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
