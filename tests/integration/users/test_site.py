"""Declared users by site.yml and user.yml: through all roles, and without a password in any output.

All tests share one hub; each begins by declaring `USERS` again.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import jupyterhub_users
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite, Run
from support.modules import run

NAME = run_name("users")
PASSWORD = "seven-green-bottles-on-a-wall"
USERS: list[dict[str, Any]] = [
    {"name": "alice", "admin": True, "groups": ["teachers"], "password": PASSWORD},
    {"name": "bob", "groups": ["course-a"], "password": PASSWORD},
]


class Place(NamedTuple):
    """A hub, the first run that created its users, and where a password was seen meanwhile."""

    site: LocalSite
    first: Run
    leaks: list[str]


@pytest.fixture(scope="module")
def place(built_images: Callable[[str], dict[str, Any]]) -> Iterator[Place]:
    built_images("5.5.4")
    site = LocalSite(NAME, jupyterhub_native_signup="closed", jupyterhub_users=USERS)
    site.destroy()
    try:
        with ProcessList(PASSWORD) as processes:
            first = site.run("-vvv", "--diff")
        assert processes.rounds > 0
        yield Place(site, first, processes.found)
    finally:
        site.destroy()


@pytest.fixture
def site(place: Place) -> LocalSite:
    """The hub with `USERS` as they are declared."""
    place.site.settings["jupyterhub_users"] = USERS
    users = [{**user, "update_password": "always", "admin": user.get("admin", False)} for user in USERS]
    run(jupyterhub_users, name=NAME, token_file=f"/etc/{NAME}/secrets/api_token", users=users)
    shutil.rmtree(Path("/etc", NAME, "user_passwords"), ignore_errors=True)
    return place.site


def sign_in(site: LocalSite, name: str, password: str = PASSWORD) -> HubSession | None:
    session = HubSession(site.url)
    return session if session.sign_in(name, password) else None


def signed_in(site: LocalSite, name: str) -> HubSession:
    session = sign_in(site, name)
    assert session is not None, name
    return session


class ProcessList(threading.Thread):
    """Searches the arguments and environments of all processes of this machine for a text, until it is stopped."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text.encode()
        self.found: list[str] = []
        self.rounds = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.rounds += 1
            self.ended.wait(0.2)
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    try:
                        text = (process / part).read_bytes()
                    except OSError:
                        continue
                    if self.text in text and int(process.name) != os.getpid():
                        self.found.append(f"{process.name}: {text[:200]!r}")

    def __enter__(self) -> ProcessList:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def test_the_first_run_creates_them_and_shows_no_password(place: Place, site: LocalSite) -> None:
    output = place.first.output
    assert "alice: account created, added to the hub, made an administrator, joined group teachers" in output
    assert "password: as declared" in output
    assert PASSWORD not in output
    assert place.leaks == []
    assert signed_in(site, "alice").api("GET", "/users").ok
    assert signed_in(site, "bob").api("GET", "/users").status_code == 403
    assert PASSWORD not in str(site.container()) + site.client.containers.get(NAME).logs().decode()


def test_a_demoted_and_a_disabled_user(site: LocalSite) -> None:
    alice, bob = signed_in(site, "alice"), signed_in(site, "bob")
    site.settings["jupyterhub_users"] = [
        {"name": "alice", "groups": ["teachers"], "password": PASSWORD},
        {"name": "bob", "state": "disabled"},
    ]
    assert site.run("--tags", "hub").recap["changed"] == 1
    assert alice.api("GET", "/users").status_code == 403
    assert alice.me() is not None
    assert bob.me() is None
    assert sign_in(site, "bob") is None
    # Neither an old session nor a stranger gets a container.
    strangers = (bob, HubSession(site.url))
    assert {one.api("POST", f"/users/{name}/server").status_code for one in strangers for name in ("bob", "eve")} == {
        403
    }
    assert site.containers() == [NAME, f"{NAME}-front", f"{NAME}-guard", f"{NAME}-proxy"]


def test_user_yml_sets_a_generated_password(site: LocalSite) -> None:
    file = Path("/etc", NAME, "user_passwords", "bob")
    done = site.run("-vvv", "--diff", "-e", "user=bob", "-e", "do=password", playbook="playbooks/user.yml")
    password = file.read_text(encoding="utf-8").strip()
    assert len(password) == 20
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password not in done.output
    output = " ".join(done.output.split())
    assert "bob: password replaced, signed out everywhere" in output
    assert f"the new password is in {file} on" in output
    assert "bob is declared in jupyterhub_users" in output
    assert sign_in(site, "bob", password) is not None
    assert sign_in(site, "bob") is None


def test_user_yml_disables_and_authorizes(site: LocalSite) -> None:
    alice = signed_in(site, "alice")
    output = site.run("-e", "user=alice", "-e", "do=disable", playbook="playbooks/user.yml").output
    assert "alice: disabled, signed out everywhere" in " ".join(output.split())
    assert alice.me() is None
    assert sign_in(site, "alice") is None
    check = site.run("-e", "user=alice", "-e", "do=authorize", playbook="playbooks/user.yml", check=True)
    assert "alice: authorized" in check.output
    assert sign_in(site, "alice") is None, "check mode changed the account"
    site.run("-e", "user=alice", "-e", "do=authorize", playbook="playbooks/user.yml")
    assert sign_in(site, "alice") is not None


def test_user_yml_names_a_hub_that_does_not_exist() -> None:
    name = run_name("nobody")
    output = LocalSite(name).run("-e", "user=bob", "-e", "do=disable", playbook="playbooks/user.yml", fails=True).output

    assert f"there is no hub container {name} on this host; create the hub with `make site`" in output


@pytest.mark.long
def test_user_yml_sets_a_password_from_a_file(site: LocalSite, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.yml"
    chosen.write_text("password: nine-black-bats-in-a-barn\n", encoding="utf-8")
    arguments = ["-vvv", "--diff", "-e", "user=alice", "-e", "do=password", "-e", f"@{chosen}"]
    done = site.run(*arguments, playbook="playbooks/user.yml")
    assert "nine-black-bats" not in done.output
    assert not Path("/etc", NAME, "user_passwords", "alice").exists()
    assert sign_in(site, "alice", "nine-black-bats-in-a-barn") is not None
    assert sign_in(site, "alice") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-e", "user=alcie", "-e", "do=disable"], "the hub does not know alcie; check the name"),
        pytest.param(
            ["-e", "user=alice", "-e", "do=remove"],
            "do is 'remove'; use one of authorize, disable, password",
            marks=pytest.mark.long,
        ),
    ],
)
def test_user_yml_names_the_error(place: Place, arguments: list[str], message: str) -> None:
    output = place.site.run(*arguments, playbook="playbooks/user.yml", fails=True).output
    assert message in " ".join(output.split())
