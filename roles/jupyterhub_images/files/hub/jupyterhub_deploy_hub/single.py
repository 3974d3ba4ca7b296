"""The only authenticator, when it is not native accounts: users get plain names, but never one of a native account.

A hub may have had native accounts before. Otherwise a user of the same name at the provider would get the
administrator's rights or another user's files.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.auth import Authenticator
from sqlalchemy import inspect, text
from tornado import web

from .names import is_temporary, joined


class Single(Authenticator):
    """Mixed into the class of the only authenticator, by `single`."""

    label = ""
    #: The provider's name to the hub's, for users whose two names the operator joined.
    users: dict[str, str]

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Give joined users their name at the hub; refuse a name that a native account has."""
        model = await super().get_authenticated_user(handler, data)
        if model is None:
            return None
        if model["name"] in self.users:
            return {**model, "name": self.users[model["name"]]}
        if model["name"] in self.users.values():
            self.log.error(
                "%s was refused: that is the name at this hub of another user of %s", model["name"], self.label
            )
            raise web.HTTPError(
                403, "%s", f"The name {model['name']} is in use at this hub. Ask its administrator for another one."
            )
        if is_temporary(model["name"]):
            self.log.error("%s was refused: rehearsals create and remove users with such names", model["name"])
            raise web.HTTPError(
                403, "%s", f"The name {model['name']} is reserved at this hub. Ask its administrator for another one."
            )
        if has_native_account(handler.db, model["name"]):
            self.log.error(
                "%s of %s was refused, because a native account of this hub has that name. If both are one person, "
                "join them by users (docs/how-to/sign-in-github.md), as in {%s: %s}",
                model["name"], self.label, model["name"], model["name"],
            )  # fmt: skip
            raise web.HTTPError(
                403, "%s", f"The name {model['name']} is already in use at this hub. Ask its administrator to give you "
                "access."
            )  # fmt: skip
        return model


def single(cls: type[Authenticator], label: str, users: dict[str, str]) -> type[Authenticator]:
    """Return a class like `cls` that is the only authenticator. It reads the settings of `cls`."""
    return type(cls.__name__, (Single, cls), {"label": label, "users": joined(users), "__module__": __name__})


def has_native_account(db: Any, name: str) -> bool:
    """Return whether a user of the hub has a native account; one of a deleted user does not count."""
    if not inspect(db.get_bind()).has_table("users_info") or orm.User.find(db, name) is None:
        return False
    return db.execute(text("SELECT 1 FROM users_info WHERE username = :name"), {"name": name}).first() is not None
