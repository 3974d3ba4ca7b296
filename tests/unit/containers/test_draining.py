"""Old containers that drain, at a Docker that only lists them."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.draining import LONGEST, Draining


class Docker:
    """Lists containers, by their names with their states."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Names": [f"/{name}"], "State": state} for name, state in self.states.items()]


def test_one_that_has_not_ended_after_more_than_a_day_counts_as_ended() -> None:
    now = time.time_ns()
    states = {
        f"proxy-draining-{now}": "running",
        f"proxy-draining-{now - (LONGEST + 60) * 10**9}": "running",
        "proxy-draining-by-hand": "running",
        "proxy-draining-1x": "exited",
        "proxy": "exited",
    }
    found = Draining(Docker(states), "proxy", "label", lambda name: None).ended()
    assert found == [f"proxy-draining-{now - (LONGEST + 60) * 10**9}", "proxy-draining-1x"]
