"""Delete and change users by the API and the page Admin, in the cases in which JupyterHub itself fails.

JupyterHub stops only the default server, if it is ready. With others, it deleted the account, and then failed with an
error 500. A directory of the host, unlike a volume, has no label that keeps it from the next user of the name.

It also renames users, but not their accounts and volumes: a user with a new name could neither sign in nor use the
files.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado import web

from .container_settings import sources
from .names import DEPLOY_SERVICE

#: Seconds for the end of a cancelled start.
CANCEL_SECONDS = 10


def protect(handlers: Any) -> None:
    """Replace ``delete`` and ``patch`` in the class of the API's handlers for a user."""
    from jupyterhub.scopes import needs_scope
    from jupyterhub.user import User

    delete_user, patch_user = handlers.delete, handlers.patch

    @needs_scope("delete:users")
    async def delete(self: Any, user_name: str) -> None:
        user = self.find_user(user_name)
        if user is not None and user.name != self.current_user.name:  # which JupyterHub refuses
            # The playbook looks for the directory itself. A user may have the name of the service.
            if isinstance(self.current_user, User) or self.current_user.name != DEPLOY_SERVICE:
                refuse_with_directory(self, user.name)
            await _stop_servers(self, user)
        await delete_user(self, user_name)

    @needs_scope("admin:users")
    async def patch(self: Any, user_name: str) -> None:
        body = self.get_json_body()
        if isinstance(body, dict) and "name" in body:
            if body["name"] != user_name:
                raise web.HTTPError(400, f"{user_name} cannot be renamed: account, files and backups have this name.")
            # The page Admin always sends the name. JupyterHub (5.5.4 and 6.1.1) would remove it from the user, who
            # could then neither sign in nor be deleted.
            body = {key: value for key, value in body.items() if key != "name"}
            self.get_json_body = lambda: body
        await patch_user(self, user_name)

    handlers.delete, handlers.patch = delete, patch


def refuse_with_directory(handler: Any, user: str) -> None:
    """Raise HTTPError if users have directories of the host."""
    for _, source in sources(handler.config, handler.spawner_class):
        if source.startswith("/") and "username}" in source:
            directory = source.replace("{username}", user)
            raise web.HTTPError(
                400,
                f"The next user called {user} would get the directory {directory}. Delete users on the command line, "
                "with playbooks/delete_user.yml.",
            )


async def cancel_start(spawner: Any) -> bool:
    """Cancel the start of a server, if it starts or waits for that; return whether it did."""
    start = spawner._spawn_future if spawner.pending == "spawn" else None
    if start is None:
        return False
    start.cancel()
    await asyncio.wait([start], timeout=CANCEL_SECONDS)
    return True


async def _stop_servers(handler: Any, user: Any) -> None:
    for name, spawner in list(user.spawners.items()):
        was_starting = await cancel_start(spawner)
        if not spawner.pending and (was_starting or (name and spawner.ready)):
            await handler.stop_single_user(user, name)
    if any(spawner.pending for spawner in user.spawners.values()):
        raise web.HTTPError(
            400, f"A server of {user.name} is still stopping. Delete the user again when it has stopped."
        )
