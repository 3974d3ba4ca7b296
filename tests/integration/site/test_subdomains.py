"""Origins of users, turned on and off by site.yml on a hub with a running server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite

HOST = "hub.test"  # of a top-level domain that nobody has (RFC 6761)
ON: dict[str, Any] = {"jupyterhub_subdomains": True, "jupyterhub_check_subdomains": False}
OLD = "it was started for another public URL"


@pytest.fixture(scope="module")
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(run_name("subdomains"))
    made.settings["jupyterhub_public_url"] = f"http://{HOST}:{made.port}/"
    made.destroy()
    try:
        made.run()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def alice(site: LocalSite) -> HubSession:
    """A user with a running server."""
    session, password = HubSession(site.url), secrets.token_hex(8)
    session.headers["Host"] = f"{HOST}:{site.port}"
    session.sign_up("alice", password)
    assert session.sign_in("alice", password)
    session.spawn("alice")
    return session


def server_answers(site: LocalSite, host: str) -> bool:
    """Return whether alice's server, and not the hub, answers at a host; its version needs no sign-in."""
    answer = requests.get(f"{site.url}/user/alice/api", headers={"Host": host}, timeout=10, allow_redirects=False)
    return answer.status_code == 200 and "version" in answer.json()


def test_names_that_do_not_resolve_stop_the_run_before_anything_is_changed(site: LocalSite) -> None:
    before = site.container("proxy")["Id"], site.container()["Id"]
    run = site.run(jupyterhub_subdomains=True, fails=True)
    assert f"jupyterhub_subdomains needs a DNS record for *.{HOST}, and jupyterhub-" in run.output
    assert "Nothing was changed" in run.output
    assert before == (site.container("proxy")["Id"], site.container()["Id"])


@pytest.mark.long
def test_a_hub_that_cannot_start_leaves_the_proxy_and_servers_as_they_were(site: LocalSite, alice: HubSession) -> None:
    before = site.container("proxy")["Id"], site.container()["Id"]
    run = site.run(jupyterhub_extra_config="c.JupyterHub.no_such_setting = 1", fails=True, **ON)
    assert "no_such_setting" in run.output
    assert before == (site.container("proxy")["Id"], site.container()["Id"])
    assert server_answers(site, HOST)


def test_origins_are_turned_on_for_a_running_server(site: LocalSite, alice: HubSession) -> None:
    run = site.run(**ON)
    assert "environment changed: PROXY_HOST_ROUTING" in run.output
    assert f"kept ({OLD}; stop it if its pages do not open" in " ".join(run.output.split())
    assert server_answers(site, f"alice.{HOST}:{site.port}")
    assert not server_answers(site, f"{HOST}:{site.port}")
    assert f"{HOST}:{site.port}/" in run.output.rpartition("JupyterHub answers at")[2]


def test_the_status_reaches_the_hub(site: LocalSite, alice: HubSession) -> None:
    """Its requests have no host name of the hub's; neither have those for users and old servers below."""
    status = site.run(playbook="status.yml", **ON)
    assert "1 server runs" in status.output
    assert "NOT REACHABLE" not in status.output
    assert "does not answer" not in status.output


def test_a_server_of_before_can_be_stopped_and_users_declared(site: LocalSite, alice: HubSession) -> None:
    users = [{"name": "bob", "password": secrets.token_hex(8)}]
    run = site.run("--tags", "hub", jupyterhub_old_servers="stop", jupyterhub_users=users, **ON)
    assert f"stopped ({OLD})" in " ".join(run.output.split())
    assert "bob: account created, added to the hub" in run.output
    alice.spawn("alice")

    # Another run has nothing to do and nothing to say.
    before = site.container("proxy")["Id"], site.container()["Id"]
    again = site.run(**ON)
    assert OLD not in again.output
    assert again.recap["changed"] == 0, again.output
    assert before == (site.container("proxy")["Id"], site.container()["Id"])
    assert server_answers(site, f"alice.{HOST}:{site.port}")


def test_origins_are_turned_off(site: LocalSite, alice: HubSession) -> None:
    run = site.run("--tags", "hub")
    assert f"kept ({OLD};" in " ".join(run.output.split())
    assert server_answers(site, f"{HOST}:{site.port}")
