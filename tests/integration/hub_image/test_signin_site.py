"""site.yml with GitHub and native accounts: idempotent, and without a secret in any output."""

from __future__ import annotations

import json
import secrets
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from hosts.run import name as run_name
from support.local_site import LocalSite
from support.oauth_hub import free_address

FIRST, SECOND, OTHER = secrets.token_hex(20), secrets.token_hex(20), secrets.token_hex(20)
LAB = {
    "name": "lab",
    "class": "generic-oauth",
    "traits": {"client_id": "hub", "authorize_url": "https://lab.example.com/", "allowed_users": ["bob"]},
    "secrets": {"client_secret": OTHER},
}


@pytest.fixture(scope="module")
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(
        run_name("signin-site"),
        jupyterhub_authenticators=["native", "github", LAB],
        jupyterhub_auth_state=True,
        jupyterhub_extra_config="c.JupyterHub.log_level = 'DEBUG'",
        jupyterhub_public_url="https://hub.example.com/",
        jupyterhub_github_client_id="example",
        jupyterhub_github_client_secret=FIRST,
        jupyterhub_github_allowed_users=["alice"],
    )
    try:
        yield made
    finally:
        made.destroy()


class Proxy(BaseHTTPRequestHandler):
    """The HTTP proxy of a site, which reaches no host."""

    asked: ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def by_vault(directory: Path, **values: str) -> list[str]:
    """Return arguments of ansible-playbook with settings that ansible-vault has encrypted."""
    password = directory / "vault_password"
    password.write_text(secrets.token_hex(20), encoding="utf-8")
    given = ["--vault-password-file", str(password)]
    lines = [
        subprocess.run(
            ["ansible-vault", "encrypt_string", *given, "--stdin-name", name], input=value, check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ).stdout
        for name, value in values.items()
    ]  # fmt: skip
    settings = directory / "vault.yml"
    settings.write_text("\n".join(lines), encoding="utf-8")
    return [*given, "-e", f"@{settings}"]


def secret_files(site: LocalSite) -> list[Path]:
    """Return the files with secrets of authenticators on the host."""
    return list(Path("/etc", site.name).rglob("authenticators.json"))


def test_a_secret_reaches_only_the_hub(site: LocalSite, tmp_path: Path) -> None:
    first = site.run("-vvv", "--diff")
    page = requests.get(f"{site.url}/hub/login", timeout=10).text
    assert "Sign in with GitHub" in page
    asked = requests.get(f"{site.url}/hub/github/oauth_login", timeout=10, allow_redirects=False).headers["Location"]
    assert asked.startswith("https://github.com/login/oauth/authorize?")
    assert "redirect_uri=https%3A%2F%2Fhub.example.com%2Fhub%2Fgithub%2Foauth_callback" in asked
    directory = Path("/etc", site.name, "secrets")
    (path,) = secret_files(site)
    assert json.loads(path.read_text(encoding="utf-8"))["values"] == {
        "github": {"client_secret": FIRST}, "lab": {"client_secret": OTHER}
    }  # fmt: skip
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (path, *directory.iterdir())}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = [file for file in Path("/etc", site.name).rglob("*") if file.is_file()]
    readable = [file for file in files if file.parent != directory and file != path]
    assert readable
    assert "[D " in site.logs()
    # The clients' secrets, the key of the auth state, and all other secrets.
    kept = [file.read_text(encoding="utf-8").strip() for file in directory.iterdir()]
    assert len(kept) == 5
    for secret in (FIRST, OTHER, *kept):
        assert not [file for file in readable if secret in file.read_text(encoding="utf-8")]
        for place in (first.output, json.dumps([site.container(), site.container("proxy")]), site.logs()):
            assert secret not in place

    again = site.run()
    assert again.recap["changed"] == 0, again.output

    container = site.container()["Id"]
    changed = site.run("-vvv", "--diff", *by_vault(tmp_path, jupyterhub_github_client_secret=SECOND))
    assert site.container()["Id"] != container, "the hub reads a new secret when it starts"
    (path,) = secret_files(site)
    assert json.loads(path.read_text(encoding="utf-8"))["values"]["github"] == {"client_secret": SECOND}
    assert FIRST not in changed.output
    assert SECOND not in changed.output

    # An invalid secret is refused without being shown, and the hub keeps running.
    third = secrets.token_hex(20)
    wrong = {**LAB, "secrets": {"client_secret": [third]}}
    container = site.container()["Id"]
    refused = site.run("-vvv", "--diff", fails=True, jupyterhub_authenticators=["native", "github", wrong])
    assert "c.GenericOAuthenticator.client_secret" in refused.output
    assert third not in refused.output
    assert site.container()["Id"] == container

    # A secret that is not needed any more is removed.
    site.run(jupyterhub_authenticators=["native"])
    assert secret_files(site) == []
    assert "Sign in with GitHub" not in requests.get(f"{site.url}/hub/login", timeout=10).text


def test_the_hub_asks_a_provider_through_the_proxy_of_the_site(site: LocalSite) -> None:
    gateway = free_address()[0]
    with ThreadingHTTPServer((gateway, 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        site.run(
            jupyterhub_http_proxy=f"http://{gateway}:{proxy.server_port}",
            jupyterhub_no_proxy=["intranet.example.com"],
            jupyterhub_github_url="https://github.example.com",
        )
        assert "NO_PROXY=intranet.example.com" in site.container()["Config"]["Env"]
        asked = requests.get(f"{site.url}/hub/github/oauth_login", timeout=10, allow_redirects=False)
        assert asked.headers["Location"].startswith("https://github.example.com/login/oauth/authorize?")
        state = parse_qs(urlsplit(asked.headers["Location"]).query)["state"][0]
        answer = requests.get(
            f"{site.url}/hub/github/oauth_callback", params={"code": "x", "state": state},
            headers={"Cookie": "; ".join(f"{one.name}={one.value}" for one in asked.cookies)}, timeout=30,
        )  # fmt: skip
        proxy.shutdown()
    assert Proxy.asked == ["github.example.com:443"]
    assert answer.status_code == 503
    assert "This hub cannot reach GitHub." in answer.text
    seen = (
        "GitHub cannot be reached through the HTTP proxy (jupyterhub_http_proxy), at https://github.example.com/login/"
    )
    assert seen in site.logs()
    assert "Tunnel connection failed: 502" in site.logs()


@pytest.mark.long
def test_only_github_has_its_own_administrators_and_demotes_them(site: LocalSite) -> None:
    """After native accounts, whose administrator cannot sign in any more."""
    github: dict[str, Any] = {
        "jupyterhub_authenticators": ["github"],
        "jupyterhub_github_admin_users": ["alice", "carol"],
    }
    output = site.run(**github).output
    assert "Admins: as the settings of GitHub say" in " ".join(output.split())
    again = site.run(**github)
    assert again.recap["changed"] == 0, again.output

    github["jupyterhub_github_admin_users"] = ["alice"]
    output = " ".join(site.run(**github).output.split())
    assert "not declared, but administrator: carol; add them to jupyterhub_users" in output
    users = [{"name": "dave", "groups": ["x"]}]
    demoting = {**github, "jupyterhub_undeclared_admins": "demote", "jupyterhub_users": users}
    output = " ".join(site.run(**demoting).output.split())
    assert "carol: administrator rights removed, because not declared" in output
    assert "dave: added to the hub, joined group x" in output
    again = site.run(**demoting)
    assert again.recap["changed"] == 0, again.output
    refused = site.run(
        "-e", "user=dave", "-e", "do=disable", playbook="playbooks/user.yml", fails=True, **demoting
    ).output
    assert "dave: only native accounts have passwords and can be disabled" in " ".join(refused.split())
