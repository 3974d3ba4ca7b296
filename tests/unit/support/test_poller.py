"""What the poll makes of the answers that it got; that it gets them is seen in tests/integration."""

from __future__ import annotations

import http.server
import threading

import pytest

from support.poller import Answer, KeptConnection, get, outages


def answers(pattern: str) -> list[Answer]:
    """One answer a second: `.` is good, `x` is not."""
    return [Answer(float(second), 0.1, "" if mark == "." else "refused") for second, mark in enumerate(pattern)]


@pytest.mark.parametrize(
    ("pattern", "seconds"),
    [
        ("", []),
        ("....", []),
        (".x..", [2]),
        (".xxx..", [4]),
        ("..xx.x.", [3, 2]),
        ("xx..", [2]),
        ("..xx", [2]),
        ("xxx", [2]),
    ],
)
def test_an_outage_lasts_from_the_last_good_request_to_the_next_good_one(pattern, seconds):
    assert outages(answers(pattern)) == seconds


def test_answers_come_in_any_order():
    assert outages(answers(".xx.")[::-1]) == [3]


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with the number that its path is."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "/200")
        self.end_headers()
        self.wfile.write(b"said")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_only_a_200_is_a_good_answer():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        assert get(origin, "/200") == ""
        assert get(origin, "/302") == "302 Found: said"
        assert get(origin, "/503") == "503 Service Unavailable: said"
        server.shutdown()
    assert "Connection" in get(origin, "/200")  # refused, or reset


class KeepingServer(http.server.BaseHTTPRequestHandler):
    """Keeps connections, except after some paths."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = self.path != "/kept"
        if self.path == "/nothing":
            return
        self.send_response(200)
        self.send_header("Content-Length", "9" if self.path == "/cut" else "4")
        if self.path == "/announced":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"said")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize(
    ("paths", "problems", "ended"),
    [
        (["/kept", "/kept"], ["", ""], 0),
        (["/ended", "/kept"], ["", ""], 1),
        (["/announced", "/kept"], ["", ""], 1),
        (["/kept", "/cut", "/kept"], ["", "IncompleteRead(4 bytes read, 5 more expected)", ""], 0),
        (["/kept", "/nothing"], ["", "RemoteDisconnected('Remote end closed connection without response')"], 1),
    ],
)
def test_a_kept_connection_may_end_between_requests_only(paths, problems, ended):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeepingServer) as server:
        threading.Thread(target=server.serve_forever).start()
        kept = KeptConnection(f"http://127.0.0.1:{server.server_port}")
        seen = [kept.get(path) for path in paths]
        kept.close()
        server.shutdown()
    assert (seen, kept.ended) == (problems, ended)
