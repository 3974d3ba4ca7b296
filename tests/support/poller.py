"""Measure from outside whether a change of the hub interrupts a user with a running notebook.

``Notebook`` is the user's side: a server, a kernel that holds a variable and its open web socket, by the login cookie.
``Poll`` asks while something happens, and ``Report`` has the result::

    notebook = Notebook(session, "alice")
    with Poll(notebook) as poll:
        do_something()
    assert poll.report.uninterrupted, poll.report
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import Cookie
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import requests
import websocket

from support.hub_http import HubSession

#: Requests a second to the notebook.
RATE = 20
#: The same to the hub, whose downtime is expected and is only measured.
HUB_RATE = 10
#: Seconds after which a request counts as lost. Far above what a request takes on the busiest machine: a slow response
#: is not an interruption, a refused or dropped one fails at once.
PATIENCE = 60.0
#: Requests under way at once: enough to keep the schedule while each waits as long as a replacement of the hub takes.
CROWD = int(RATE * 10)
#: Seconds between two signs of life over the web socket.
HEARTBEAT = 0.5


class Answer(NamedTuple):
    """One request: when it was sent, how long it took, and what was wrong with the answer, if anything."""

    sent: float
    seconds: float
    problem: str


class Report(NamedTuple):
    """What was seen from outside while something happened. Times are in seconds.

    Attributes:
        seconds: how long was polled.
        sent: requests to the notebook.
        failed: those without a good answer.
        first_failure: what was wrong with the first of them.
        longest_gap: from the last good request before to the first good one after the longest row of failed ones.
        slowest: the longest time that a good answer took.
        kept_sent: requests to the notebook over one connection that is kept open, as a browser does.
        kept_failed: those without a good answer, also not over a new connection.
        kept_ended: how often that connection was ended between two requests, which a browser's user does not notice.
        beats: executions asked of the kernel over the web socket meanwhile.
        beats_lost: those without an answer.
        socket: what ended the web socket; empty when it stayed open.
        variable: what is wrong with the variable afterwards, asked over the same socket; empty when it is there.
        cookie: what the hub says to the login cookie afterwards; empty when it is accepted.
        server: whether the hub says afterwards that the server runs.
        hub_sent: health checks of the hub, through the proxy.
        hub_down: time without the hub, as those saw it.
        hub_wait: the longest time that a good answer of the hub took.
    """

    seconds: float
    sent: int
    failed: int
    first_failure: str
    longest_gap: float
    slowest: float
    kept_sent: int
    kept_failed: int
    kept_ended: int
    beats: int
    beats_lost: int
    socket: str
    variable: str
    cookie: str
    server: bool
    hub_sent: int
    hub_down: float
    hub_wait: float

    @property
    def uninterrupted(self) -> bool:
        """Whether a user with a running notebook worked without interruption."""
        lost = self.failed or self.kept_failed or self.beats_lost or self.socket or self.variable or self.cookie
        # A poll that sent nothing proves nothing. How many requests a busy machine sends in this time does not matter.
        return not lost and self.sent >= RATE and self.kept_sent > 0 and self.beats > 0 and self.server


class KernelSocket:
    """A kernel's web socket; a thread of its own reads it, so that it notices at once when it ends."""

    def __init__(self, url: str, cookies: str) -> None:
        self._socket = websocket.create_connection(url, timeout=PATIENCE, header=[f"Cookie: {cookies}"])
        self._socket.settimeout(None)
        self._session = uuid.uuid4().hex
        self._sending = threading.Lock()
        self._replies: dict[str, list[dict[str, Any]]] = {}
        self._changed = threading.Condition()
        self.ended = ""
        threading.Thread(target=self._read, daemon=True).start()

    def execute(self, code: str, timeout: float = PATIENCE) -> str:
        """Run code in the kernel and return the value of its last line, as text.

        Raises:
            ConnectionError: the socket has ended, or the kernel did not answer in time.
        """
        replies = self._replies_to(code, timeout, self._done)
        for reply in replies:
            if reply["msg_type"] == "error":
                return f"{reply['content']['ename']}: {reply['content']['evalue']}"
        results = [reply["content"]["data"]["text/plain"] for reply in replies if reply["msg_type"] == "execute_result"]
        return str(results[-1]) if results else ""

    def output(self, code: str, part: str, timeout: float = PATIENCE) -> str:
        """Run code in the kernel and return what it has printed, as soon as that contains a part.

        Raises:
            ConnectionError: the socket has ended, or the part did not come in time.
        """
        replies = self._replies_to(code, timeout, lambda message: part in _printed(self._replies[message]))
        return _printed(replies)

    def _replies_to(self, code: str, timeout: float, done: Callable[[str], bool]) -> list[dict[str, Any]]:
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "username": "", "session": self._session,
                  "version": "5.3", "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}  # fmt: skip
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                   "allow_stdin": False, "stop_on_error": False}  # fmt: skip
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._replies[message] = []
        try:
            with self._sending:
                self._socket.send(json.dumps(request))
        except (OSError, websocket.WebSocketException) as error:
            raise ConnectionError(f"the web socket takes nothing: {error}") from error
        deadline = time.monotonic() + timeout
        with self._changed:
            while not done(message):
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    raise ConnectionError(self.ended or f"no answer of the kernel in {timeout:.0f} s")
                self._changed.wait(left)
            return self._replies.pop(message)

    def close(self) -> None:
        """Close it, from our side."""
        self._socket.close(timeout=1)

    def _done(self, message: str) -> bool:
        """The reply and the kernel's word that it is idle have come: nothing more will."""
        types = [reply["msg_type"] for reply in self._replies[message]]
        idle = [reply for reply in self._replies[message] if reply["content"].get("execution_state") == "idle"]
        return "execute_reply" in types and bool(idle)

    def _read(self) -> None:
        try:
            while True:
                opcode, data = self._socket.recv_data()  # answers pings by itself
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self._end(f"the web socket was closed: {data[2:].decode(errors='replace') or data.hex()}")
                    return
                reply = json.loads(data)
                with self._changed:
                    parent = self._replies.get(reply["parent_header"].get("msg_id", ""))
                    if parent is not None:
                        parent.append(reply)
                    self._changed.notify_all()
        except (OSError, websocket.WebSocketException) as error:
            self._end(f"the web socket broke: {error!r}")

    def _end(self, why: str) -> None:
        with self._changed:
            self.ended = why
            self._changed.notify_all()


def _printed(replies: list[dict[str, Any]]) -> str:
    return "".join(reply["content"]["text"] for reply in replies if reply["msg_type"] == "stream")


class Notebook:
    """One user's running server with a kernel that holds ``answer``, and the web socket to it.

    Args:
        session: the user's session with the hub, signed in.
        name: the user's name.
    """

    def __init__(self, session: HubSession, name: str) -> None:
        self.session = session
        self.name = name
        self.address = urlsplit(session.url)
        self.base = f"/user/{name}/"
        self.login_cookie = str(session.cookies["jupyterhub-hub-login"])
        session.spawn(name)
        self.sign_in()
        self.kernel = self._post("api/kernels", {"name": "python3"})["id"]
        self.answer = secrets.token_hex(8)
        self.connect()
        self.socket.execute(f"answer = {self.answer!r}", timeout=60)
        assert self.problem_with_variable() == ""

    def connect(self) -> None:
        """Open the web socket to the kernel, also again after the proxy was stopped."""
        scheme = "wss" if self.address.scheme == "https" else "ws"
        url = f"{scheme}://{self.address.netloc}{self.base}api/kernels/{self.kernel}/channels?_xsrf={self.xsrf()}"
        self.socket = KernelSocket(url, self.cookies())

    def sign_in(self) -> None:
        """Get the notebook's own cookie by the hub's, as a browser does that opens the page.

        The notebook server asks the hub who a cookie belongs to and believes the answer for five minutes
        (``HubAuth.cache_max_age``); then it asks again, which fails while there is no hub. A fresh cookie begins a
        fresh five minutes. So a poll that is to show what a change of hubs does to those whose five minutes end in
        it needs a server that asks more often.
        """
        for cookie in self._jar():
            if cookie.path == self.base:
                self.session.cookies.clear(cookie.domain, cookie.path, cookie.name)
        self.session.get(f"{self.session.url}{self.base}", timeout=60).raise_for_status()
        # And the first request by the new cookie, for which the hub is asked.
        problem = self.ask()
        assert not problem, problem

    def ask(self) -> str:
        """Send one request to the server, on a connection of its own; return what is wrong with the answer."""
        return get(self.session.url, f"{self.base}api/status", self.cookies())

    def cookies(self) -> str:
        """Return the ``Cookie`` header of a browser for the notebook's pages."""
        # A browser names the cookie of the longest path first.
        fitting = [cookie for cookie in self._jar() if self.base.startswith(cookie.path)]
        fitting.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in fitting)

    def problem_with_variable(self) -> str:
        """Ask the kernel for its variable, over the same socket; return what is wrong."""
        try:
            value = self.socket.execute("answer")
        except ConnectionError as error:
            return str(error)
        return "" if value == repr(self.answer) else f"answer is {value}, not {self.answer!r}"

    def problem_with_cookie(self) -> str:
        """Ask for the hub's own page by nothing but the login cookie of the beginning; return what is wrong."""
        try:
            page = requests.get(f"{self.session.url}/hub/home", allow_redirects=False, timeout=30,
                                cookies={"jupyterhub-hub-login": self.login_cookie})  # fmt: skip
        except requests.RequestException as error:
            return f"the hub does not answer: {error}"
        return "" if page.status_code == 200 else f"/hub/home: {page.status_code} {page.headers.get('Location', '')}"

    def is_running(self) -> bool:
        """Return whether the hub knows the server as ready."""
        try:
            found = self.session.me() or {}
        except requests.RequestException:
            return False
        return bool((found.get("servers") or {}).get("", {}).get("ready"))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.session.post(f"{self.session.url}{self.base}{path}", json=body, timeout=60,
                                   headers={"X-XSRFToken": self.xsrf()})  # fmt: skip
        answer.raise_for_status()
        return answer.json()

    def _jar(self) -> list[Cookie]:
        return cast(list[Cookie], list(self.session.cookies))

    def xsrf(self) -> str:
        """Return the token that a page of the server sends with its requests."""
        return next(str(cookie.value) for cookie in self._jar() if cookie.name == "_xsrf" and cookie.path == self.base)


class KeptConnection:
    """One connection for many requests, as a browser keeps it.

    A server may end it between two requests. A request that meets the end is sent again over a new connection, as
    browsers do (RFC 9112, section 9.3.1); one that fails there, or whose answer has begun, has failed.

    Args:
        origin: of the server, as ``http://127.0.0.1:8000``.

    Attributes:
        ended: how often the server ended it.
    """

    def __init__(self, origin: str) -> None:
        self._connection = _connect(origin)
        self.ended = 0

    def get(self, path: str, cookies: str = "") -> str:
        """GET without following redirects; return what is wrong, nothing after a 200."""
        try:
            return self._request(path, cookies)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return repr(error)

    def close(self) -> None:
        """Close it, from our side."""
        self._connection.close()

    def _request(self, path: str, cookies: str) -> str:
        kept = self._connection.sock is not None
        try:
            self._connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
            answer = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            self._connection.close()
            if not kept:
                raise
            self.ended += 1
            return self._request(path, cookies)
        problem = _problem(answer)
        self.ended += self._connection.sock is None  # closed by `Connection: close` in the response
        return problem


class Poll:
    """Asks notebook and hub on a fixed schedule while the ``with`` block runs, whatever became of earlier requests.

    Attributes:
        report: the result, once the block has ended.
        answers: each request to the notebook, over a connection of its own.
        kept_answers: each request to the notebook over one kept connection, one after the other.
        hub_answers: each health check of the hub.
    """

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.report: Report
        self._stop = threading.Event()
        self.answers: list[Answer] = []
        self.kept_answers: list[Answer] = []
        self.hub_answers: list[Answer] = []
        self._beats: list[str] = []

    def __enter__(self) -> Poll:
        self.notebook.sign_in()
        cookies, origin = self.notebook.cookies(), self.notebook.session.url
        path = f"{self.notebook.base}api/status"
        self._kept = KeptConnection(origin)
        targets = (
            lambda: self._ask_on_schedule(self.answers, RATE, lambda: get(origin, path, cookies), CROWD),
            lambda: self._ask_on_schedule(self.kept_answers, RATE, lambda: self._kept.get(path, cookies), 1),
            lambda: self._ask_on_schedule(self.hub_answers, HUB_RATE, lambda: get(origin, "/hub/health"), CROWD),
            self._beat,
        )
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=target) for target in targets]
        for thread in self._threads:
            thread.start()
        # Good answers before anything happens: that is what later ones are compared with.
        self._wait_for_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for_answers()
        self._stop.set()
        seconds = time.monotonic() - self._began
        for thread in self._threads:
            thread.join()
        self._kept.close()
        notebook = self.notebook
        rows, hub_rows = outages(self.answers), outages(self.hub_answers)
        problems, kept = _problems(self.answers), _problems(self.kept_answers)
        self.report = Report(
            seconds=seconds,
            sent=len(self.answers),
            failed=len(problems),
            first_failure=next(iter([*problems, *kept]), ""),
            longest_gap=max(rows, default=0.0),
            slowest=slowest(self.answers),
            kept_sent=len(self.kept_answers),
            kept_failed=len(kept),
            kept_ended=self._kept.ended,
            beats=len(self._beats),
            beats_lost=len([problem for problem in self._beats if problem]),
            socket=notebook.socket.ended,
            variable=notebook.problem_with_variable(),
            cookie=notebook.problem_with_cookie(),
            server=notebook.is_running(),
            hub_sent=len(self.hub_answers),
            hub_down=sum(hub_rows),
            hub_wait=slowest(self.hub_answers),
        )

    def _wait_for_answers(self) -> None:
        """Wait until five more requests have been answered, good or not."""
        enough, deadline = len(self.answers) + 5, time.monotonic() + PATIENCE
        while len(self.answers) < enough and time.monotonic() < deadline:
            time.sleep(1 / RATE)

    def _ask_on_schedule(self, answers: list[Answer], rate: float, ask: Callable[[], str], crowd_size: int) -> None:
        def one() -> None:
            sent = time.monotonic()
            problem = ask()
            answers.append(Answer(sent, time.monotonic() - sent, problem))

        with ThreadPoolExecutor(crowd_size) as crowd:
            due, latest = time.monotonic(), crowd.submit(one)
            while not self._stop.is_set():
                if crowd_size > 1 or latest.done():  # one connection has one request at a time
                    latest = crowd.submit(one)
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            self._beats.append(self.notebook.problem_with_variable())
            if self.notebook.socket.ended:
                return


def get(origin: str, path: str, cookies: str = "") -> str:
    """GET on a connection of its own, without following redirects; return what is wrong, nothing after a 200.

    Args:
        origin: of the server, as ``http://127.0.0.1:8000``.
    """
    connection = _connect(origin)
    try:
        connection.request("GET", path, headers={"Connection": "close", **({"Cookie": cookies} if cookies else {})})
        return _problem(connection.getresponse())
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def _connect(origin: str) -> http.client.HTTPConnection:
    address = urlsplit(origin)
    secure = address.scheme == "https"
    return (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(address.netloc, timeout=PATIENCE)


def _problem(answer: http.client.HTTPResponse) -> str:
    text = answer.read()
    return "" if answer.status == 200 else f"{answer.status} {answer.reason}: {text[:200].decode(errors='replace')}"


def _problems(answers: list[Answer]) -> list[str]:
    return [answer.problem for answer in sorted(answers) if answer.problem]


def slowest(answers: list[Answer]) -> float:
    """Return the seconds that the slowest good answer took."""
    return max((answer.seconds for answer in answers if not answer.problem), default=0.0)


def outages(answers: list[Answer]) -> list[float]:
    """Return the seconds of each row of failed requests: from the last good one before to the first good one after.

    A row at the beginning or the end counts from its first or to its last request.
    """
    found, last_good, begun = [], None, None
    for answer in sorted(answers):
        if answer.problem:
            begun = (last_good if last_good is not None else answer.sent) if begun is None else begun
        else:
            if begun is not None:
                found.append(answer.sent - begun)
            last_good, begun = answer.sent, None
    if begun is not None:
        found.append(max(answers).sent - begun)
    return found
