"""Native sign-in on real hubs of all tested versions, as users, administrators and attackers see it."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from support.long_runs import VERSIONS
from support.signin_hub import ADMIN_PASSWORD, NO_PROXY, SERVERS_INSIDE, Browser, HubContainer, shown, write_config

PASSWORD = "three unrelated words"
#: Makes a hash in the thread of the event loop an error, and writes each into the log.
HASHES_ELSEWHERE = """
import asyncio, bcrypt
hashpw = bcrypt.hashpw

def hash_elsewhere(*arguments):
    assert asyncio._get_running_loop() is None, "a hash in the event loop"
    print("a password was hashed", flush=True)
    return hashpw(*arguments)

bcrypt.hashpw = hash_elsewhere
"""
WRONG = "Invalid username or password."
_serial = itertools.count(1)


def fresh(prefix: str = "user") -> str:
    """Return a name that no other test uses."""
    return f"{prefix}{next(_serial)}"


def address() -> str:
    """Return a network address that no other test uses."""
    number = next(_serial)
    return f"198.18.{number // 250}.{number % 250 + 1}"


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def hub_fixture(signup: str) -> Any:
    """Return a fixture: a running hub whose sign-up is open, approval or closed, for all tests of this file."""

    @pytest.fixture(scope="module", name=f"{signup}_hub")
    def made(
        hub_image: Callable[[str], str], version: str, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[HubContainer]:
        directory = tmp_path_factory.mktemp(signup)
        write_config(directory, NO_PROXY + SERVERS_INSIDE, signup=signup)
        hub = HubContainer(hub_image(version), directory)
        try:
            yield hub.start()
        finally:
            hub.remove()

    return made


open_hub, approval_hub, closed_hub = hub_fixture("open"), hub_fixture("approval"), hub_fixture("closed")


def user_of(hub: HubContainer, name: str | None = None) -> tuple[str, Browser]:
    """Sign up and sign in a new user, from a new address."""
    name = name or fresh()
    browser = Browser(hub, address())
    browser.sign_up(name, PASSWORD)
    assert browser.sign_in(name, PASSWORD).status_code == 302
    return name, browser


def admin_of(hub: HubContainer) -> Browser:
    """Sign in the administrator, from a new address."""
    browser = Browser(hub, address())
    assert browser.sign_in("admin", ADMIN_PASSWORD).status_code == 302
    assert browser.signed_in()
    return browser


def authorize(admin: Browser, name: str, authorized: str) -> requests.Response:
    return admin.post(f"authorize/{name}", {"authorized": authorized}, form="authorize")


# ---- ordinary use


def test_sign_up_sign_in_and_out(open_hub: HubContainer) -> None:
    browser, name = Browser(open_hub), fresh()
    assert "successful" in shown(browser.sign_up(name, PASSWORD))
    assert not browser.signed_in()
    answer = browser.sign_in(name, PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/home")
    assert browser.signed_in()
    browser.get("logout")
    assert not browser.signed_in()


def test_the_name_may_be_typed_in_capitals_or_full_width(open_hub: HubContainer) -> None:
    name, _ = user_of(open_hub)
    for typed in (name.upper(), f" {name} ", name.translate({ord("u"): "ｕ"})):
        assert Browser(open_hub).sign_in(typed, PASSWORD).status_code == 302


def test_a_wrong_password_and_an_unknown_name_look_the_same(open_hub: HubContainer) -> None:
    name, _ = user_of(open_hub)
    for who in (name, fresh("nobody")):
        answer = Browser(open_hub, address()).sign_in(who, "wrong")
        assert (answer.status_code, shown(answer)) == (403, WRONG)


def test_a_form_without_its_fields_is_refused(open_hub: HubContainer) -> None:
    assert Browser(open_hub, address()).post("login", {}).status_code == 403


def test_the_admin_is_an_admin_and_others_are_not(open_hub: HubContainer) -> None:
    _, browser = user_of(open_hub)
    assert admin_of(open_hub).get("authorize").status_code == 200
    for page in ("authorize", "admin", "change-password/admin"):
        assert browser.get(page).status_code == 403


# ---- the admin's name

ADMIN_NAMES = [
    "admin",
    "ADMIN",
    " admin ",
    "ａｄｍｉｎ",
    "ádmin",
    "ad\u00admin",
    "adm\u200bin",
    "admin\u0301",
    "ADM\u0130N",
]


@pytest.mark.parametrize("name", ADMIN_NAMES)
def test_nobody_can_sign_up_as_the_admin(open_hub: HubContainer, name: str) -> None:
    accounts = open_hub.sql("SELECT id, username FROM users_info")
    answer = Browser(open_hub).sign_up(name, PASSWORD)
    assert "alert-danger" in answer.text
    assert Browser(open_hub, address()).sign_in(name, PASSWORD).status_code == 403
    assert open_hub.sql("SELECT id, username FROM users_info") == accounts


@pytest.mark.parametrize("fixture", ["open_hub", pytest.param("approval_hub", marks=pytest.mark.long), "closed_hub"])
@pytest.mark.usefixtures("version")
def test_nobody_can_sign_up_as_the_admin_before_the_account_exists(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    hub: HubContainer = request.getfixturevalue(fixture)
    hub.sql("DELETE FROM users_info WHERE username = 'admin'")
    try:
        if fixture != "closed_hub":
            assert "is taken" in shown(Browser(hub).sign_up("Admin", PASSWORD))
        assert hub.sql("SELECT count(*) FROM users_info WHERE username = 'admin'") == [[0]]
    finally:
        assert hub.run("python3", "-m", "jupyterhub_deploy_hub.seed").stdout.strip() == '{"changed": true}'
    admin_of(hub)


def test_a_name_that_was_made_an_admin_by_hand_cannot_be_taken(open_hub: HubContainer) -> None:
    name = fresh("boss")
    admin = admin_of(open_hub)
    assert api(admin, "post", f"users/{name}", json={"admin": True}).status_code == 201
    assert "is taken" in shown(Browser(open_hub).sign_up(name, PASSWORD))


def test_a_name_that_has_a_group_cannot_be_taken(open_hub: HubContainer) -> None:
    name = fresh("tutor")
    admin = admin_of(open_hub)
    assert api(admin, "post", f"users/{name}").status_code == 201
    assert api(admin, "post", f"groups/of-{name}").status_code == 201
    assert api(admin, "post", f"groups/of-{name}/users", json={"users": [name]}).status_code == 200
    assert "is taken" in shown(Browser(open_hub).sign_up(name, PASSWORD))


def api(browser: Browser, method: str, path: str, **options: Any) -> requests.Response:
    """Call the API with the browser's cookies, as the admin page does."""
    browser.get("home")
    cookies = [cookie.value for cookie in browser.session.cookies if cookie.name == "_xsrf"]
    headers = {"X-XSRFToken": cookies[0] or ""}
    return browser.session.request(method, f"{browser.hub.url}api/{path}", headers=headers, timeout=20, **options)


def test_a_failed_seed_stops_the_start(hub_image: Callable[[str], str], version: str, tmp_path: Path) -> None:
    write_config(tmp_path, NO_PROXY)
    (tmp_path / "secrets/admin_password").unlink()
    hub = HubContainer(hub_image(version), tmp_path)
    try:
        with pytest.raises(AssertionError, match="the hub did not start"):
            hub.start()
        assert "JupyterHub was not started: the admin's password cannot be read" in hub.logs()
        assert "Traceback" not in hub.logs()
    finally:
        hub.remove()


def test_two_starts_at_once_make_one_admin(open_hub: HubContainer) -> None:
    open_hub.sql("DELETE FROM users_info WHERE username = 'admin'")
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: open_hub.run("python3", "-m", "jupyterhub_deploy_hub.seed"), range(3)))
    assert [run.returncode for run in done] == [0, 0, 0], [run.stderr for run in done]
    answers = sorted(run.stdout.strip() for run in done)
    assert answers == ['{"changed": false}', '{"changed": false}', '{"changed": true}']
    assert open_hub.sql("SELECT count(*) FROM users_info WHERE username = 'admin'") == [[1]]


def test_a_new_admin_password_from_the_file_ends_the_old_session(approval_hub: HubContainer) -> None:
    admin = admin_of(approval_hub)
    command = ("python3", "-m", "jupyterhub_deploy_hub.seed", "--set-password")
    assert approval_hub.run(*command).stdout.strip() == '{"changed": false}'
    file = approval_hub.directory / "secrets/admin_password"
    file.write_text("another by the test\n", encoding="utf-8")
    try:
        assert approval_hub.run(*command).stdout.strip() == '{"changed": true}'
        assert not admin.signed_in()
        assert admin.sign_in("admin", "another by the test").status_code == 302
        assert admin.signed_in()
    finally:
        file.write_text(ADMIN_PASSWORD, encoding="utf-8")
        approval_hub.run(*command)


# ---- names and passwords that are refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("github:alice", "cannot contain :"),
        ("a\tonclick=alert(1)", "spaces or invisible"),
        ("a b", "spaces or invisible"),
        ("x" * 129, "too long"),
        (" ", "enter a user name"),
    ],
)
def test_bad_names_are_explained(open_hub: HubContainer, name: str, message: str) -> None:
    assert message in shown(Browser(open_hub).sign_up(name, PASSWORD))


BAD_PASSWORDS = [
    ("seven77", "at least 8"),
    ("Password1", "most common"),
    ("x" * 73, "72 bytes"),
    ("é" * 37, "72 bytes"),
]


@pytest.mark.parametrize(("password", "message"), BAD_PASSWORDS)
def test_bad_passwords_are_explained_at_sign_up(open_hub: HubContainer, password: str, message: str) -> None:
    name = fresh()
    assert message in shown(Browser(open_hub).sign_up(name, password))
    assert open_hub.sql(f"SELECT count(*) FROM users_info WHERE username = '{name}'") == [[0]]


def test_bad_passwords_are_explained_at_a_change(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    admin = admin_of(open_hub)
    for password, message in BAD_PASSWORDS:
        assert message in shown(browser.change_password(PASSWORD, password))
        fields = {"new_password": password, "new_password_confirmation": password}
        assert message in shown(admin.post(f"change-password/{name}", fields))
    assert Browser(open_hub).sign_in(name, PASSWORD).status_code == 302


def test_a_confirmation_that_differs_is_refused(open_hub: HubContainer) -> None:
    assert "did not match" in shown(Browser(open_hub).sign_up(fresh(), PASSWORD, confirmation="other words here"))


def test_72_bytes_work_and_73_are_merely_wrong(open_hub: HubContainer) -> None:
    name, browser = fresh(), Browser(open_hub, address())
    browser.sign_up(name, "w" * 72)
    answer = browser.sign_in(name, "w" * 73)
    assert (answer.status_code, shown(answer)) == (403, WRONG)
    assert browser.sign_in(name, "w" * 72).status_code == 302
    assert "was incorrect" in shown(browser.change_password("w" * 73, PASSWORD))


def test_a_taken_name_is_taken(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    assert "is taken" in shown(Browser(open_hub).sign_up(name.upper(), "somebody else's words"))
    assert Browser(open_hub).sign_in(name, PASSWORD).status_code == 302
    assert browser.signed_in()


# ---- lock-out


def fail(browser: Browser, name: str, times: int = 5) -> requests.Response:
    for _ in range(times):
        answer = browser.sign_in(name, "wrong")
        assert answer.status_code == 403, shown(answer)
    return answer


def test_after_five_failures_even_the_right_password_has_to_wait(open_hub: HubContainer) -> None:
    name, _ = user_of(open_hub)
    stranger = Browser(open_hub, address())
    fail(stranger, name)
    answer = stranger.sign_in(name, PASSWORD)
    assert (answer.status_code, shown(answer)) == (429, "Too many failed attempts. Try again in 10 minutes.")
    assert 590 < int(answer.headers["Retry-After"]) <= 601


def test_many_guesses_at_the_same_moment_do_not_outrun_the_limit(open_hub: HubContainer) -> None:
    name, _ = user_of(open_hub)
    where = address()
    browsers = [Browser(open_hub, where) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda browser: browser.sign_in(name, "wrong").status_code, browsers))
    assert sorted(answers) == [403] * 5 + [429] * 3


def test_names_that_do_not_exist_lock_alike(open_hub: HubContainer) -> None:
    stranger, name = Browser(open_hub, address()), fresh("nobody")
    fail(stranger, name)
    assert stranger.sign_in(name, "wrong").status_code == 429


def test_a_stranger_cannot_lock_the_admin_out(open_hub: HubContainer) -> None:
    admin = admin_of(open_hub)
    admin.get("logout")
    shared = str(admin.session.headers["X-Forwarded-For"])
    elsewhere, next_door = Browser(open_hub, address()), Browser(open_hub, shared)
    for stranger in (elsewhere, next_door):
        fail(stranger, "admin")
        assert stranger.sign_in("admin", "wrong").status_code == 429
    assert admin.sign_in("admin", ADMIN_PASSWORD).status_code == 302, "the stranger's address, but the admin's browser"
    another = Browser(open_hub, address())
    assert another.sign_in("admin", ADMIN_PASSWORD).status_code == 302, "another address, a new browser"


def test_a_lock_survives_a_restart_and_so_does_a_session(closed_hub: HubContainer) -> None:
    admin, stranger = admin_of(closed_hub), Browser(closed_hub, address())
    fail(stranger, "admin")
    assert closed_hub.stop() != 137, "Docker had to kill the hub"
    closed_hub.restart()
    assert stranger.sign_in("admin", ADMIN_PASSWORD).status_code == 429
    assert admin.signed_in()


def test_an_invented_address_does_not_help(open_hub: HubContainer) -> None:
    name = fresh("nobody")
    stranger = Browser(open_hub)
    for number in range(6):
        # Our proxy adds the last address; the client sends the others and X-Real-Ip.
        stranger.session.headers["X-Forwarded-For"] = f"203.0.113.{number}, 192.0.2.77"
        stranger.session.headers["X-Real-Ip"] = "192.0.2.77"  # constant, because the form's token depends on it
        answer = stranger.sign_in(name, "wrong")
    assert answer.status_code == 429


def test_a_success_resets_the_failures(open_hub: HubContainer) -> None:
    name, _ = user_of(open_hub)
    browser = Browser(open_hub, address())
    for _ in range(2):
        fail(browser, name, 4)
        assert browser.sign_in(name, PASSWORD).status_code == 302
        browser.get("logout")


def test_guesses_by_the_api_and_at_a_password_change_count_too(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    for _ in range(5):
        assert "was incorrect" in shown(browser.change_password("wrong", "quite another phrase"))
    assert "Too many failed attempts" in shown(browser.change_password(PASSWORD, "quite another phrase"))
    stranger = address()
    for _ in range(5):
        body = {"auth": {"username": name, "password": "wrong"}}
        url = f"{open_hub.url}api/users/{name}/tokens"
        assert requests.post(url, json=body, headers={"X-Forwarded-For": stranger}, timeout=20).status_code == 403
    assert Browser(open_hub, stranger).sign_in(name, PASSWORD).status_code == 429


def test_wrong_passwords_for_many_names_lock_an_address(open_hub: HubContainer) -> None:
    name, known = user_of(open_hub)
    known.get("logout")
    crowd = str(known.session.headers["X-Forwarded-For"])

    def guess(number: int) -> int:
        return Browser(open_hub, crowd).sign_in(f"guessed{number}", "wrong").status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(guess, range(50))) == {403}
    refused = Browser(open_hub, crowd).sign_in(name, PASSWORD)
    assert refused.status_code == 429
    assert re.search(r"Too many failed attempts. Try again in \d+ (minutes|seconds)\.", shown(refused))
    assert known.sign_in(name, PASSWORD).status_code == 302, "the user's own browser"
    assert Browser(open_hub, address()).sign_in(name, PASSWORD).status_code == 302, "another address"


def test_too_many_accounts_of_one_address_are_refused(hub_image: Callable[[str], str], tmp_path: Path) -> None:
    write_config(tmp_path, NO_PROXY, signup="open", signups_per_address=2)
    hub = HubContainer(hub_image("5.5.4"), tmp_path)
    try:
        hub.start()
        crowd = address()
        for _ in range(2):
            assert "successful" in shown(Browser(hub, crowd).sign_up(fresh(), PASSWORD))
        name = fresh()
        refused = Browser(hub, crowd).sign_up(name, PASSWORD)
        assert refused.status_code == 429
        assert 3500 < int(refused.headers["Retry-After"]) <= 3601
        assert "Too many accounts were created from your network. Try again in 60 minutes." in refused.text
        assert Browser(hub, crowd).sign_in(name, PASSWORD).status_code == 403, "no account"
        assert "successful" in shown(Browser(hub, address()).sign_up(name, PASSWORD))
    finally:
        hub.remove()


def test_requests_at_the_same_moment_do_not_outrun_the_limits_of_an_address(
    hub_image: Callable[[str], str], tmp_path: Path
) -> None:
    write_config(tmp_path, NO_PROXY, signup="open", signups_per_address=2, failed_logins_per_address=2)
    hub = HubContainer(hub_image("5.5.4"), tmp_path)
    try:
        hub.start()
        crowd, number = address(), 12
        browsers = [Browser(hub, crowd) for _ in range(number)]
        actions = {
            "sign up": lambda browser: browser.sign_up(fresh(), PASSWORD).status_code,
            "guess": lambda browser: browser.sign_in(fresh(), "wrong").status_code,
        }
        # Each of the hub's threads may be at work when the limit is reached.
        threads = max(1, len(os.sched_getaffinity(0)) - 1)
        for what, action in actions.items():
            with ThreadPoolExecutor(number) as pool:
                answers = list(pool.map(action, browsers))
            assert number - 2 - threads < answers.count(429) <= number - 2, (what, answers)
    finally:
        hub.remove()


def test_no_password_is_hashed_in_the_thread_that_answers_requests(
    hub_image: Callable[[str], str], version: str, tmp_path: Path
) -> None:
    """It takes a quarter of a second, in which the hub would answer nobody."""
    write_config(tmp_path, NO_PROXY + HASHES_ELSEWHERE, signup="open")
    hub = HubContainer(hub_image(version), tmp_path)
    try:
        hub.start()
        name, browser = user_of(hub)
        assert "has been changed" in shown(browser.change_password(PASSWORD, "quite another phrase"))
        admin = admin_of(hub)
        fields = {"new_password": "set by the admin", "new_password_confirmation": "set by the admin"}
        assert "has been changed" in shown(admin.post(f"change-password/{name}", fields))

        # Nor is one that is refused.
        hashed = hub.logs().count("a password was hashed")
        assert hashed >= 3
        assert "did not match" in shown(browser.sign_up(fresh(), PASSWORD, confirmation="other words here"))
        assert "taken or reserved" in shown(browser.sign_up(name, PASSWORD))
        assert hub.logs().count("a password was hashed") == hashed
    finally:
        hub.remove()


def test_a_long_request_is_refused_before_it_is_read(open_hub: HubContainer) -> None:
    answer = requests.post(f"{open_hub.url}login", data=b"x" * (3 << 20), timeout=20)
    assert answer.status_code == 400
    assert requests.post(f"{open_hub.url}login", data=b"x" * (1 << 20), timeout=20).status_code == 403


def test_pages_and_cookies_restrict_other_sites(open_hub: HubContainer) -> None:
    browser, (name, _) = Browser(open_hub, address()), user_of(open_hub)
    answer = browser.sign_in(name, PASSWORD)
    cookies = [cookie for cookie in answer.raw.headers.getlist("Set-Cookie") if "jupyterhub" in cookie]
    assert cookies
    assert all("SameSite=Lax" in cookie and "HttpOnly" in cookie for cookie in cookies), cookies
    page = browser.get("home")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"


# ---- sessions end


def token_of(browser: Browser, name: str) -> str:
    """Create an API token, as the Token page does."""
    return str(api(browser, "post", f"users/{name}/tokens", json={"note": "test"}).json()["token"])


def works(hub: HubContainer, token: str) -> bool:
    return requests.get(hub.url + "api/user", headers={"Authorization": f"token {token}"}, timeout=20).ok


def test_a_new_password_keeps_the_token_of_a_running_server(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    admin = admin_of(open_hub)
    assert api(browser, "post", f"users/{name}/server").status_code in (201, 202)
    assert wait_for(lambda: ready(admin, name) == [True])
    mine = {"note": f"Server at /user/{name}/"}  # as the server's own token
    fake = str(api(browser, "post", f"users/{name}/tokens", json=mine).json()["token"])
    assert notes(admin, name).count(mine["note"]) == 2

    browser.change_password(PASSWORD, "quite another phrase")
    assert not works(open_hub, fake)
    assert notes(admin, name).count(mine["note"]) == 1


def notes(admin: Browser, name: str) -> list[str]:
    """Return the notes of the user's tokens."""
    return [one["note"] for one in api(admin, "get", f"users/{name}/tokens").json()["api_tokens"]]


def test_a_token_ends_after_a_while(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    token = api(browser, "post", f"users/{name}/tokens", json={"note": "test"}).json()
    valid = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["created"])
    assert timedelta(days=89) < valid <= timedelta(days=90, seconds=1)
    refused = api(browser, "post", f"users/{name}/tokens", json={"expires_in": 91 * 24 * 3600})
    assert refused.status_code == 400


def test_a_new_password_ends_other_sessions_and_keeps_this_one(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    other = Browser(open_hub)
    other.sign_in(name, PASSWORD)
    token = token_of(browser, name)
    assert "has been changed" in shown(browser.change_password(PASSWORD, "quite another phrase"))
    assert browser.signed_in()
    assert not other.signed_in()
    assert not works(open_hub, token), "somebody else may have created it"
    assert Browser(open_hub).sign_in(name, PASSWORD).status_code == 403
    assert Browser(open_hub).sign_in(name, "quite another phrase").status_code == 302


def test_a_password_set_by_the_admin_ends_sessions(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    admin = admin_of(open_hub)
    fields = {"new_password": "set by the admin", "new_password_confirmation": "set by the admin"}
    assert "has been changed" in shown(admin.post(f"change-password/{name}", fields))
    assert not browser.signed_in()
    assert admin.signed_in()


def test_unauthorizing_ends_sessions_and_tokens(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    token = token_of(browser, name)
    assert works(open_hub, token)
    admin = admin_of(open_hub)
    assert authorize(admin, name, "no").status_code == 302
    assert not browser.signed_in()
    assert not works(open_hub, token)
    assert "not been authorized" in shown(browser.sign_in(name, PASSWORD))
    authorize(admin, name, "yes")
    assert browser.sign_in(name, PASSWORD).status_code == 302


def test_unauthorizing_stops_the_server(open_hub: HubContainer) -> None:
    name, browser = user_of(open_hub)
    admin = admin_of(open_hub)
    assert api(browser, "post", f"users/{name}/server").status_code in (201, 202)
    assert wait_for(lambda: ready(admin, name) == [True])
    authorize(admin, name, "no")
    assert wait_for(lambda: ready(admin, name) == [])


def ready(admin: Browser, name: str) -> list[bool]:
    """Return whether each server of the user is ready."""
    return [server["ready"] for server in api(admin, "get", f"users/{name}").json()["servers"].values()]


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def test_the_declared_admin_stays_authorized(open_hub: HubContainer) -> None:
    admin = admin_of(open_hub)
    assert authorize(admin, "admin", "no").status_code == 409
    assert admin.signed_in()


# ---- forms


def test_an_expired_form_says_so(open_hub: HubContainer) -> None:
    browser = Browser(open_hub)
    browser.get("login")
    data = {"_xsrf": "expired", "username": "alice", "password": PASSWORD}
    answer = browser.session.post(open_hub.url + "login", data=data, timeout=20)
    assert (answer.status_code, shown(answer)) == (403, "Login form invalid or expired. Try again.")
    assert 'name="password"' in answer.text, "the form is shown again"


@pytest.mark.parametrize("page", ["signup", "change-password"])
def test_other_expired_forms_say_so_too(open_hub: HubContainer, page: str) -> None:
    _, browser = user_of(open_hub)
    answer = browser.session.post(open_hub.url + page, data={"_xsrf": "expired"}, timeout=20)
    assert answer.status_code == 403
    assert "This form has expired." in answer.text


@pytest.mark.parametrize("page", ["authorize", "discard"])
def test_a_link_on_another_site_changes_nothing(approval_hub: HubContainer, page: str) -> None:
    name = fresh()
    Browser(approval_hub).sign_up(name, PASSWORD)
    admin = admin_of(approval_hub)
    before = approval_hub.sql("SELECT username, is_authorized FROM users_info ORDER BY id")
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example.com"}
    for headers in ({}, cross):
        admin.get(f"{page}/{name}", headers=headers)
        url = f"{approval_hub.url}{page}/{name}"
        answer = admin.session.post(url, data={"authorized": "yes"}, headers=headers, timeout=20)
        assert answer.status_code == 403
    assert approval_hub.sql("SELECT username, is_authorized FROM users_info ORDER BY id") == before


def test_accounts_that_do_not_exist_are_not_found(open_hub: HubContainer) -> None:
    admin = admin_of(open_hub)
    assert authorize(admin, "not-there", "yes").status_code == 404
    assert admin.get("change-password/not-there").status_code == 404


# ---- approval and closed


def test_approval(approval_hub: HubContainer) -> None:
    name, browser = fresh(), Browser(approval_hub)
    assert "as soon as an administrator has authorized it" in shown(browser.sign_up(name, PASSWORD))
    answer = browser.sign_in(name, PASSWORD)
    assert (answer.status_code, shown(answer)) == (403, f"{name} has not been authorized by an administrator yet.")
    assert shown(browser.sign_in(name, "wrong")) == WRONG
    admin = admin_of(approval_hub)
    assert re.search(rf">{name}<(?:(?!</tr>).)*>waiting for approval<", admin.get("authorize").text, re.DOTALL)
    authorize(admin, name, "yes")
    assert browser.sign_in(name, PASSWORD).status_code == 302
    assert browser.signed_in()


def test_discarding_a_request_frees_the_name(approval_hub: HubContainer) -> None:
    name = fresh()
    Browser(approval_hub).sign_up(name, PASSWORD)
    admin = admin_of(approval_hub)
    assert admin.post(f"discard/{name}", {}, form="authorize").status_code == 302
    assert approval_hub.sql(f"SELECT count(*) FROM users_info WHERE username = '{name}'") == [[0]]


def test_closed(closed_hub: HubContainer) -> None:
    browser = Browser(closed_hub)
    assert "Sign up" not in browser.get("login").text
    form = {"username": "x", "signup_password": PASSWORD}
    for refused in (browser.get("signup"), browser.post("signup", form, form="login")):
        assert refused.status_code == 403
        assert "Sign-up is closed. Ask an administrator for an account." in refused.text
    assert closed_hub.sql("SELECT username FROM users_info") == [["admin"]]


def test_the_admin_adds_users_to_a_closed_hub(closed_hub: HubContainer) -> None:
    admin, name = admin_of(closed_hub), fresh()
    assert api(admin, "post", f"users/{name}").status_code == 201
    assert "has no password yet" in admin.get("authorize").text
    fields = {"new_password": PASSWORD, "new_password_confirmation": PASSWORD}
    assert "has been changed" in shown(admin.post(f"change-password/{name}", fields))
    assert Browser(closed_hub).sign_in(name, PASSWORD).status_code == 302
    closed_hub.sql(f"DELETE FROM users_info WHERE username = '{name}'")


def test_nothing_ended_in_a_server_error(open_hub: HubContainer, approval_hub: HubContainer) -> None:
    for hub in (open_hub, approval_hub):
        assert "Traceback" not in hub.logs()
        assert "Uncaught exception" not in hub.logs()


def test_no_password_is_in_the_logs(open_hub: HubContainer) -> None:
    for secret in (PASSWORD, ADMIN_PASSWORD):
        assert secret not in open_hub.logs()
