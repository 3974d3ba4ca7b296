"""The proxy on real Docker: kept, replaced when its own specification changed, rolled back, killed."""

from __future__ import annotations

import itertools
import secrets
import socket

import pytest
import requests

import jupyterhub_proxy
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError, run
from support.ports import free_port

NAME = run_name("proxy")


@pytest.fixture(scope="module")
def site(hub_image, proxy_image, notebook_image, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("etc"))
    made = ModuleSite(NAME, hub_image("5.5.4"), proxy_image, notebook_image("5.5.4"), directory)
    made.destroy()
    made.prepare()
    first = made.run_proxy()
    assert (first["action"], first["routes"]) == ("create", "later: there is no hub yet")
    made.run_hub()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def alice(site):
    """A user with a running server."""
    session, name = HubSession(site.url), "alice"
    password = secrets.token_hex(8)
    session.sign_up(name, password)
    assert session.sign_in(name, password)
    session.spawn(name)
    return session


def server_answers(site, session):
    """The status of the user's own server, through the proxy; /api is the page that needs no sign-in."""
    return session.get(f"{site.url}/user/alice/api", timeout=10, allow_redirects=False).status_code


@pytest.fixture
def as_before(site):
    """Afterwards, the proxy is as it was before the test."""
    port, address = site.port, site.bind_address
    yield
    site.port, site.bind_address = port, address
    site.run_proxy()


def test_a_second_run_changes_nothing(site):
    before = site.observe("proxy")
    result = site.run_proxy()
    assert (result["changed"], result["action"], result["reasons"], result["diff"]) == (False, "none", [], {})
    assert result["routes"] == "kept"
    assert site.observe("proxy") == before


def test_a_proxy_that_docker_publishes_elsewhere_is_rolled_back(site, as_before):
    before = site.observe("proxy")[0]
    site.bind_address = "localhost"  # preflight refuses it: Docker publishes the port on all addresses
    with pytest.raises(ModuleError) as caught:
        site.run_proxy()
    assert f"publishes {NAME}-proxy on 0.0.0.0:{site.port}" in str(caught.value)
    assert f" instead of localhost:{site.port}; set jupyterhub_bind_address" in str(caught.value)
    assert "the old one was restored" in str(caught.value)
    assert site.observe("proxy")[0] == before


def test_proxies_in_the_settings_of_dockers_client_do_not_reach_hub_and_proxy(site, as_before, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    site.port, site.extra_config = free_port(), "# behind a proxy"
    assert site.run_proxy()["action"] == "replace"
    assert site.run_hub()["action"] == "replace"
    for container in ("proxy", ""):
        environment = site.client.containers.get(f"{NAME}-{container}".rstrip("-")).attrs["Config"]["Env"]
        assert not [entry for entry in environment if entry.lower().startswith("http_proxy=")]


def test_a_new_hub_does_not_replace_the_proxy(site):
    before = site.observe("proxy")[:2]
    site.extra_config = "# another"
    assert site.run_hub()["action"] == "replace"
    assert site.run_proxy()["action"] == "none"
    assert site.observe("proxy")[:2] == before


def test_a_new_port_replaces_the_proxy_and_servers_are_reachable_at_once(site, alice, as_before):
    """The hub restores the routes on request; by itself it checks them every ten seconds."""
    site.port = free_port()
    result = site.run_proxy()
    assert result["action"] == "replace"
    assert result["reasons"][0].startswith(f"published ports changed: +127.0.0.1:{site.port}:8000")
    assert result["routes"] == "restored"
    alice.url = site.url
    assert server_answers(site, alice) == 200
    assert site.names() == ["", "-jupyter-alice", "-proxy"]


def test_check_mode_reports_and_changes_nothing(site, alice, as_before):
    before, port = site.observe("proxy"), site.port
    site.bind_address = "127.0.0.2"
    result = site.run_proxy(check=True, diff=True)
    assert (result["changed"], result["action"]) == (True, "replace")
    assert result["diff"]["before"]["ports"] == [f"127.0.0.1:{port}:8000"]
    assert result["diff"]["after"]["ports"] == [f"127.0.0.2:{port}:8000"]
    assert site.observe("proxy") == before


def test_a_port_that_is_taken_leaves_the_old_proxy_serving(site, alice, as_before):
    before, url = site.observe("proxy")[0], site.url
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.port = taken.getsockname()[1]
        with pytest.raises(ModuleError, match="the old one was restored") as caught:
            site.run_proxy()
    assert str(site.port) in str(caught.value)
    assert requests.get(f"{url}/hub/health", timeout=10).status_code == 200
    assert site.client.containers.get(f"{NAME}-proxy").id == before
    assert site.names() == ["", "-jupyter-alice", "-proxy"]


def test_a_proxy_that_cannot_work_is_refused_before_the_old_one_is_changed(site):
    before = site.observe("proxy")
    arguments = {**site.proxy_arguments(), "image": site.notebook_image, "health_timeout": 5}
    with pytest.raises(ModuleError, match="the new proxy does not work, so the old one was left as it was"):
        run(jupyterhub_proxy, **arguments)
    assert site.observe("proxy") == before
    assert "-proxy-check" not in site.names()


def test_a_missing_image_is_an_error_before_anything_is_changed(site):
    before = site.observe("proxy")
    with pytest.raises(ModuleError, match=r"image nowhere/proxy:1 is not on this host"):
        run(jupyterhub_proxy, **{**site.proxy_arguments(), "image": "nowhere/proxy:1"})
    assert site.observe("proxy") == before


def test_a_stopped_proxy_is_started_and_has_its_routes(site, alice):
    site.client.containers.get(f"{NAME}-proxy").stop()
    result = site.run_proxy()
    assert (result["action"], result["reasons"]) == ("start", ["the proxy container is stopped"])
    assert server_answers(site, alice) == 200


def test_the_next_run_recovers_from_one_that_was_killed_at_any_step(site, alice, as_before, tmp_path, times):
    """SIGKILL after each change that a replacement makes to Docker, or after every third."""
    ports = [site.port, free_port()]
    for step in itertools.count(1, times(3, 1)):
        site.port = ports[step % 2]
        if not killed_run("jupyterhub_proxy", step, site.proxy_arguments(), tmp_path):
            break
        site.run_proxy()
        alice.url = site.url
        assert server_answers(site, alice) == 200, f"after a kill at step {step}"
        assert site.names() == ["", "-jupyter-alice", "-proxy"], f"after a kill at step {step}"
    assert step > 8, f"a replacement takes more steps than {step}"
