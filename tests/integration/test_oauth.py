"""Sign-in by GitHub and GitLab, alone and beside native accounts, through the real classes on real hubs.

The provider is tests/oauth_provider.py, on this machine; what the hub is told is what the role's filter makes of an
operator's settings.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker as docker_sdk
import pytest
import requests

from integration.oauth_hub import free_address, hub_of, provider_of
from integration.signin_hub import ADMIN_PASSWORD, Browser, HubContainer, shown
from oauth_provider import CLIENT_ID, OAuthProvider

VERSIONS = ["5.5.4", "6.1.1"]
PASSWORD = "three unrelated words"
OTHER_SECRET = secrets.token_hex(32)
#: For a hub that is the OAuth provider of another one, at the address that takes the place of ADDRESS.
OAUTH_CLIENT = f"""
c.JupyterHub.services.append({{
    "name": "other", "oauth_client_id": "service-other", "api_token": "{OTHER_SECRET}", "oauth_no_confirm": True,
    "oauth_redirect_uri": "http://ADDRESS/hub/oauth_callback",
}})
c.JupyterHub.load_roles.append({{"name": "user", "scopes": ["self", "access:services!service=other"]}})
"""


class Visitor(Browser):
    """A browser that also goes to the provider."""

    def to_provider(self, way: str) -> str:
        """Press the button; return where the hub sends the person."""
        answer = self.get(f"{way}oauth_login?next=%2Fhub%2Fhome", allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def back_from(self, provider_url: str, who: str) -> str:
        """Say at the provider who one is; return where it sends the person."""
        answer = self.session.get(f"{provider_url}&as={who}", allow_redirects=False, timeout=20)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def by(self, way: str, who: str) -> requests.Response:
        """Sign in as `who` by ``github/``, ``gitlab/`` or, when there is only one way, ``""``; 302 when it worked."""
        return self.session.get(self.back_from(self.to_provider(way), who), allow_redirects=False, timeout=30)

    def name(self) -> str:
        """Return the name of whoever is signed in, empty for nobody."""
        found = re.search(r'user: "([^"]*)"', self.get("home").text)
        return found[1] if found else ""


@pytest.fixture(scope="module")
def provider() -> Iterator[OAuthProvider]:
    made = provider_of()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def other_address() -> str:
    """Where another hub will be."""
    return free_address()[1]


@pytest.fixture(autouse=True)
def callback(request: pytest.FixtureRequest, provider: OAuthProvider) -> None:
    """The registered callback is the hub's of the test: GitHub and GitLab look at host and port."""
    for name in ("several", "github_hub"):
        if name in request.fixturenames:
            provider.callback = request.getfixturevalue(name).url


@pytest.fixture(scope="module", params=VERSIONS)
def several(
    request: pytest.FixtureRequest,
    hub_image: Callable[[str], str],
    provider: OAuthProvider,
    other_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HubContainer]:
    """A hub with native accounts, GitHub, GitLab, and a second GitLab that does not answer."""
    down = {
        "name": "down", "class": "gitlab", "label": "the old GitLab", "secrets": {"client_secret": "x"},
        "traits": {"client_id": CLIENT_ID, "gitlab_url": "http://127.0.0.1:9", "allow_all": True,
                   "authorize_url": f"{provider.url}/oauth/authorize"},
    }  # fmt: skip
    hub = hub_of(
        hub_image(request.param), tmp_path_factory.mktemp("several"), provider,
        extra=OAUTH_CLIENT.replace("ADDRESS", other_address),
        authenticators=["native", "github", "gitlab", down],
        github_allowed_organizations=["course", "staff:teachers"], github_allowed_users=["Octocat"],
        github_admin_users=["Carol"], github_users={"octocat": "olga"},
        gitlab_allowed_groups=["faculty/lab"], gitlab_allowed_projects=[77],
    )  # fmt: skip
    try:
        yield hub.start()
    finally:
        hub.remove()


def admin_of(hub: HubContainer) -> Visitor:
    admin = Visitor(hub)
    assert admin.sign_in("admin", ADMIN_PASSWORD).status_code == 302
    return admin


def user_names(hub: HubContainer) -> set[str]:
    return {str(row[0]) for row in hub.sql("SELECT name FROM users")}


# ---- side by side


def test_one_page_offers_all_ways(several: HubContainer) -> None:
    page = Visitor(several).get("login?next=%2Fhub%2Ftoken").text
    assert 'name="password"' in page
    for way, label in (("github", "GitHub"), ("gitlab", "GitLab"), ("down", "the old GitLab")):
        assert re.search(rf'href="/hub/{way}/oauth_login\?next=%2Fhub%2Ftoken"[^>]*>Sign in with {label}<', page), page


def test_equal_names_are_different_users(several: HubContainer) -> None:
    native = Visitor(several)
    native.sign_up("alice", PASSWORD)
    assert native.sign_in("alice", PASSWORD).status_code == 302
    github, gitlab = Visitor(several), Visitor(several)
    assert github.by("github/", "alice").headers["Location"] == "/hub/home"
    assert gitlab.by("gitlab/", "alice").status_code == 302
    assert [person.name() for person in (native, github, gitlab)] == ["alice", "github:alice", "gitlab:alice"]
    assert {"alice", "github:alice", "gitlab:alice"} <= user_names(several)


def test_a_namesake_of_the_admin_is_no_admin(several: HubContainer) -> None:
    for way in ("github/", "gitlab/"):
        person = Visitor(several)
        assert person.by(way, "admin").status_code == 302
        assert person.get("admin").status_code == 403
    assert admin_of(several).get("admin").status_code == 200


def test_an_admin_of_github_is_an_admin_there_only(several: HubContainer) -> None:
    person = Visitor(several)
    assert person.by("github/", "carol").status_code == 302
    assert person.get("admin").status_code == 200
    other = Visitor(several)
    assert other.by("gitlab/", "carol").status_code == 302, "has Developer access to the project"
    assert other.get("admin").status_code == 403


@pytest.mark.parametrize(("way", "who"), [("github/", "bob"), ("gitlab/", "bob"), ("gitlab/", "dave")])
def test_who_is_not_allowed_stays_out(several: HubContainer, way: str, who: str) -> None:
    person = Visitor(several)
    answer = person.by(way, who)
    assert answer.status_code == 403
    assert "knows you, but this hub does not let you in" in answer.text
    assert person.name() == ""
    assert f"{way[:-1]}:{who}" not in user_names(several)
    assert f"'{way[:-1]}:{who}' not allowed" in several.logs()


def test_a_joined_person_has_the_name_here(several: HubContainer) -> None:
    person = Visitor(several)
    assert person.by("github/", "octocat").status_code == 302
    assert person.name() == "olga"
    assert "is taken" in shown(Visitor(several).sign_up("olga", PASSWORD)), "nobody else gets the name"
    accounts = admin_of(several).get("authorize").text
    assert "olga" not in accounts
    assert "github:" not in accounts
    assert person.get("change-password").status_code == 404


def test_native_accounts_work_beside_the_others(several: HubContainer) -> None:
    person = Visitor(several, "198.18.0.9")
    assert "cannot contain :" in shown(person.sign_up("github:zoe", PASSWORD))
    assert "successful" in shown(person.sign_up("zoe", PASSWORD))
    assert shown(person.sign_in("zoe", "wrong")) == "Invalid username or password."
    assert person.sign_in("zoe", PASSWORD).status_code == 302
    assert "has been changed" in shown(person.change_password(PASSWORD, "quite another phrase"))
    admin = admin_of(several)
    assert admin.post("authorize/zoe", {"authorized": "no"}, form="authorize").status_code == 302
    assert "not been authorized" in shown(person.sign_in("zoe", "quite another phrase"))
    assert not person.signed_in()


def test_a_password_for_somebody_of_github_is_refused(several: HubContainer) -> None:
    github = Visitor(several)
    github.by("github/", "alice")
    admin = admin_of(several)
    assert admin.get("change-password/github%3Aalice").status_code == 404
    fields = {"new_password": PASSWORD, "new_password_confirmation": PASSWORD}
    assert admin.post("change-password/github%3Aalice", fields, form="authorize").status_code == 404


def test_a_deleted_user_does_not_come_back_by_the_old_password(several: HubContainer) -> None:
    person = Visitor(several, "198.18.0.10")
    person.sign_up("wim", PASSWORD)
    assert person.sign_in("wim", PASSWORD).status_code == 302
    admin = admin_of(several)
    token = admin.session.cookies.get("_xsrf", path="/hub/")
    headers = {"X-XSRFToken": str(token), "Referer": admin.hub.url + "home"}
    assert admin.session.delete(several.url + "api/users/wim", headers=headers, timeout=20).status_code == 204
    assert not person.signed_in()
    assert person.sign_in("wim", PASSWORD).status_code == 403


def test_each_source_counts_its_own_failures(several: HubContainer) -> None:
    """The authenticator is one of several, and still knows where a request came from."""
    stranger = Visitor(several, "198.18.0.11")
    for _ in range(5):
        stranger.sign_in("admin", "wrong")
    assert "Too many failed attempts" in shown(stranger.sign_in("admin", "wrong"))
    assert Visitor(several, "198.18.0.12").sign_in("admin", ADMIN_PASSWORD).status_code == 302


# ---- what goes wrong on the way


@pytest.mark.parametrize("way", ["github/", "gitlab/"])
def test_an_expired_code(several: HubContainer, provider: OAuthProvider, way: str) -> None:
    provider.codes_expire = True
    try:
        answer = Visitor(several).by(way, "alice")
    finally:
        provider.codes_expire = False
    assert answer.status_code == 400
    assert "took too long, or was done twice. Please sign in again." in answer.text
    assert "the code was too old, or used before" in several.logs()


@pytest.mark.parametrize(("way", "label"), [("github/", "GitHub"), ("gitlab/", "GitLab")])
def test_a_wrong_client_secret(several: HubContainer, provider: OAuthProvider, way: str, label: str) -> None:
    right, provider.client_secret = provider.client_secret, "another"
    try:
        answer = Visitor(several).by(way, "alice")
    finally:
        provider.client_secret = right
    assert answer.status_code == 502
    assert f"{label} does not accept this hub. Please tell the administrator of this hub." in answer.text
    assert f"{label} refused this hub&#39;s client id or secret".replace("&#39;", "'") in several.logs()


def test_a_provider_that_is_down(several: HubContainer) -> None:
    answer = Visitor(several).by("down/", "alice")
    assert answer.status_code == 503
    assert "the old GitLab does not answer at the moment. Please try again later" in answer.text
    assert "the old GitLab cannot be asked at http://127.0.0.1:9/oauth/token" in several.logs()


def test_somebody_who_says_no_at_the_provider(several: HubContainer) -> None:
    answer = Visitor(several).by("github/", "cancel")
    assert answer.status_code == 403
    assert "You did not allow GitHub to tell this hub who you are." in answer.text


def test_a_callback_that_another_browser_began(several: HubContainer) -> None:
    victim, attacker = Visitor(several), Visitor(several)
    prepared = attacker.back_from(attacker.to_provider("github/"), "alice")
    victim.to_provider("github/")
    for person in (victim, Visitor(several)):
        answer = person.session.get(prepared, timeout=20)
        assert answer.status_code == 400
        assert "begun too long ago, or in another window" in answer.text
        assert person.name() == ""


def test_no_secret_shows(several: HubContainer, provider: OAuthProvider) -> None:
    inspected = json.dumps(docker_sdk.from_env().api.inspect_container(several.name))
    for secret in (provider.client_secret, PASSWORD, ADMIN_PASSWORD):
        assert secret not in inspected
        assert secret not in several.logs()
    assert "Traceback" not in several.logs()


# ---- one way alone


@pytest.fixture(scope="module")
def github_hub(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubContainer]:
    hub = hub_of(
        hub_image("6.1.1"), tmp_path_factory.mktemp("github"), provider, authenticators=["github"], auth_state=True,
        extra="c.JupyterHub.log_level = 'DEBUG'\nc.Authenticator.auth_refresh_age = 1\n",
        github_allowed_organizations=["course"], github_admin_users=["carol"],
    )  # fmt: skip
    try:
        yield hub.start()
    finally:
        hub.remove()


def test_alone_github_gives_plain_names(github_hub: HubContainer) -> None:
    person = Visitor(github_hub)
    page = person.get("login").text
    assert "Sign in with GitHub" in page
    assert 'name="password"' not in page
    assert person.by("", "alice").status_code == 302
    assert person.name() == "alice"
    assert "change-password" not in person.get("home").text
    assert Visitor(github_hub).by("", "bob").status_code == 403


def test_alone_github_has_admins_of_its_own(github_hub: HubContainer) -> None:
    person, boss = Visitor(github_hub), Visitor(github_hub)
    assert person.by("", "admin").status_code == 302, "GitHub's admin, whoever that is"
    assert person.get("admin").status_code == 403
    assert boss.by("", "carol").status_code == 302
    assert boss.get("admin").status_code == 200


def test_auth_state_is_encrypted_and_keys_rotate(github_hub: HubContainer, provider: OAuthProvider) -> None:
    person = Visitor(github_hub)
    person.by("", "alice")
    ask = "SELECT hex(encrypted_auth_state) FROM users WHERE name = 'alice'"
    before = bytes.fromhex(github_hub.sql(ask)[0][0])
    assert before
    assert b"access_token" not in before
    key = github_hub.directory / "secrets" / "crypt_key"
    key.write_text("ab" * 32 + "\n" + key.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    github_hub.restart()
    # With auth_refresh_age the hub asks GitHub again by the token in it; without the old key it would have none.
    assert person.signed_in()
    provider.asked.clear()
    assert person.signed_in()
    assert bytes.fromhex(github_hub.sql(ask)[0][0]) != before


def test_everybody_may_come_in_when_told(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    """GitLab alone, too."""
    hub = hub_of(
        hub_image("5.5.4"), tmp_path, provider, authenticators=["gitlab"], gitlab_allow_all=True,
        gitlab_admin_users=["carol"],
    )  # fmt: skip
    try:
        provider.callback = hub.start().url
        person = Visitor(hub)
        assert person.by("", "bob").status_code == 302
        assert person.name() == "bob"
        assert person.get("admin").status_code == 403
    finally:
        hub.remove()


def test_no_secret_shows_at_debug_level(github_hub: HubContainer, provider: OAuthProvider) -> None:
    assert "[D " in github_hub.logs()
    assert provider.client_secret not in github_hub.logs()


def test_an_oauth_provider_that_nobody_here_wrote(
    several: HubContainer, provider: OAuthProvider, other_address: str, tmp_path: Path
) -> None:
    """Another JupyterHub is one, for GenericOAuthenticator."""
    way = {
        "name": "other-hub", "class": "generic-oauth", "secrets": {"client_secret": OTHER_SECRET},
        "traits": {
            "client_id": "service-other", "allowed_users": ["Yan"], "username_claim": "name",
            "authorize_url": f"{several.url}api/oauth2/authorize", "token_url": f"{several.url}api/oauth2/token",
            "userdata_url": f"{several.url}api/user",
        },
    }  # fmt: skip
    hub = hub_of(several.image, tmp_path, provider, authenticators=[way], public_url=f"http://{other_address}/")
    try:
        hub.start()
        for name, status in (("yan", 302), ("yvo", 403)):
            # Two browsers, since cookies do not tell ports apart.
            there, here = Visitor(several), Visitor(hub)
            there.sign_up(name, PASSWORD)
            there.sign_in(name, PASSWORD)
            asked = there.session.get(here.to_provider(""), allow_redirects=False, timeout=20)
            assert asked.status_code == 302, asked.text
            assert here.session.get(asked.headers["Location"], allow_redirects=False, timeout=20).status_code == status
            assert here.name() == (name if status == 302 else "")
    finally:
        hub.remove()


def checked(image: str, directory: Path, provider: OAuthProvider, extra: str = "", **settings: Any) -> str:
    """Return what the check of the configuration says before any hub is started."""
    hub = hub_of(image, directory, provider, extra, **settings)
    try:
        return str(hub.run("python3", "-m", "jupyterhub_deploy_hub.check").stderr)
    finally:
        hub.remove()  # its volume


def test_what_would_open_every_way_stops_the_run(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    both = {"authenticators": ["native", "github"], "github_allowed_organizations": ["course"]}
    said = checked(hub_image("5.5.4"), tmp_path, provider, "c.Authenticator.allow_all = True\n", **both)
    assert "c.Authenticator.allow_all would be for every way to sign in; say it for one" in said
    said = checked(hub_image("5.5.4"), tmp_path, provider, "c.GitHubOAuthenticator.allow_all = True\n", **both)
    assert "allow_all" not in said


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ({"class": "generic-oauth", "traits": {"usernme_claim": "x"}}, "did you mean c.GenericOAuthenticator.usern"),
        ({"class": "example.Missing"}, "the hub image has no authenticator example.Missing"),
    ],
)  # fmt: skip
def test_a_class_or_a_trait_that_is_not_there_stops_the_run(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path, way: dict[str, Any], said: str
) -> None:
    assert said in checked(hub_image("5.5.4"), tmp_path, provider, authenticators=["native", {"name": "own", **way}])
