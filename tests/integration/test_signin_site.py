"""The operator's own site.yml with GitHub beside native accounts: idempotent, and its secret is nowhere to be seen."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local_site import LocalSite

FIRST, SECOND = secrets.token_hex(20), secrets.token_hex(20)


@pytest.fixture(scope="module")
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(
        "jhd-test-signin-site",
        jupyterhub_authenticators=["native", "github"],
        jupyterhub_public_url="https://hub.example.com/",
        jupyterhub_github_client_id="example",
        jupyterhub_github_client_secret=FIRST,
        jupyterhub_github_allowed_users=["alice"],
    )
    try:
        yield made
    finally:
        made.destroy()


def test_a_secret_reaches_the_hub_and_nobody_else(site: LocalSite) -> None:
    first = site.run("-vvv", "--diff")
    page = requests.get(f"{site.url}/hub/login", timeout=10).text
    assert "Sign in with GitHub" in page
    asked = requests.get(f"{site.url}/hub/github/oauth_login", timeout=10, allow_redirects=False).headers["Location"]
    assert asked.startswith("https://github.com/login/oauth/authorize?")
    assert "redirect_uri=https%3A%2F%2Fhub.example.com%2Fhub%2Fgithub%2Foauth_callback" in asked
    path = Path("/etc", site.name, "secrets", "authenticators.json")
    assert FIRST in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    readable = [file for file in Path("/etc", site.name).rglob("*") if file.is_file() and file != path]
    assert not [file for file in readable if FIRST in file.read_text(encoding="utf-8")]
    for place in (first.output, json.dumps(site.container())):
        assert FIRST not in place

    again = site.run()
    assert again.recap["changed"] == 0, again.output

    container = site.container()["Id"]
    changed = site.run("--diff", jupyterhub_github_client_secret=SECOND)
    assert site.container()["Id"] != container, "the hub reads a new secret when it starts"
    assert FIRST not in changed.output
    assert SECOND not in changed.output

    # Nothing keeps a secret that nothing needs any more.
    site.run(jupyterhub_authenticators=["native"])
    assert not path.exists()
    assert "Sign in with GitHub" not in requests.get(f"{site.url}/hub/login", timeout=10).text
