"""The one way to sign in, when it is not native accounts: plain names, and none that belongs to a native account.

A hub may have had native accounts before. Its administrator's name and everybody's files would go to whoever has an
equal name at the provider.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.auth import Authenticator
from sqlalchemy import inspect, text
from tornado import web

from .names import joined


class Alone(Authenticator):
    """Mixed into the class of the only way to sign in, by `alone`."""

    label = ""
    #: The provider's name to the hub's, for people whom the operator joined.
    users: dict[str, str]

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Give people whom the operator joined their name here; refuse who has a native account's name by chance."""
        model = await super().get_authenticated_user(handler, data)
        if model is None:
            return None
        if model["name"] in self.users:
            return {**model, "name": self.users[model["name"]]}
        if has_native_account(handler.db, model["name"]):
            self.log.error(
                "%s of %s was not let in: a native account of this hub has that name. If both are one person, join "
                "them by users (docs/how-to/sign-in-github.md), as in {%s: %s}",
                model["name"], self.label, model["name"], model["name"],
            )  # fmt: skip
            raise web.HTTPError(
                403, "%s", f"The name {model['name']} belongs to somebody at this hub already. Please tell its "
                "administrator who you are."
            )  # fmt: skip
        return model


def alone(cls: type[Authenticator], label: str, users: dict[str, str]) -> type[Authenticator]:
    """Return a class like `cls` that is the only way to sign in. Its settings stay those of `cls`."""
    return type(cls.__name__, (Alone, cls), {"label": label, "users": joined(users), "__module__": __name__})


def has_native_account(db: Any, name: str) -> bool:
    """Say whether NativeAuthenticator has an account for `name`, whom the hub knows; a deleted user's may be left."""
    if not inspect(db.get_bind()).has_table("users_info") or orm.User.find(db, name) is None:
        return False
    return db.execute(text("SELECT 1 FROM users_info WHERE username = :name"), {"name": name}).first() is not None
