"""How long a page of the hub takes, asked for on a fixed schedule: a hub that stands still is asked all the same."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.jupyterhub_deploy.hub.api import direct_opener

RATE = 4.0  # requests a second: few beside those of the users
PATIENCE = 60.0  # seconds until a request counts as failed
CROWD = 60  # requests under way at the same time


class Pages:
    """Asks for a page while the ``with`` block runs.

    :ivar seconds: how long each good answer took.
    :ivar failed: how many requests had none.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.seconds: list[float] = []
        self.failed = 0
        self._opener = direct_opener()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on_schedule)

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask_on_schedule(self) -> None:
        with ThreadPoolExecutor(CROWD) as pool:
            due = time.monotonic()
            while not self._stop.is_set():
                pool.submit(self._ask, due)
                due += 1 / RATE
                self._stop.wait(max(0.0, due - time.monotonic()))
            pool.shutdown(wait=False, cancel_futures=True)  # the removal of the users does not wait for old requests

    def _ask(self, due: float) -> None:
        try:
            with self._opener.open(self.url, timeout=PATIENCE) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= 400:  # a redirect, to a provider, is an answer
                    self.failed += 1
                    return
        except (OSError, http.client.HTTPException):
            self.failed += 1
            return
        self.seconds.append(time.monotonic() - due)
