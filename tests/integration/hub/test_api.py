"""The rights of the deployment's own token at a real hub of each version: exactly what the deployment needs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api

from support.signin_hub import NO_PROXY, SERVERS_INSIDE, HubContainer, write_config

ADMINS_TOKEN = secrets.token_hex(16)
# The operator replaces the lists instead of appending to them, as most examples on the web do.
EXTRA = f"""{NO_PROXY}{SERVERS_INSIDE}
c.JupyterHub.services = [{{"name": "test", "api_token": "{ADMINS_TOKEN}"}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers"]}}]
c.JupyterHub.allow_named_servers = True
c.JupyterHub.authenticator_class = "dummy"  # Native refuses names that other authenticators have
"""
NAMES = ["alice@example.com", "a b", "zoë", "bob"]


class ApiHub(NamedTuple):
    """A hub, its API for the deployment, and the path of the token."""

    hub: HubContainer
    api: hub_api.HubApi
    token: str

    def as_admin(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the API with all rights."""
        headers = {"Authorization": f"token {ADMINS_TOKEN}"}
        return requests.request(method, f"{self.hub.url}api{path}", headers=headers, timeout=30, **options)


@pytest.fixture(scope="module", params=["5.5.4", "6.1.1"])
def site(
    request: pytest.FixtureRequest, hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiHub]:
    """A hub with some users who have servers."""
    directory = tmp_path_factory.mktemp("hub")
    write_config(directory, EXTRA)
    hub = HubContainer(hub_image(request.param), directory)
    try:
        hub.start()
        token = hub_api.read_token(str(directory / "secrets" / "api_token"))
        made = ApiHub(hub, hub_api.HubApi(f"{hub.url}api", token), token)
        made.as_admin("POST", "/users", json={"usernames": NAMES}).raise_for_status()
        yield made
    finally:
        hub.remove()


def start(site: ApiHub, user: str, server: str) -> None:
    site.as_admin("POST", hub_api.server_path(user, server)).raise_for_status()


def test_servers_are_listed_page_by_page_and_stopped_one_by_one(site: ApiHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_api, "PAGE", 2)
    for name in NAMES[:3]:
        start(site, name, "")
    start(site, "zoë", "gpu-2")
    found = {user["name"]: user["servers"] for user in site.api.users()}
    assert {name: sorted(servers) for name, servers in found.items()} == {
        "alice@example.com": [""],
        "a b": [""],
        "zoë": ["", "gpu-2"],
    }
    server = found["zoë"]["gpu-2"]
    assert server["ready"] is True
    assert server["pending"] is None
    assert server["last_activity"].endswith("Z")
    assert server["started"].endswith("Z")
    for name in NAMES[:3]:
        assert site.api.request("DELETE", hub_api.server_path(name, ""))[0] in (202, 204)
    left = site.api.user("zoë")
    assert left is not None
    assert sorted(left["servers"]) == ["gpu-2"]
    site.api.request("DELETE", hub_api.server_path("zoë", "gpu-2"))
    assert list(site.api.users()) == []
    assert {user["name"] for user in site.api.users(state="")} == {*NAMES, "admin"}
    assert site.api.user("nobody") is None


def test_the_hub_restores_the_proxys_routes(site: ApiHub) -> None:
    assert site.api.request("POST", "/proxy") == (200, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/users/carol"),
        ("PATCH", "/users/bob"),
        ("POST", "/users/bob/server"),
        ("POST", "/users/bob/tokens"),
        ("GET", "/users/bob/tokens"),
        ("POST", "/shutdown"),
        ("GET", "/groups"),
        ("GET", "/services"),
    ],
)
def test_requests_that_the_deployment_does_not_need_are_refused(site: ApiHub, method: str, path: str) -> None:
    with pytest.raises(DeployError, match="refuses the token of its service `deploy`"):
        site.api.request(method, path, body={})


def test_a_user_is_deleted(site: ApiHub) -> None:
    assert site.api.request("DELETE", "/users/bob") == (204, None)
    assert site.api.user("bob") is None


def test_another_token_is_refused(site: ApiHub) -> None:
    wrong = hub_api.HubApi(site.api.url, "0" * 64)
    with pytest.raises(DeployError, match=r"refuses the token of its service `deploy` \(403 for GET /users"):
        list(wrong.users())


def test_the_token_is_in_no_log_and_no_process_list(site: ApiHub) -> None:
    assert "GET /hub/api/users" in site.hub.logs()
    assert site.token not in site.hub.logs()
    assert site.token not in site.hub.run("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").stdout
