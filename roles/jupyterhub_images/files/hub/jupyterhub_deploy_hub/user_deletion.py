"""The deletion of a user whose servers start, or run and have a name.

JupyterHub stops only the default server, if it is ready. With others, it deleted the account, and then failed with an
error 500.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado import web

#: Seconds for the end of a cancelled start.
CANCEL_SECONDS = 10


def stop_servers_first(handlers: Any) -> None:
    """Replace ``delete`` in the class of the API's handlers for a user."""
    from jupyterhub.scopes import needs_scope

    delete_user = handlers.delete

    @needs_scope("delete:users")
    async def delete(self: Any, user_name: str) -> None:
        user = self.find_user(user_name)
        if user is not None and user.name != self.current_user.name:  # which JupyterHub refuses
            await _stop_servers(self, user)
        await delete_user(self, user_name)

    handlers.delete = delete


async def _stop_servers(handler: Any, user: Any) -> None:
    for name, spawner in list(user.spawners.items()):
        start = spawner._spawn_future if spawner.pending == "spawn" else None
        if start is not None:
            start.cancel()
            await asyncio.wait([start], timeout=CANCEL_SECONDS)
        if not spawner.pending and (start is not None or (name and spawner.ready)):
            await handler.stop_single_user(user, name)
    if any(spawner.pending for spawner in user.spawners.values()):
        raise web.HTTPError(
            400, f"A server of {user.name} is still stopping. Delete the user again when it has stopped."
        )
