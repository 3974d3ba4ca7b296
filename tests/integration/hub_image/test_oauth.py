"""Sign-in with GitHub and GitLab, without and with native accounts, by the real classes on real hubs.

The provider is tests/support/oauth_provider.py on this machine. The hubs get the settings that the role's filter makes
of an operator's.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import docker as docker_sdk
import pytest
import requests

from support.long_runs import VERSIONS
from support.oauth_hub import OAUTH_CLIENT, OTHER_SECRET, Visitor, configure, free_address, hub_of, provider_of
from support.oauth_provider import CLIENT_ID, OAuthProvider
from support.signin_hub import ADMIN_PASSWORD, HubContainer, shown

PASSWORD = "three unrelated words"
#: The log of JupyterHub 6.1.1 when a provider ends a session. The user is signed out nevertheless.
FAULT_OF_6 = r"(?s)Failed to get current user\n {4}Traceback[^\[]*?has no attribute '_token_authenticated'"
#: Log everything, and ask a provider about a user every second, not every five minutes.
DEBUG = "c.JupyterHub.log_level = 'DEBUG'\nc.Authenticator.auth_refresh_age = 1\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[OAuthProvider]:
    made = provider_of()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def other_address() -> str:
    """The address of another hub."""
    return free_address()[1]


@pytest.fixture(autouse=True)
def callback(request: pytest.FixtureRequest, provider: OAuthProvider) -> None:
    """Register the callback of the test's hub: GitHub and GitLab compare host and port."""
    for name in ("multi_hub", "github_hub"):
        if name in request.fixturenames:
            provider.callback = request.getfixturevalue(name).url


@pytest.fixture(scope="module", params=VERSIONS)
def multi_hub(
    request: pytest.FixtureRequest,
    hub_image: Callable[[str], str],
    provider: OAuthProvider,
    other_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HubContainer]:
    """A hub with native accounts, GitHub, GitLab, two GitLabs that do not answer, and one with its own certificate."""
    silent = socket.create_server((free_address()[0], 0))  # accepts connections and never answers
    campus = with_own_certificate(tmp_path_factory.mktemp("campus"))
    gone = [
        {
            "name": name, "class": "gitlab", "label": label, "secrets": {"client_secret": "x"},
            "traits": {"client_id": CLIENT_ID, "gitlab_url": url, "authorize_url": f"{provider.url}/oauth/authorize",
                       "allow_all": True, "http_request_kwargs": {"request_timeout": 2}},
        }
        for name, label, url in (
            ("down", "the old GitLab", "http://127.0.0.1:9"),
            ("silent", "the silent GitLab", "http://{}:{}".format(*silent.getsockname())),
            ("campus", "the campus GitLab", "https://{}:{}".format(*campus.getsockname())),
        )
    ]  # fmt: skip
    hub = hub_of(
        hub_image(request.param), tmp_path_factory.mktemp("multi"), provider,
        extra=OAUTH_CLIENT.replace("ADDRESS", other_address) + DEBUG, auth_state=True,
        authenticators=["native", "github", "gitlab", *gone],
        github_allowed_organizations=["course", "staff:teachers"], github_allowed_users=["Octocat"],
        github_admin_users=["Carol"], github_users={"octocat": "olga"},
        gitlab_allowed_groups=["faculty/lab"], gitlab_allowed_projects=[77],
    )  # fmt: skip
    try:
        yield hub.start()
    finally:
        hub.remove()
        silent.close()
        campus.close()


def with_own_certificate(directory: Path) -> socket.socket:
    """Return the port of a server whose certificate nobody else has signed."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    command += ["-subj", "/CN=campus", "-keyout", "key", "-out", "certificate"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "certificate", directory / "key")
    port = socket.create_server((free_address()[0], 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = port.accept()
            except OSError:  # closed
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    return port


def admin_of(hub: HubContainer) -> Visitor:
    admin = Visitor(hub)
    assert admin.sign_in("admin", ADMIN_PASSWORD).status_code == 302
    return admin


def user_names(hub: HubContainer) -> set[str]:
    return {str(row[0]) for row in hub.sql("SELECT name FROM users")}


# ---- several authenticators


def test_one_page_offers_all_ways(multi_hub: HubContainer) -> None:
    page = Visitor(multi_hub).get("login?next=%2Fhub%2Ftoken").text
    assert 'name="password"' in page
    for way, label in (("github", "GitHub"), ("gitlab", "GitLab"), ("down", "the old GitLab")):
        assert re.search(rf'href="/hub/{way}/oauth_login\?next=%2Fhub%2Ftoken"[^>]*>Sign in with {label}<', page), page


def test_equal_names_are_different_users(multi_hub: HubContainer) -> None:
    native = Visitor(multi_hub)
    native.sign_up("alice", PASSWORD)
    assert native.sign_in("alice", PASSWORD).status_code == 302
    github, gitlab = Visitor(multi_hub), Visitor(multi_hub)
    assert github.by("github/", "alice").headers["Location"] == "/hub/home"
    assert gitlab.by("gitlab/", "alice").status_code == 302
    assert [person.name() for person in (native, github, gitlab)] == ["alice", "github:alice", "gitlab:alice"]
    assert {"alice", "github:alice", "gitlab:alice"} <= user_names(multi_hub)


def test_a_namesake_of_the_admin_has_no_rights(multi_hub: HubContainer) -> None:
    for way in ("github/", "gitlab/"):
        person = Visitor(multi_hub)
        assert person.by(way, "admin").status_code == 302
        assert person.get("admin").status_code == 403
    assert admin_of(multi_hub).get("admin").status_code == 200


def test_an_admin_of_github_is_an_admin_there_only(multi_hub: HubContainer) -> None:
    person = Visitor(multi_hub)
    assert person.by("github/", "carol").status_code == 302
    assert person.get("admin").status_code == 200
    other = Visitor(multi_hub)
    assert other.by("gitlab/", "carol").status_code == 302, "has Developer access to the project"
    assert other.get("admin").status_code == 403


@pytest.mark.parametrize(("way", "who"), [("github/", "bob"), ("gitlab/", "bob"), ("gitlab/", "dave")])
def test_a_user_who_is_not_allowed_stays_out(multi_hub: HubContainer, way: str, who: str) -> None:
    person = Visitor(multi_hub)
    answer = person.by(way, who)
    assert answer.status_code == 403
    assert "knows you, but this hub does not let you in" in answer.text
    assert person.name() == ""
    assert f"{way[:-1]}:{who}" not in user_names(multi_hub)
    assert multi_hub.logged(f"'{way[:-1]}:{who}' not allowed")


def test_a_joined_user_has_the_name_of_the_hub(multi_hub: HubContainer) -> None:
    person = Visitor(multi_hub)
    assert person.by("github/", "octocat").status_code == 302
    assert person.name() == "olga"
    assert "is taken" in shown(Visitor(multi_hub).sign_up("olga", PASSWORD)), "nobody else can have the name"
    accounts = admin_of(multi_hub).get("authorize").text
    assert "olga" not in accounts
    assert "github:" not in accounts
    assert person.get("change-password").status_code == 404


def test_native_accounts_work_beside_the_others(multi_hub: HubContainer) -> None:
    person = Visitor(multi_hub, "198.18.0.9")
    assert "cannot contain :" in shown(person.sign_up("github:zoe", PASSWORD))
    assert "successful" in shown(person.sign_up("zoe", PASSWORD))
    assert shown(person.sign_in("zoe", "wrong")) == "Invalid username or password."
    assert person.sign_in("zoe", PASSWORD).status_code == 302
    assert "has been changed" in shown(person.change_password(PASSWORD, "quite another phrase"))
    admin = admin_of(multi_hub)
    assert admin.post("authorize/zoe", {"authorized": "no"}, form="authorize").status_code == 302
    assert "not been authorized" in shown(person.sign_in("zoe", "quite another phrase"))
    assert not person.signed_in()


def test_a_password_for_a_user_of_github_is_refused(multi_hub: HubContainer) -> None:
    github = Visitor(multi_hub)
    github.by("github/", "alice")
    admin = admin_of(multi_hub)
    assert admin.get("change-password/github%3Aalice").status_code == 404
    fields = {"new_password": PASSWORD, "new_password_confirmation": PASSWORD}
    assert admin.post("change-password/github%3Aalice", fields, form="authorize").status_code == 404


def test_a_deleted_user_does_not_come_back_by_the_old_password(multi_hub: HubContainer) -> None:
    person = Visitor(multi_hub, "198.18.0.10")
    person.sign_up("wim", PASSWORD)
    assert person.sign_in("wim", PASSWORD).status_code == 302
    assert admin_of(multi_hub).api("DELETE", "users/wim").status_code == 204
    assert not person.signed_in()
    assert person.sign_in("wim", PASSWORD).status_code == 403


def test_each_source_counts_its_own_failures(multi_hub: HubContainer) -> None:
    """As one of several, the authenticator still gets the address of a request."""
    stranger = Visitor(multi_hub, "198.18.0.11")
    for _ in range(5):
        stranger.sign_in("admin", "wrong")
    assert "Too many failed attempts" in shown(stranger.sign_in("admin", "wrong"))
    assert Visitor(multi_hub, "198.18.0.12").sign_in("admin", ADMIN_PASSWORD).status_code == 302


# ---- errors


@pytest.mark.parametrize("way", ["github/", "gitlab/"])
def test_an_expired_code(multi_hub: HubContainer, provider: OAuthProvider, way: str) -> None:
    provider.codes_expire = True
    try:
        answer = Visitor(multi_hub).by(way, "alice")
    finally:
        provider.codes_expire = False
    assert answer.status_code == 400
    assert "took too long, or was done twice. Please sign in again." in answer.text
    assert multi_hub.logged("the code has expired or was used before")


@pytest.mark.parametrize(("way", "label"), [("github/", "GitHub"), ("gitlab/", "GitLab")])
def test_a_wrong_client_secret(multi_hub: HubContainer, provider: OAuthProvider, way: str, label: str) -> None:
    right, provider.client_secret = provider.client_secret, "another"
    try:
        answer = Visitor(multi_hub).by(way, "alice")
    finally:
        provider.client_secret = right
    assert answer.status_code == 502
    assert f"{label} does not accept this hub. Please contact the administrator of this hub." in answer.text
    assert multi_hub.logged(f"{label} refused this hub's client id or secret")


@pytest.mark.parametrize("way", ["github/", "gitlab/"])
@pytest.mark.parametrize(
    ("error", "log"),
    [
        ("redirect_uri_mismatch", r" sent no token .redirect_uri_mismatch.: compare the callback URL http://\S+ with"),
        ("unverified_user_email", " sent no token .unverified_user_email.\n"),
    ],
)
def test_a_provider_that_sends_no_token(
    multi_hub: HubContainer, provider: OAuthProvider, way: str, error: str, log: str
) -> None:
    provider.token_error = error
    try:
        answer = Visitor(multi_hub).by(way, "alice")
    finally:
        provider.token_error = ""
    assert answer.status_code == 502
    assert "did not send your user name to this hub. Please contact its administrator." in answer.text
    assert multi_hub.logged(log)


@pytest.mark.parametrize(
    ("way", "path", "page"),
    [
        ("github/", "/user$", "<h1>Sign in to this network</h1>"),
        ("gitlab/", "token$", "<h1>Sign in to this network</h1>"),
        ("github/", "token$", ""),
        ("gitlab/", "/user$", "[]"),
    ],
)
def test_an_answer_that_is_not_the_providers(
    multi_hub: HubContainer, provider: OAuthProvider, way: str, path: str, page: str
) -> None:
    provider.page_for, provider.page = path, page
    try:
        answer = Visitor(multi_hub).by(way, "alice")
    finally:
        provider.page_for = ""
    assert answer.status_code == 503
    assert "sent an answer that this hub cannot read." in answer.text
    assert multi_hub.logged(rf" sent an answer that this hub cannot read, at http://\S+{path.rstrip('$')}: ")


@pytest.mark.parametrize(
    ("way", "page", "log"),
    [
        ("down/", "This hub cannot reach the old GitLab. Please try again later.", "the old GitLab cannot be reached"),
        ("silent/", "This hub cannot reach the silent GitLab.", "the silent GitLab cannot be reached"),
        ("campus/", "This hub does not trust the campus GitLab.", "does not have a certificate that this hub trusts"),
    ],
)
def test_a_provider_that_does_not_answer(multi_hub: HubContainer, way: str, page: str, log: str) -> None:
    answer = Visitor(multi_hub).by(way, "alice")
    assert answer.status_code == 503
    assert page in answer.text
    assert multi_hub.logged(rf"{log}, at https?://[0-9.:]+/oauth/token: ")


@pytest.mark.parametrize("way", ["github/", "gitlab/"])
@pytest.mark.parametrize("path", ["/user$", "/members/"])
@pytest.mark.parametrize("status", [500, 429])
def test_a_provider_with_errors_refuses_nobody(
    multi_hub: HubContainer, provider: OAuthProvider, way: str, path: str, status: int
) -> None:
    """Without an answer about alice's membership, she is asked to try again, and not refused."""
    provider.fails = (path, status)
    try:
        person = Visitor(multi_hub)
        answer = person.by(way, "alice")
    finally:
        provider.fails = None
    assert answer.status_code == 503
    assert "answered with an error. Please try again later." in answer.text
    assert person.name() == ""
    assert multi_hub.logged(rf"answered with an error, at http://\S+{path.rstrip('$')}\S*: HTTP {status}")


@pytest.mark.parametrize(("way", "label"), [("github/", "GitHub"), ("gitlab/", "GitLab")])
def test_a_token_without_the_right_to_read_the_user(
    multi_hub: HubContainer, provider: OAuthProvider, way: str, label: str
) -> None:
    provider.fails = ("/user$", 403)
    try:
        answer = Visitor(multi_hub).by(way, "alice")
    finally:
        provider.fails = None
    assert answer.status_code == 502
    assert f"{label} did not send your user name to this hub. Please contact its administrator." in answer.text
    assert multi_hub.logged(f"{label} refused the request for the user .HTTP 403")


def test_users_stay_signed_in_while_the_provider_is_down(multi_hub: HubContainer, provider: OAuthProvider) -> None:
    people = {way: Visitor(multi_hub) for way in ("github/", "gitlab/")}
    for way, person in people.items():
        assert person.by(way, "alice").status_code == 302
    provider.fails = ("/", 500)
    try:
        time.sleep(1.1)  # so that the hub asks again
        provider.asked.clear()
        assert [person.signed_in() for person in people.values()] == [True, True]
        assert {"/api/v3/user", "/api/v4/user"} <= set(provider.asked)
    finally:
        provider.fails = None


def test_a_user_whose_token_ends_at_the_provider_has_to_sign_in_again(
    multi_hub: HubContainer, provider: OAuthProvider
) -> None:
    """With auth state, the hub asks the provider."""
    people = {way: Visitor(multi_hub) for way in ("github/", "gitlab/")}
    for way, person in people.items():
        assert person.by(way, "alice").status_code == 302
    provider.fails = ("/", 401)
    try:
        time.sleep(1.1)
        assert [person.signed_in() for person in people.values()] == [False, False]
    finally:
        provider.fails = None


def test_a_user_who_leaves_keeps_the_session_until_an_admin_deletes_the_user(
    multi_hub: HubContainer, provider: OAuthProvider
) -> None:
    person = Visitor(multi_hub)
    assert person.by("github/", "erna").status_code == 302
    token = person.api("POST", "users/github:erna/tokens", json={}).json()["token"]
    provider.people["erna"].groups.clear()
    try:
        assert person.name() == "github:erna"
        assert Visitor(multi_hub).by("github/", "erna").status_code == 403
        assert admin_of(multi_hub).api("DELETE", "users/github:erna").status_code == 204
        assert not person.signed_in()
        answer = requests.get(multi_hub.url + "api/user", headers={"Authorization": f"token {token}"}, timeout=20)
        assert answer.status_code == 403
    finally:
        provider.people["erna"].groups.add("course")


def test_a_user_who_declines_at_the_provider(multi_hub: HubContainer) -> None:
    answer = Visitor(multi_hub).by("github/", "cancel")
    assert answer.status_code == 403
    assert "You did not allow GitHub to send your user name to this hub." in answer.text


def test_a_callback_that_another_browser_started(multi_hub: HubContainer) -> None:
    victim, attacker = Visitor(multi_hub), Visitor(multi_hub)
    prepared = attacker.back_from(attacker.to_provider("github/"), "alice")
    victim.to_provider("github/")
    for person in (victim, Visitor(multi_hub)):
        answer = person.session.get(prepared, timeout=20)
        assert answer.status_code == 400
        assert "has expired, or was started in another window" in answer.text
        assert person.name() == ""


def test_no_secret_is_shown(multi_hub: HubContainer, provider: OAuthProvider) -> None:
    """Not even at debug level: of the hub, its users, and their accounts at the provider."""
    for way in ("github/", "gitlab/"):
        assert Visitor(multi_hub).by(way, "alice").status_code == 302
    inspected = json.dumps(docker_sdk.from_env().api.inspect_container(multi_hub.name))
    logs = multi_hub.logs()
    assert "[D " in logs
    kept = [file.read_text().strip() for file in (multi_hub.directory / "secrets").glob("*_*")]
    assert len(kept) == 5, "cookie_secret, proxy_token, crypt_key, api_token, admin_password"
    assert len(provider.issued) >= 4, "a code and a token each"
    for secret in (provider.client_secret, PASSWORD, ADMIN_PASSWORD, *kept, *provider.issued):
        assert secret not in inspected
        assert secret not in logs
    assert "Traceback" not in re.sub(FAULT_OF_6, "", logs)


def test_the_provider_of_these_tests_is_strict(multi_hub: HubContainer, provider: OAuthProvider) -> None:
    """It refuses requests without state or PKCE, with a wrong verifier or another callback, so the hub's are right."""
    person = Visitor(multi_hub)
    for way in ("github/", "gitlab/"):
        asked = urlsplit(person.to_provider(way))
        query = dict(parse_qsl(asked.query))
        changes: list[dict[str, str]] = [
            {"state": ""}, {"code_challenge": ""}, {"code_challenge_method": "plain"},
            {"redirect_uri": "http://evil.example.com/"},
        ]  # fmt: skip
        for change in changes:
            url = urlunsplit(asked._replace(query=urlencode({**query, **change, "as": "alice"})))
            assert requests.get(url, allow_redirects=False, timeout=20).status_code == 400, change
        wrong = urlunsplit(asked._replace(query=urlencode({**query, "code_challenge": "0" * 43})))
        answer = person.session.get(person.back_from(wrong, "alice"), allow_redirects=False, timeout=20)
        assert answer.status_code == 400
        assert "took too long, or was done twice" in answer.text
    assert person.name() == ""


# ---- one authenticator


@pytest.fixture(scope="module")
def github_hub(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubContainer]:
    hub = hub_of(
        hub_image("6.1.1"), tmp_path_factory.mktemp("github"), provider, authenticators=["github"], auth_state=True,
        extra=DEBUG,
        github_allowed_organizations=["course"], github_admin_users=["carol"],
    )  # fmt: skip
    try:
        yield hub.start()
    finally:
        hub.remove()


def test_only_github_gives_plain_names(github_hub: HubContainer) -> None:
    person = Visitor(github_hub)
    page = person.get("login").text
    assert "Sign in with GitHub" in page
    assert 'name="password"' not in page
    assert person.by("", "alice").status_code == 302
    assert person.name() == "alice"
    assert "change-password" not in person.get("home").text
    assert Visitor(github_hub).by("", "bob").status_code == 403


def test_only_github_has_its_own_admins(github_hub: HubContainer) -> None:
    person, boss = Visitor(github_hub), Visitor(github_hub)
    assert person.by("", "admin").status_code == 302, "a user of GitHub with that name"
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
    first, second, third = key.read_text(encoding="utf-8").strip(), "ab" * 32, "cd" * 32

    def stays(*keys: str) -> bool:
        """Return whether the user is still signed in after a restart with these keys."""
        key.write_text("".join(f"{each}\n" for each in keys), encoding="utf-8")
        github_hub.restart()
        # With auth_refresh_age the hub asks GitHub again, with the stored token.
        return person.signed_in()

    provider.asked.clear()
    assert stays(second, first)
    assert "/api/v3/user" in provider.asked
    assert bytes.fromhex(github_hub.sql(ask)[0][0]) != before, "encrypted with the new key"
    assert stays(second), "the old key is not needed any more"
    assert not stays(third), "a key removed too early signs users out"
    assert person.by("", "alice").status_code == 302
    assert person.signed_in()
    assert not {first, second, third} & set(re.findall("[0-9a-f]{64}", github_hub.logs()))


def test_allow_all_lets_everyone_in(hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path) -> None:
    """With only GitLab."""
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


@pytest.mark.parametrize("claim", ["name", "preferred_username"])
def test_another_jupyterhub_as_provider(
    multi_hub: HubContainer, provider: OAuthProvider, other_address: str, tmp_path: Path, claim: str
) -> None:
    """GenericOAuthenticator with a provider that is not part of these tests, and sends no `preferred_username`."""
    way = {
        "name": "other-hub", "class": "generic-oauth", "secrets": {"client_secret": OTHER_SECRET},
        "traits": {
            "client_id": "service-other", "allowed_users": ["Yan"], "username_claim": claim,
            "authorize_url": f"{multi_hub.url}api/oauth2/authorize", "token_url": f"{multi_hub.url}api/oauth2/token",
            "userdata_url": f"{multi_hub.url}api/user",
        },
    }  # fmt: skip
    hub = hub_of(multi_hub.image, tmp_path, provider, authenticators=[way], public_url=f"http://{other_address}/")
    try:
        hub.start()
        for name, known in (("yan", 302), ("yvo", 403)):
            status = known if claim == "name" else 502
            # Two browsers, because cookies do not depend on the port.
            there, here = Visitor(multi_hub), Visitor(hub)
            there.sign_up(name, PASSWORD)
            there.sign_in(name, PASSWORD)
            asked = there.session.get(here.to_provider(""), allow_redirects=False, timeout=20)
            assert asked.status_code == 302, asked.text
            assert here.session.get(asked.headers["Location"], allow_redirects=False, timeout=20).status_code == status
            assert here.name() == (name if status == 302 else "")
        if claim != "name":
            assert hub.logged("did not send the user name: username_claim is 'preferred_username', and it sent .*name")
    finally:
        hub.remove()


# ---- a change of authenticators


@pytest.mark.parametrize("version", VERSIONS)
def test_a_change_of_authenticators_gives_nobody_another_users_name(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path, version: str
) -> None:
    hub = hub_of(hub_image(version), tmp_path, provider, authenticators=["native"])
    public_url = f"http://{hub.address}/"

    def now(**settings: Any) -> None:
        configure(tmp_path, provider, public_url=public_url, **settings)
        hub.restart()

    try:
        provider.callback = hub.start().url
        native = Visitor(hub)
        native.sign_up("alice", PASSWORD)
        assert native.sign_in("alice", PASSWORD).status_code == 302

        allowed = {"github_allowed_users": ["admin", "alice", "bob"], "github_admin_users": ["carol"]}
        now(authenticators=["github"], **allowed)
        for name in ("alice", "admin"):
            person = Visitor(hub)
            answer = person.by("", name)
            assert answer.status_code == 403
            assert f"The name {name} is already in use at this hub." in answer.text
            assert person.name() == ""
            assert hub.logged(f"{name} of GitHub was refused, because a native account of this hub has that name.")
        bob = Visitor(hub)
        assert bob.by("", "bob").status_code == 302
        assert bob.name() == "bob"

        # The hub knows bob, but he was removed from the list; the operator joined alice's two names.
        now(authenticators=["github"], github_users={"Alice": "alice"}, github_allowed_users=["alice"],
            github_admin_users=["carol"])  # fmt: skip
        assert Visitor(hub).by("", "bob").status_code == 403
        alice = Visitor(hub)
        assert alice.by("", "alice").status_code == 302
        assert alice.name() == "alice"

        # Nobody can sign up under bob's plain name and get his files.
        now(authenticators=["native", "github"], signup="approval", **allowed)
        assert (
            shown(Visitor(hub).sign_up("bob", PASSWORD))
            == "The user name bob is taken or reserved. Choose another, or ask an administrator."
        )
        assert bob.by("github/", "bob").status_code == 302
        assert bob.name() == "github:bob"
        # A new user signs up, waits and is authorized, beside GitHub.
        zoe, admin = Visitor(hub), admin_of(hub)
        assert "as soon as an administrator has authorized it" in shown(zoe.sign_up("zoe", PASSWORD))
        assert shown(zoe.sign_in("zoe", PASSWORD)) == "zoe has not been authorized by an administrator yet."
        assert admin.post("authorize/zoe", {"authorized": "yes"}, form="authorize").status_code == 302
        assert zoe.sign_in("zoe", PASSWORD).status_code == 302
        assert zoe.name() == "zoe"
    finally:
        hub.remove()


def test_another_class_lets_in_only_users_in_its_current_settings(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    """JupyterHub's default also lets in all users in its database, as soon as ``allowed_users`` is set."""
    way = {"name": "lab", "class": "dummy", "secrets": {"password": PASSWORD}, "users": {"cora": "carol"}}

    def settings(*names: str) -> dict[str, Any]:
        return {"authenticators": [{**way, "traits": {"allowed_users": list(names), "admin_users": ["ann"]}}]}

    hub = hub_of(hub_image("5.5.4"), tmp_path, provider, **settings("ann", "ben", "cora", "carol"))
    try:
        ann, ben, cora = Visitor(hub.start()), Visitor(hub), Visitor(hub)
        for name, here, person in (("ann", "ann", ann), ("ben", "ben", ben), ("cora", "carol", cora)):
            assert person.sign_in(name, "wrong").status_code == 403
            assert person.sign_in(name, PASSWORD).status_code == 302
            assert person.name() == here
        assert ann.get("admin").status_code == 200
        assert Visitor(hub).sign_in("carol", PASSWORD).status_code == 403  # that is cora's name at the hub
        configure(tmp_path, provider, public_url=f"http://{hub.address}/", **settings("ann"))
        hub.restart()
        assert Visitor(hub).sign_in("ann", PASSWORD).status_code == 302
        assert Visitor(hub).sign_in("ben", PASSWORD).status_code == 403
    finally:
        hub.remove()


def check_output(image: str, directory: Path, provider: OAuthProvider, extra: str = "", **settings: Any) -> str:
    """Return the errors of the configuration check, which runs before a hub is started."""
    hub = hub_of(image, directory, provider, extra, **settings)
    try:
        return str(hub.run("python3", "-m", "jupyterhub_deploy_hub.check").stderr)
    finally:
        hub.remove()  # the volume


def test_a_setting_that_would_open_every_authenticator_stops_the_run(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    both = {"authenticators": ["native", "github"], "github_allowed_organizations": ["course"]}
    errors = check_output(hub_image("5.5.4"), tmp_path, provider, "c.Authenticator.allow_all = True\n", **both)
    assert "c.Authenticator.allow_all would apply to every authenticator; set it for one" in errors
    errors = check_output(hub_image("5.5.4"), tmp_path, provider, "c.GitHubOAuthenticator.allow_all = True\n", **both)
    assert "allow_all" not in errors


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"class": "generic-oauth", "traits": {"usernme_claim": "x"}}, "did you mean c.GenericOAuthenticator.usern"),
        (
            {"class": "generic-oauth", "traits": {"http_request_kwargs": {"proxy_host": "proxy", "proxy_port": 3128}}},
            "http_request_kwargs: a proxy is not supported there; set jupyterhub_http_proxy instead",
        ),
        ({"class": "example.Missing"}, "the hub image has no authenticator example.Missing"),
    ],
)  # fmt: skip
def test_a_missing_class_or_trait_stops_the_run(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path, way: dict[str, Any], message: str
) -> None:
    assert message in check_output(
        hub_image("5.5.4"), tmp_path, provider, authenticators=["native", {"name": "own", **way}]
    )


def test_an_invalid_secret_is_not_shown(
    hub_image: Callable[[str], str], provider: OAuthProvider, tmp_path: Path
) -> None:
    way = {"name": "own", "class": "generic-oauth", "secrets": {"client_secret": ["918273645546"]}}
    errors = check_output(hub_image("5.5.4"), tmp_path, provider, authenticators=["native", way])
    assert "c.GenericOAuthenticator.client_secret: " in errors
    assert "not the list ['(secret)']" in errors
    assert "918273645546" not in errors
