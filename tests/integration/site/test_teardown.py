"""A hub is removed by the playbook and comes back with its users and their files; what has its name only stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite

NAME = run_name("teardown")
PASSWORD = "seven-green-bottles-on-a-wall"
TEARDOWN = "playbooks/teardown.yml"


@pytest.fixture
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(NAME)
    made.destroy()
    try:
        made.run()
        yield made
    finally:
        made.destroy()


def test_a_hub_is_removed_and_comes_back(site: LocalSite) -> None:
    session = HubSession(site.url)
    session.sign_up("alice", PASSWORD)
    assert session.sign_in("alice", PASSWORD)
    session.spawn("alice")
    session.contents("PUT", "alice", "answer.txt", json={"type": "file", "format": "text", "content": "42"})
    bystander = f"{NAME}-proxy-of-another-project"
    site.client.containers.create(site.container("proxy")["Config"]["Image"], name=bystander)
    all_of_it = [NAME, f"{NAME}-front", f"{NAME}-guard", f"{NAME}-jupyter-alice", f"{NAME}-proxy", bystander]

    checked = site.run(playbook=TEARDOWN, check=True)
    assert (
        f"would be removed: container {NAME}, container {NAME}-guard, container {NAME}-jupyter-alice" in checked.output
    )
    assert site.containers() == all_of_it

    removed = site.run(playbook=TEARDOWN)
    assert f"the front does not serve {site.url}/ any more" in removed.output
    networks = [f"network {NAME}-{part}" for part in ("control", "front", "network")]
    assert ", ".join([f"container {NAME}-proxy", *networks]) in removed.output
    assert f"kept: volume {NAME}-data, volume {NAME}-user-alice" in removed.output
    assert site.containers() == [bystander]
    assert not [one.name for one in site.client.networks.list() if str(one.name).startswith(NAME)]
    with pytest.raises(requests.ConnectionError):
        requests.get(site.url, timeout=10)
    assert site.run(playbook=TEARDOWN).recap["changed"] == 0

    site.run()
    session = HubSession(site.url)
    assert session.sign_in("alice", PASSWORD)
    session.spawn("alice")
    assert session.contents("GET", "alice", "answer.txt")["content"] == "42"
