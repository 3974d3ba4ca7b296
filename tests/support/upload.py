"""A large file that a user uploads while something happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import requests

from support.poller import Notebook

#: Seconds between two parts.
PAUSE = 0.5


class Upload:
    """Saves a large file on a user's server, until the ``with`` block ends.

    Args:
        notebook: the user's.
        megabytes: what is sent at least, one every half second, and the rest at the end.

    Attributes:
        sent: bytes of the file.
        result: bytes that arrived, or an error.
    """

    def __init__(self, notebook: Notebook, megabytes: int) -> None:
        self._notebook, self._megabytes = notebook, megabytes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent, self.result = 0, "nothing"

    def __enter__(self) -> Upload:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        notebook = self._notebook
        url = f"{notebook.session.url}{notebook.base}api/contents/large.txt"
        headers = {"X-XSRFToken": notebook.xsrf(), "Cookie": notebook.cookies(), "Content-Type": "application/json"}
        try:
            answer = requests.put(url, data=self._parts(), headers=headers, timeout=120)
            self.result = str(answer.json().get("size", answer.text))
        except requests.RequestException as error:
            self.result = repr(error)

    def _parts(self) -> Iterator[bytes]:
        yield b'{"type": "file", "format": "text", "content": "'
        while self.sent < self._megabytes << 20 or not self._end.is_set():
            # At the end a little, because nginx waits for a minute for more.
            part = b"x" * (1 << (20 if self.sent < self._megabytes << 20 else 10))
            self._end.wait(PAUSE)
            self.sent += len(part)
            yield part
        yield b'"}'
