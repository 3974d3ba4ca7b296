"""The answer to a user who cannot start a server, because as many run as the limit allows."""

from __future__ import annotations

from typing import Any

from tornado import web


class HubIsFullError(web.HTTPError):
    """As many servers are active as the limit allows; the error page and the API show the numbers."""

    #: For error.html.
    hub_is_full = True

    def __init__(self, active: int, limit: int) -> None:
        text = (
            f"{active} of {limit} servers are running. Try again when somebody has stopped theirs, or ask an "
            "administrator."
        )
        super().__init__(429, text)


def explain(handlers: Any) -> None:
    """Replace JupyterHub's message in the class of all its handlers; its rule stays the same."""
    spawn = handlers.spawn_single_user

    async def spawn_single_user(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await spawn(self, *args, **kwargs)
        except web.HTTPError as error:
            if error.status_code == 429 and "Active user limit" in (error.log_message or ""):
                active = self.users.count_active_users()["active"]
                raise HubIsFullError(active, self.active_server_limit) from None
            raise

    handlers.spawn_single_user = spawn_single_user
