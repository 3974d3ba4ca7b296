"""A client inside a notebook server's container that asks the hub all the time, to find moments in which requests fail.

A change of hubs has moments of a few milliseconds. A real notebook server asks every five minutes, so a test with one
would hardly ever meet them.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

#: Seconds between two requests, each on a connection of its own.
PAUSE = 0.05
#: Maximum number of open requests: without it, they would pile up for good in front of a hub on a busy machine.
OPEN = 8
#: Connects as the notebook server does: with Tornado, its default timeouts, and the hub's address of the environment.
#: Prints a line when it begins and, after its input has ended, the number of answers by status or error.
PROGRAM = f"""
import asyncio, collections, json, os, sys
from tornado.httpclient import AsyncHTTPClient

async def ask(client, answers):
    try:
        answers[str((await client.fetch(os.environ["JUPYTERHUB_API_URL"])).code)] += 1
    except Exception as error:
        answers[repr(error)] += 1

async def main():
    AsyncHTTPClient.configure(None, max_clients={OPEN})
    client, answers, asked = AsyncHTTPClient(), collections.Counter(), set()
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    print("begun", flush=True)
    while not end.done():
        if len(asked) < {OPEN}:
            asked.add(request := asyncio.create_task(ask(client, answers)))
            request.add_done_callback(asked.discard)
        await asyncio.sleep({PAUSE})
    await asyncio.gather(*asked)
    print(json.dumps(answers))

asyncio.run(main())
"""


class Asking:
    """Asks the hub from the container of a user's server, as a context manager.

    Attributes:
        answers: afterwards, the number of answers by HTTP status or error.
    """

    def __init__(self, container: str) -> None:
        self.container = container
        self.answers: dict[str, int] = {}

    def __enter__(self) -> Asking:
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", self.container, "python", "-c", PROGRAM],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout
        if self._process.stdout.readline() != "begun\n":
            self._process.kill()
            raise AssertionError(self._process.communicate()[1])
        return self

    def __exit__(self, *_: Any) -> None:
        output, errors = self._process.communicate("", timeout=60)
        assert self._process.returncode == 0, errors
        self.answers = json.loads(output)
