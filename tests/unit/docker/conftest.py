"""What the tests of Docker's daemon share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fake_docker import isolate


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate host: without this machine's Docker, files and service manager."""
    return isolate(tmp_path, monkeypatch)
