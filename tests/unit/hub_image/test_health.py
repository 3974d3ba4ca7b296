"""The hub's health check: the hub answers, and its data can be written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jupyterhub_deploy_hub import health


class FakeHub(BaseHTTPRequestHandler):
    """A hub below ``/jupyter``, which answers at ``/health`` only."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), FakeHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_hub_that_answers_and_can_write_is_healthy(hub: str, tmp_path: Path) -> None:
    assert health.main(hub, tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_cannot_write_its_data_is_not(hub: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert health.main(hub, tmp_path / "gone") == 1
    assert "gone, which has the hub's database, cannot be written: No such file" in capsys.readouterr().err


def test_a_hub_that_does_not_answer_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert health.main("http://127.0.0.1:9", tmp_path) == 1
    assert "the hub does not answer at http://127.0.0.1:9/hub/health: " in capsys.readouterr().err
