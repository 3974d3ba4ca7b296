"""Starts beyond the limit of the disk, and what servers and the deployment ask of its use."""

from __future__ import annotations

import json
from typing import Any

from jupyterhub.apihandlers import APIHandler
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.user import User
from jupyterhub.utils import url_escape_path, url_path_join
from tornado import web

from .disk_limit import EVERY_SECONDS, DiskIsFullError, DiskUse, Use
from .names import DEPLOY_SERVICE


def limit_of(spawner: Any) -> int:
    """Return the limit of the next start in bytes; 0 without one, and with a spawner of the operator's."""
    return spawner.next_limits().disk if hasattr(spawner, "next_limits") else 0


def use_of(handler: Any, user: Any) -> Use:
    """Return what is known of the use of a user."""
    disk: DiskUse = handler.settings["disk_use"]
    return Use(disk.known().get(user.name, 0), limit_of(user.spawner))


async def excess(handler: Any, user: Any, server_name: str) -> Use | None:
    """Return the use if it is above the limit, None if the server can start.

    Raises:
        HTTPError: the user or the server was deleted or renamed meanwhile.
    """
    spawner = user.spawners[server_name]
    limit = limit_of(spawner)
    if not limit:
        return None
    found = await handler.settings["disk_use"].at_start(user.name, limit)
    if handler.find_user(user.name) is not user or user.spawners.get(server_name) is not spawner:
        raise web.HTTPError(409, "The server was deleted or renamed while it was about to start. Try again.")
    return found if found and found.is_over else None


def limit_starts() -> None:
    """Check the use before each start, in the classes of JupyterHub's handlers.

    It is not done in the spawner: a start that has begun and fails counts as a failure of the hub.
    """
    start_page, start_api = SpawnHandler._wrap_spawn_single_user, UserServerAPIHandler.spawn_single_user

    async def page(self: Any, user: Any, server_name: str, *args: Any, **kwargs: Any) -> Any:
        use = await excess(self, user, server_name)
        if use and not self.settings["disk_use"].is_permitted(user.name):
            path = url_path_join(self.hub.base_url, "clean-up", user.escaped_name, url_escape_path(server_name))
            html = self.render_template("clean_up.html", sync=True, owner=user.name, use=use.text(), path=path)
            raise DiskIsFullError(f"The files of {user.name} use {use.text()}.", html)
        if user.spawners[server_name].active:  # by another request, while this one waited
            return self.redirect(self._get_pending_url(user, server_name))
        return await start_page(self, user, server_name, *args, **kwargs)

    async def api(self: Any, user: Any, server_name: str = "", *args: Any, **kwargs: Any) -> None:
        use = await excess(self, user, server_name)
        if use and self.get_query_argument("clean_up", "") != "true":
            raise DiskIsFullError(
                f"The files of {user.name} use {use.text()}, so the server does not start. To start it nevertheless, "
                "to delete files, add ?clean_up=true to this request."
            )
        if not user.spawners[server_name].active:
            await start_api(self, user, server_name, *args, **kwargs)

    SpawnHandler._wrap_spawn_single_user, UserServerAPIHandler.spawn_single_user = page, api


class CleanUp(BaseHandler):
    """``/clean-up/NAME[/SERVER]``: start a server beyond the limit, to clean up."""

    @needs_scope("servers")
    async def post(self, user_name: str, server_name: str) -> None:
        """Permit the start, and continue on the page that starts servers."""
        self.settings["disk_use"].permit(user_name)
        self.redirect(url_path_join(self.hub.base_url, "spawn", *map(url_escape_path, (user_name, server_name))))


class DiskUseApi(APIHandler):
    """``/api/deploy/disk``: the use of the user who owns the token, such as that of a server."""

    async def get(self) -> None:
        """Return the use, and a warning for the page; for the deployment, all uses from which users are warned."""
        asking = self.current_user
        if isinstance(asking, User):
            use = use_of(self, asking)
            self.finish(json.dumps({**use._asdict(), "warning": warning(use)}))
        elif asking is not None and asking.name == DEPLOY_SERVICE:
            users = filter(None, map(self.find_user, self.settings["disk_use"].known()))
            uses = {user.name: use_of(self, user) for user in users}
            self.finish(json.dumps({name: use._asdict() for name, use in uses.items() if use.is_near}))
        else:
            raise web.HTTPError(403)


def warning(use: Use) -> str:
    """Return what the page of a server says, nothing below the warning."""
    if not use.is_near:
        return ""
    then = "No server starts" if use.is_over else "Above the limit, no server starts"
    return (
        f"The files on this server use {use.text()}. {then} until files are deleted. "
        f"The use is measured every {EVERY_SECONDS // 60} minutes."
    )


HANDLERS = [(r"/clean-up/([^/]+)/?([^/]*)", CleanUp), (r"/api/deploy/disk", DiskUseApi)]
