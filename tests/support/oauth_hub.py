"""A hub with the settings that role ``jupyterhub`` makes of an operator's, and a GitHub and GitLab for it."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import requests

import jupyterhub_signin
from support.oauth_provider import CLIENT_ID, OAuthProvider, Person
from support.ports import free_port
from support.signin_hub import HUB, NO_PROXY, SERVERS_INSIDE, Browser, HubContainer, names_of, write_config

DEFAULTS: dict[str, Any] = {
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


OTHER_SECRET = secrets.token_hex(32)
#: For a hub that is the OAuth provider of another one, whose address replaces ADDRESS.
OAUTH_CLIENT = f"""
c.JupyterHub.services.append({{
    "name": "other", "oauth_client_id": "service-other", "api_token": "{OTHER_SECRET}", "oauth_no_confirm": True,
    "oauth_redirect_uri": "http://ADDRESS/hub/oauth_callback",
}})
c.JupyterHub.load_roles.append({{"name": "user", "scopes": ["self", "access:services!service=other"]}})
"""


def free_address() -> tuple[str, str]:
    """Return an address of this machine that containers can reach, without and with a free port."""
    bridge = docker.from_env().networks.get("bridge").attrs["IPAM"]["Config"][0]
    gateway = str(bridge.get("Gateway") or bridge["Subnet"].rsplit(".", 1)[0] + ".1")
    return gateway, f"{gateway}:{free_port(gateway)}"


def provider_of() -> OAuthProvider:
    """Return a provider with users of all kinds, which hubs in containers can reach."""
    made = OAuthProvider(free_address()[0])
    made.people = {
        "alice": Person(1, {"course", "staff:teachers", "faculty/lab"}),
        "bob": Person(2),
        "admin": Person(3, {"course", "faculty/lab"}),
        "carol": Person(4, projects={"77": 30}),
        "dave": Person(5, projects={"77": 20}),
        "octocat": Person(6),
        "erna": Person(7, {"course"}),
        "frida": Person(8, {"staff", "faculty"}),  # in the organisation and group, not in team or subgroup
    }
    return made


def hub_of(
    image: str, directory: Path, provider: OAuthProvider, extra: str = "", socket: bool = False, **settings: Any
) -> HubContainer:
    """Return a hub with `settings` (see `configure`), not started."""
    address = urlsplit(settings.get("public_url", "")).netloc or free_address()[1]
    configure(directory, provider, extra, **{**settings, "public_url": f"http://{address}/"})
    return HubContainer(image, directory, address=address, socket=socket)


def configure(
    directory: Path,
    provider: OAuthProvider,
    extra: str = "",
    auth_state: bool = False,
    signup: str = "open",
    name: str = HUB,
    **settings: Any,
) -> None:
    """Write a hub's configuration as the role would for `settings`, with `extra` at its end."""
    settings = {
        **DEFAULTS, "github_url": provider.url, "gitlab_url": provider.url,
        "github_client_secret": provider.client_secret, "gitlab_client_secret": provider.client_secret, **settings,
    }  # fmt: skip
    assert jupyterhub_signin.problems(settings) == []
    signin = {
        **names_of(name),
        "authenticators": jupyterhub_signin.entries(settings),
        "public_url": settings["public_url"],
        "auth_state": auth_state,
    }
    secret_values = jupyterhub_signin.secret_values(settings)
    write_config(
        directory, NO_PROXY + SERVERS_INSIDE + extra, signin=signin, secret_values=secret_values, signup=signup
    )


class Visitor(Browser):
    """A browser that also visits the provider."""

    def to_provider(self, way: str) -> str:
        """Press the button; return the URL to which the hub redirects."""
        answer = self.get(f"{way}oauth_login?next=%2Fhub%2Fhome", allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def back_from(self, provider_url: str, who: str) -> str:
        """Sign in at the provider; return the URL to which it redirects."""
        answer = self.session.get(f"{provider_url}&as={who}", allow_redirects=False, timeout=20)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def by(self, way: str, who: str) -> requests.Response:
        """Sign in as `who` by ``github/``, ``gitlab/`` or, when there is only one way, ``""``; 302 when it worked."""
        return self.session.get(self.back_from(self.to_provider(way), who), allow_redirects=False, timeout=30)

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the hub's API as its pages do."""
        token = str(self.session.cookies.get("_xsrf", path="/hub/"))
        headers = {"X-XSRFToken": token, "Referer": self.hub.url + "home"}
        return self.session.request(method, f"{self.hub.url}api/{path}", headers=headers, timeout=30, **options)

    def name(self) -> str:
        """Return the name of the signed-in user, empty without one."""
        found = re.search(r'user: "([^"]*)"', self.get("home").text)
        return found[1] if found else ""
