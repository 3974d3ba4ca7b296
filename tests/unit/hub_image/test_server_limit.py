"""What a user reads who cannot start a server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tornado import web

from jupyterhub_deploy_hub import server_limit


def handler(answer: web.HTTPError | str) -> Any:
    """Return a handler like JupyterHub's, whose starts end with the answer."""

    class Handler:
        active_server_limit = 40
        users = SimpleNamespace(count_active_users=lambda: {"active": 40})

        async def spawn_single_user(self, user: str, options: None = None) -> str:
            if isinstance(answer, str):
                return user + answer
            raise answer

    server_limit.explain(Handler)
    return Handler()


def test_the_user_reads_how_many_servers_run() -> None:
    upstream = web.HTTPError(429, "Active user limit exceeded. Try again in a few minutes.")
    with pytest.raises(server_limit.HubIsFullError) as caught:
        asyncio.run(handler(upstream).spawn_single_user("alice"))
    assert caught.value.status_code == 429
    assert caught.value.log_message == (
        "40 of 40 servers are running. Try again when somebody has stopped theirs, or ask an administrator."
    )


@pytest.mark.parametrize("error", [web.HTTPError(429, "Too many users"), web.HTTPError(429), web.HTTPError(500, "No")])
def test_other_errors_stay(error: web.HTTPError) -> None:
    with pytest.raises(web.HTTPError) as caught:
        asyncio.run(handler(error).spawn_single_user("alice"))
    assert caught.value is error


def test_a_start_stays() -> None:
    assert asyncio.run(handler(" starts").spawn_single_user("alice", options=None)) == "alice starts"
