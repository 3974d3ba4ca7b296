"""A hub that stops does not wait for streams of events (unit/hub_image/test_server.py has the other cases)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.long_runs import VERSIONS
from support.signin_hub import NO_PROXY, Browser, HubContainer, write_config

PASSWORD = "three unrelated words"
#: A server whose start takes longer than the test, so the stream of its progress stays open. Stopping it takes no time.
SLOW_START = """
import asyncio
from jupyterhub.spawner import Spawner

class SlowStart(Spawner):
    async def start(self):
        await asyncio.sleep(300)

    async def poll(self):
        return 0

    async def stop(self, now=False):
        pass

c.JupyterHub.spawner_class = SlowStart
c.Spawner.start_timeout = 300
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}
"""
#: A hub that waited for the stream would not end by itself.
WAITS_LONG = "from jupyterhub_deploy_hub import server\nserver.OPEN_REQUESTS_SECONDS = 3600\n"


@pytest.fixture(scope="module", params=VERSIONS)
def hub(
    request: pytest.FixtureRequest, hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubContainer]:
    directory: Path = tmp_path_factory.mktemp("stop")
    write_config(directory, NO_PROXY + SLOW_START + WAITS_LONG)
    hub = HubContainer(hub_image(request.param), directory)
    try:
        yield hub.start()
    finally:
        hub.remove()


def test_an_open_stream_of_progress_does_not_delay_the_stop(hub: HubContainer) -> None:
    alice = Browser(hub)
    alice.sign_up("alice", PASSWORD)
    assert alice.sign_in("alice", PASSWORD).status_code == 302
    headers = {"X-XSRFToken": alice.session.cookies.get("_xsrf", path="/hub/") or "", "Referer": f"{hub.url}home"}
    started = alice.session.post(f"{hub.url}api/users/alice/server", headers=headers, timeout=60)
    assert started.status_code == 202, started.text
    # No Accept header of a browser's EventSource: the stream is known by the hub's answer.
    progress = alice.session.get(f"{hub.url}api/users/alice/server/progress", headers=headers, stream=True, timeout=60)
    assert progress.ok, progress.text
    lines = progress.iter_lines()
    assert any(line.startswith(b"data:") for line in lines)
    assert hub.stop(timeout=60) != 137, "Docker killed the hub"
