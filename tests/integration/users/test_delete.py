"""A user deleted from a real hub, and somebody else who takes the name. The tests run in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal

import jupyterhub_backup
import jupyterhub_restore
import jupyterhub_user
from support.hub_http import HubSession
from support.local_site import LocalSite
from support.modules import ModuleError, run
from support.notebook_run import NOTEBOOK, run_notebook

NAME = "jhd-test-leave"
VOLUME = f"{NAME}-user-bob"
PASSWORD = "a-long-enough-passphrase-of-the-test"


class Hub:
    """The hub, and those who are signed in."""

    def __init__(self, site: LocalSite) -> None:
        self.site = site
        self.backups = Path("/var/backups", NAME)
        self.user_arguments = {
            "name": NAME,
            "user": "bob",
            "directory": str(self.backups),
            "token_file": f"/etc/{NAME}/secrets/api_token",
        }

    def join(self, name: str) -> HubSession:
        session = HubSession(self.site.url)
        session.sign_up(name, PASSWORD)
        assert session.sign_in(name, PASSWORD)
        return session

    def user(self, state: str, **more: Any) -> dict[str, Any]:
        return run(jupyterhub_user, **{**self.user_arguments, "state": state, **more})

    def back_up(self) -> None:
        volumes: dict[str, Any] = {"volumes": [VOLUME], "hub_state": False}
        run(jupyterhub_backup, name=NAME, directory=str(self.backups), config_dir=f"/etc/{NAME}", **volumes)

    def volumes(self) -> list[str]:
        return sorted(str(one.name) for one in self.site.engine.volumes.list() if str(one.name).startswith(NAME))


@pytest.fixture(scope="module")
def hub(built_images: Callable[[str], dict[str, Any]]) -> Iterator[Hub]:
    """A hub on which bob has a notebook, and works."""
    built_images("5.5.4")
    site = LocalSite(NAME)
    site.destroy()
    try:
        site.run()
        yield Hub(site)
    finally:
        site.destroy()


@pytest.fixture(scope="module")
def bob(hub: Hub) -> HubSession:
    session = hub.join("bob")
    session.spawn("bob")
    session.contents("PUT", "bob", "answer.ipynb", json={"type": "notebook", "content": NOTEBOOK})
    return session


def test_a_volume_that_is_in_use_or_not_backed_up_is_not_removed(hub: Hub, bob: HubSession) -> None:
    with pytest.raises(ModuleError, match=f"volume {VOLUME} is in use by container {NAME}-jupyter-bob; nothing of bob"):
        hub.user("absent")
    stopped = hub.user("stopped")
    assert (stopped["servers"], stopped["volumes"]) == ([""], [VOLUME])
    with pytest.raises(ModuleError, match=f"has all that is in volume {VOLUME} now; nothing of bob was deleted"):
        hub.user("absent")
    assert VOLUME in hub.volumes()
    bob.spawn("bob")


def test_check_mode_says_what_would_be_done(hub: Hub, bob: HubSession) -> None:
    said = hub.site.run("-e", "user=bob", playbook="playbooks/delete_user.yml", check=True)

    assert f"user bob would be deleted, with volume {VOLUME}" in " ".join(said.output.split())
    assert bob.me() is not None
    assert VOLUME in hub.volumes()


def test_bob_is_deleted_and_kept_in_an_archive(hub: Hub, bob: HubSession) -> None:
    said = hub.site.run("-e", "user=bob", playbook="playbooks/delete_user.yml")

    assert f"user bob was deleted, with volume {VOLUME}" in " ".join(said.output.split())
    assert bob.me() is None
    assert not HubSession(hub.site.url).sign_in("bob", PASSWORD)
    assert hub.volumes() == [f"{NAME}-data"]
    assert [name for name in hub.site.containers() if "bob" in name] == []
    (archive,) = (hub.backups / "deleted").iterdir()
    assert archive.name.startswith(f"{VOLUME}-")
    assert sorted(path.name for path in hub.backups.iterdir() if not path.name.startswith(".")) == ["deleted"]
    # There is nothing left to do, or to be restored by the name alone.
    again = hub.site.run("-e", "user=bob", playbook="playbooks/delete_user.yml")
    assert again.recap["changed"] == 0
    assert "has no user bob" in again.output
    with pytest.raises(ModuleError, match="there is no backup of user bob"):
        run(jupyterhub_restore, name=NAME, directory=str(hub.backups), state="restored", users=["bob"])


def test_a_namesake_starts_empty(hub: Hub, bob: HubSession) -> None:
    namesake = hub.join("bob")
    namesake.spawn("bob")
    with pytest.raises(requests.HTTPError, match="404"):
        namesake.contents("GET", "bob", "answer.ipynb")
    namesake.contents("PUT", "bob", "mine.txt", json={"type": "file", "format": "text", "content": "new"})
    namesake.stop("bob")
    assert bob.me() is None


def test_the_archive_is_restored_to_another_name_and_runs(hub: Hub) -> None:
    (archive,) = (hub.backups / "deleted").iterdir()
    arguments = ["-e", "user=bob", "-e", "to_user=robert", "-e", f"jupyterhub_backup_dir={archive}"]
    hub.site.run(*arguments, playbook="restore.yml")
    robert = hub.join("robert")

    assert run_notebook(robert, "robert", "answer.ipynb") == "42"
    robert.stop("robert")


class Killed(BaseException):
    """What a SIGKILL is to the code that it ends."""


@pytest.mark.parametrize("step", ["remove_volume", "archive_backups", "delete_at_hub"])
def test_killed_after_any_step_the_next_run_ends_it(hub: Hub, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The namesake goes now. Each run does one thing more before it is killed.
    if step == "remove_volume":
        hub.back_up()
    done = getattr(Removal, step)

    def killed(*arguments: Any) -> None:
        done(*arguments)
        raise Killed

    monkeypatch.setattr(Removal, step, killed)
    with pytest.raises(Killed):
        hub.user("absent")
    assert VOLUME not in hub.volumes()
    # As long as anything is left, nobody can have the name.
    free = step == "delete_at_hub"
    session = HubSession(hub.site.url)
    session.sign_up("bob", f"{PASSWORD}-2")
    assert session.sign_in("bob", f"{PASSWORD}-2") is free
    if free:
        assert len(list((hub.backups / "deleted").iterdir())) == 2
        assert not (hub.backups / VOLUME).exists()


def test_who_signed_up_and_never_came_is_deleted(hub: Hub) -> None:
    HubSession(hub.site.url).sign_up("zoe", PASSWORD)

    assert hub.user("absent", user="zoe")["messages"] == ["user zoe was deleted, with no volumes"]
    assert hub.user("absent", user="zoe")["changed"] is False
    assert not HubSession(hub.site.url).sign_in("zoe", PASSWORD)


def test_the_admin_of_the_deployment_stays(hub: Hub) -> None:
    with pytest.raises(ModuleError, match=f"admin is the administrator that hub {NAME} creates at each start"):
        hub.user("absent", user="admin")
