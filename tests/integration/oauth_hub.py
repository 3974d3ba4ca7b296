"""A hub that signs people in as role ``jupyterhub`` makes of an operator's settings, with GitHub and GitLab for it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker

import jupyterhub_signin
from integration.signin_hub import NO_PROXY, SERVERS_INSIDE, HubContainer, write_config
from oauth_provider import CLIENT_ID, OAuthProvider, Person

NOTHING: dict[str, Any] = {
    "authenticators": ["native"],
    "public_url": "",
    "hub_extra_requirements": [],
    "hub_image": "",
    "users": [],
    **{
        f"{provider}_{key}": value
        for provider, lists in {
            "github": ["allowed_organizations"], "gitlab": ["allowed_groups", "allowed_projects"],
        }.items()
        for key, value in {
            "url": "", "client_id": CLIENT_ID, "client_secret": "", "users": {}, "allow_all": False,
            **{name: [] for name in ["allowed_users", "admin_users", *lists]},
        }.items()
    },
}  # fmt: skip


def free_address() -> tuple[str, str]:
    """Return an address of this machine that a hub in a container and its peers can both reach, with a free port."""
    bridge = docker.from_env().networks.get("bridge").attrs["IPAM"]["Config"][0]
    gateway = str(bridge.get("Gateway") or bridge["Subnet"].rsplit(".", 1)[0] + ".1")
    with socket.create_server((gateway, 0)) as server:
        return gateway, f"{gateway}:{server.getsockname()[1]}"


def provider_of(callback: str = "") -> OAuthProvider:
    """Return a provider with people of all kinds, where hubs in containers can reach it."""
    made = OAuthProvider(free_address()[0], callback)
    made.people = {
        "alice": Person(1, {"course", "staff:teachers", "faculty/lab"}),
        "bob": Person(2),
        "admin": Person(3, {"course", "faculty/lab"}),
        "carol": Person(4, projects={"77": 30}),
        "dave": Person(5, projects={"77": 20}),
        "octocat": Person(6),
    }
    return made


def hub_of(
    image: str, directory: Path, provider: OAuthProvider, extra: str = "", auth_state: bool = False, **settings: Any
) -> HubContainer:
    """Return a hub, not started, that the role would make of `settings`."""
    address = urlsplit(settings.get("public_url", "")).netloc or free_address()[1]
    settings = {
        **NOTHING, "public_url": f"http://{address}/", "github_url": provider.url, "gitlab_url": provider.url,
        "github_client_secret": provider.client_secret, "gitlab_client_secret": provider.client_secret, **settings,
    }  # fmt: skip
    assert jupyterhub_signin.problems(settings) == []
    signin = {
        "authenticators": jupyterhub_signin.entries(settings),
        "public_url": settings["public_url"],
        "auth_state": auth_state,
    }
    secret_values = jupyterhub_signin.secret_values(settings)
    write_config(directory, NO_PROXY + SERVERS_INSIDE + extra, signin=signin, secret_values=secret_values)
    return HubContainer(image, directory, address=address)
