"""Declared users by the operator's own site.yml and user.yml: through every role, and without a secret anywhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hub_http import HubSession
from support.local_site import LocalSite

NAME = "jhd-test-users"
PASSWORD = "seven-green-bottles-on-a-wall"
USERS: list[dict[str, Any]] = [
    {"name": "alice", "admin": True, "groups": ["teachers"], "password": PASSWORD},
    {"name": "bob", "groups": ["course-a"], "password": PASSWORD},
]


@pytest.fixture(scope="module")
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(NAME, jupyterhub_native_signup="closed", jupyterhub_users=USERS)
    made.destroy()
    try:
        yield made
    finally:
        made.destroy()


def signed_in(site: LocalSite, name: str, password: str = PASSWORD) -> HubSession | None:
    session = HubSession(site.url)
    return session if session.sign_in(name, password) else None


class ProcessList(threading.Thread):
    """Reads the arguments and environments of all processes of this machine, over and over."""

    def __init__(self, looked_for: str) -> None:
        super().__init__()
        self.looked_for = looked_for.encode()
        self.found: list[str] = []
        self.looks = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.looks += 1
            self.ended.wait(0.2)
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    try:
                        text = (process / part).read_bytes()
                    except OSError:
                        continue
                    if self.looked_for in text and int(process.name) != os.getpid():
                        self.found.append(f"{process.name}: {text[:200]!r}")

    def __enter__(self) -> ProcessList:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def test_the_first_run_makes_them_and_shows_no_password(site: LocalSite) -> None:
    with ProcessList(PASSWORD) as processes:
        done = site.run("-vvv", "--diff")
    told = done.output
    assert "alice: account created, added to the hub, made an administrator, joined group teachers" in told
    assert "password: as declared" in told
    assert PASSWORD not in told
    assert processes.looks > 20
    assert processes.found == []
    alice = signed_in(site, "alice")
    assert alice is not None
    assert alice.api("GET", "/users").ok
    bob = signed_in(site, "bob")
    assert bob is not None
    assert bob.api("GET", "/users").status_code == 403
    assert PASSWORD not in str(site.container()) + site.engine.containers.get(NAME).logs().decode()


def test_a_demotion_and_a_disabled_user_and_then_nothing_to_do(site: LocalSite) -> None:
    alice, bob = signed_in(site, "alice"), signed_in(site, "bob")
    assert alice is not None
    assert bob is not None
    site.settings["jupyterhub_users"] = [
        {"name": "alice", "groups": ["teachers"], "password": PASSWORD},
        {"name": "bob", "state": "disabled"},
    ]
    done = site.run("--tags", "hub")
    assert done.recap["changed"] == 1
    assert alice.api("GET", "/users").status_code == 403
    assert alice.me() is not None
    assert bob.me() is None
    assert signed_in(site, "bob") is None
    # Nobody who is not let in gets a container: not by an old session, not as a stranger.
    strangers = (bob, HubSession(site.url))
    assert {one.api("POST", f"/users/{name}/server").status_code for one in strangers for name in ("bob", "eve")} == {
        403
    }
    assert site.containers() == [NAME, f"{NAME}-proxy"]
    again = site.run("--tags", "hub")
    assert again.recap["changed"] == 0


def test_user_yml_authorizes_and_gives_a_new_password(site: LocalSite) -> None:
    file = Path("/etc", NAME, "user_passwords", "bob")
    done = site.run("-vvv", "--diff", "-e", "user=bob", "-e", "do=password", playbook="playbooks/user.yml")
    password = file.read_text(encoding="utf-8").strip()
    assert len(password) == 20
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password not in done.output
    told = " ".join(done.output.split())
    assert "bob: password replaced, signed out everywhere, authorized" in told
    assert f"the new password is in {file} on" in told
    assert "bob is declared in jupyterhub_users" in told
    assert signed_in(site, "bob", password) is not None
    assert signed_in(site, "bob") is None


def test_user_yml_disables_and_authorizes(site: LocalSite, tmp_path: Path) -> None:
    alice = signed_in(site, "alice")
    assert alice is not None
    told = " ".join(site.run("-e", "user=alice", "-e", "do=disable", playbook="playbooks/user.yml").output.split())
    assert "alice: disabled, signed out everywhere" in told
    assert alice.me() is None
    assert signed_in(site, "alice") is None
    would = site.run("-e", "user=alice", "-e", "do=authorize", playbook="playbooks/user.yml", check=True)
    assert "alice: authorized" in would.output
    assert signed_in(site, "alice") is None, "it was only said"
    site.run("-e", "user=alice", "-e", "do=authorize", playbook="playbooks/user.yml")
    assert signed_in(site, "alice") is not None

    # A password of the operator's own comes in a file, and stays there.
    chosen = tmp_path / "chosen.yml"
    chosen.write_text("password: nine-black-bats-in-a-barn\n", encoding="utf-8")
    arguments = ["-vvv", "--diff", "-e", "user=alice", "-e", "do=password", "-e", f"@{chosen}"]
    done = site.run(*arguments, playbook="playbooks/user.yml")
    assert "nine-black-bats" not in done.output
    assert not Path("/etc", NAME, "user_passwords", "alice").exists()
    assert signed_in(site, "alice", "nine-black-bats-in-a-barn") is not None
    assert signed_in(site, "alice") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-e", "user=alcie", "-e", "do=disable"], "the hub does not know alcie; check the name"),
        (["-e", "user=alice", "-e", "do=remove"], "value of jupyterhub_user_do must be one of: authorize, disable"),
    ],
)
def test_user_yml_says_what_is_wrong(site: LocalSite, arguments: list[str], said: str) -> None:
    assert said in " ".join(site.run(*arguments, playbook="playbooks/user.yml", fails=True).output.split())
