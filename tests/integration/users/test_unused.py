"""Accounts of a flood of sign-ups, discarded on a real hub by the playbook; everybody else's are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite

NAME = run_name("flood")
PASSWORD = "a-long-enough-passphrase-of-the-test"
_serial = itertools.count(1)


def fresh(name: str) -> str:
    """Return a name that no other test uses."""
    return f"{name}{next(_serial)}"


@pytest.fixture(scope="module")
def site(built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    made = LocalSite(NAME)
    made.destroy()
    try:
        made.run()
        yield made
    finally:
        made.destroy()


def sign_up(site: LocalSite, name: str, sign_in: bool = True) -> HubSession:
    session = HubSession(site.url)
    session.sign_up(name, PASSWORD)
    if sign_in:
        assert session.sign_in(name, PASSWORD)
        assert session.get(f"{site.url}/hub/home", timeout=30).ok
    return session


def discard(site: LocalSite, *arguments: str, minutes: int = 60, check: bool = False) -> tuple[int, str]:
    """Run the playbook for the last minutes; return the number of changes and the output on one line."""
    since = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    extra = ["-e", f"since={since:%Y-%m-%dT%H:%M}", *arguments]
    done = site.run(*extra, playbook="playbooks/discard_accounts.yml", check=check)
    return done.recap["changed"], " ".join(done.output.split())


def can_sign_in(site: LocalSite, name: str) -> bool:
    return HubSession(site.url).sign_in(name, PASSWORD)


def test_accounts_that_nobody_used_are_discarded_together(site: LocalSite) -> None:
    flood = [fresh("u") for _ in range(4)]
    for number, name in enumerate(flood):
        sign_up(site, name, sign_in=number < 2)  # the hub knows those that have signed in
    worker, admin, declared = fresh("alice"), fresh("carol"), fresh("dave")
    session = sign_up(site, worker)
    session.spawn(worker)
    session.stop(worker)
    sign_up(site, admin)
    sign_up(site, declared)
    site.run(jupyterhub_users=[{"name": admin, "admin": True}])
    site.settings["jupyterhub_users"] = [{"name": declared.upper()}]
    listed = ", ".join(flood)

    for check, arguments in ((False, []), (True, []), (True, ["-e", "confirm=true"])):
        changed, output = discard(site, *arguments, check=check)
        assert f"4 unused accounts that signed up since {datetime.now(timezone.utc):%Y-}" in output
        assert f"UTC would be discarded: {listed}" in output
        assert ("To discard them, add -e confirm=true" in output) == (not arguments)
        assert changed == (1 if arguments else 0)
        assert worker not in output
    assert can_sign_in(site, flood[0])

    changed, output = discard(site, "-e", "confirm=true")
    assert changed == 1
    assert f"UTC were discarded: {listed}" in output
    assert not any(can_sign_in(site, name) for name in flood)
    assert all(can_sign_in(site, name) for name in (worker, admin, declared))

    changed, output = discard(site, "-e", "confirm=true")
    assert changed == 0
    assert "nothing was discarded" in output

    # The names are free again.
    sign_up(site, flood[0])


def test_older_accounts_and_those_with_a_volume_are_kept(site: LocalSite) -> None:
    old, with_volume = fresh("old"), fresh("bob")
    sign_up(site, old)
    sign_up(site, with_volume)
    volume = site.client.volumes.create(f"{NAME}-user-{with_volume}")
    try:
        assert discard(site, "-e", "confirm=true", minutes=-1)[0] == 0
        output = discard(site)[1]
        assert f"{with_volume} is kept, because there is volume {volume.name}" in output
        assert "would be discarded" in output
        assert can_sign_in(site, old)
    finally:
        volume.remove()


def test_accounts_that_wait_for_approval(site: LocalSite) -> None:
    discard(site, "-e", "confirm=true")
    waiting, approved = fresh("u"), fresh("erin")
    site.run(jupyterhub_native_signup="approval")
    for name in (waiting, approved):
        HubSession(site.url).sign_up(name, PASSWORD)
    admin = HubSession(site.url)
    assert admin.sign_in("admin", site.admin_password)
    token = admin.cookies.get("_xsrf", path="/hub/") or ""
    fields = {"_xsrf": token, "authorized": "yes"}
    admin.post(f"{site.url}/hub/authorize/{approved}", data=fields, timeout=60).raise_for_status()

    changed, output = discard(site, "-e", "confirm=true")
    assert changed == 1
    assert f"UTC was discarded: {waiting}" in output
    assert can_sign_in(site, approved)
