"""What nginx uses: another address of a proxy, from the next worker on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import release, target


def front(*workers: set[str]) -> Any:
    """Return a front whose workers are the given ones, one after the other; the last ones stay."""
    seen = [*workers]
    container = Mock(health_timeout=0)
    container.name = "lab-front"
    container.workers = lambda: seen.pop(0) if len(seen) > 1 else seen[0]
    container.run.return_value = (0, "")
    container.log.return_value = "; it logged nothing"
    return container


def test_a_front_that_has_just_started_gets_the_time_to_have_workers(tmp_path: Path) -> None:
    release.retarget(front(set(), {"7"}, {"8"}), str(tmp_path), "lab", "198.18.4.2:8000")
    assert target.read(str(tmp_path), "lab") == "198.18.4.2:8000"


def test_the_workers_of_an_earlier_reload_may_end_meanwhile(tmp_path: Path) -> None:
    release.retarget(front({"7"}, {"9"}), str(tmp_path), "lab", "198.18.4.2:8000")
    assert target.read(str(tmp_path), "lab") == "198.18.4.2:8000"


def test_a_front_that_keeps_its_workers_keeps_the_address(tmp_path: Path) -> None:
    target.write(str(tmp_path), "lab", "198.18.4.2:8000")
    with pytest.raises(
        DeployError, match=r"^the front lab-front does not pass requests to the new proxy at 198.18.4.3:"
    ):
        release.retarget(front({"7"}), str(tmp_path), "lab", "198.18.4.3:8000")
    assert target.read(str(tmp_path), "lab") == "198.18.4.2:8000"


def test_a_front_without_workers_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "PATIENCE", 0)
    with pytest.raises(DeployError, match="the old one stays in use"):
        release.retarget(front(set()), str(tmp_path), "lab", "198.18.4.3:8000")
