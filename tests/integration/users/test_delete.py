"""Users deleted from a real hub, and new users of the same name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal

import jupyterhub_backup
import jupyterhub_restore
import jupyterhub_user
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite
from support.modules import ModuleError, run
from support.notebook_run import NOTEBOOK, run_notebook

NAME = run_name("delete")
PASSWORD = "a-long-enough-passphrase-of-the-test"
_serial = itertools.count(1)


def fresh(name: str) -> str:
    """Return a name that no other test uses."""
    return f"{name}{next(_serial)}"


def volume_of(user: str) -> str:
    return f"{NAME}-user-{user}"


class Hub:
    """A hub, its users and their backups."""

    def __init__(self, site: LocalSite) -> None:
        self.site = site
        self.backups = Path("/var/backups", NAME)

    def join(self, name: str, password: str = PASSWORD) -> HubSession:
        """Sign up and sign in."""
        session = HubSession(self.site.url)
        session.sign_up(name, password)
        assert session.sign_in(name, password)
        return session

    def join_with_notebook(self, name: str) -> HubSession:
        """Sign up, sign in, start a server and save a notebook."""
        session = self.join(name)
        session.spawn(name)
        session.contents("PUT", name, "answer.ipynb", json={"type": "notebook", "content": NOTEBOOK})
        return session

    def user(self, name: str, state: str) -> dict[str, Any]:
        """Run the module ``jupyterhub_user``."""
        token_file = f"/etc/{NAME}/secrets/api_token"
        return run(
            jupyterhub_user, name=NAME, user=name, state=state, directory=str(self.backups), token_file=token_file
        )

    def back_up(self, name: str) -> None:
        volumes: dict[str, Any] = {"volumes": [volume_of(name)], "hub_state": False}
        run(jupyterhub_backup, name=NAME, directory=str(self.backups), config_dir=f"/etc/{NAME}", **volumes)

    def has_volume(self, name: str) -> bool:
        return volume_of(name) in [volume.name for volume in self.site.client.volumes.list()]

    def archives(self, name: str) -> list[Path]:
        return list((self.backups / "deleted").glob(f"{volume_of(name)}-*"))


@pytest.fixture(scope="module")
def hub(built_images: Callable[[str], dict[str, Any]]) -> Iterator[Hub]:
    built_images("5.5.4")
    site = LocalSite(NAME)
    site.destroy()
    try:
        site.run()
        yield Hub(site)
    finally:
        site.destroy()


def test_a_volume_that_is_in_use_or_not_backed_up_is_not_removed(hub: Hub) -> None:
    name = fresh("bob")
    volume, client = volume_of(name), hub.site.client
    hub.join(name).spawn(name)
    with pytest.raises(
        ModuleError, match=f"volume {volume} is in use by container {NAME}-jupyter-{name}; nothing of {name}"
    ):
        hub.user(name, "absent")
    stopped = hub.user(name, "stopped")
    assert (stopped["servers"], stopped["volumes"]) == ([""], [volume])
    with pytest.raises(ModuleError, match=f"has all that is in volume {volume} now; nothing of {name} was deleted"):
        hub.user(name, "absent")
    hub.back_up(name)

    # A container may have the volume's directory without Docker knowing that it is a volume.
    directory = client.volumes.get(volume).attrs["Mountpoint"]
    image = hub.site.container()["Config"]["Image"]
    other = client.containers.run(
        image, ["sleep", "600"], name=f"{NAME}-other", volumes={directory: {"bind": "/data"}}, detach=True
    )
    try:
        for state in ("absent", "stopped"):
            with pytest.raises(ModuleError, match=f"volume {volume} is in use by container {NAME}-other; nothing of"):
                hub.user(name, state)
    finally:
        other.remove(force=True)
    assert hub.has_volume(name)


def test_check_mode_reports_what_would_be_deleted(hub: Hub) -> None:
    name = fresh("bob")
    session = hub.join(name)
    session.spawn(name)
    output = hub.site.run("-e", f"user={name}", playbook="playbooks/delete_user.yml", check=True).output

    assert f"user {name} would be deleted, with volume {volume_of(name)}" in " ".join(output.split())
    assert session.me() is not None
    assert hub.has_volume(name)


def test_a_deleted_user_is_archived_and_the_next_one_of_that_name_starts_empty(hub: Hub) -> None:
    name, restored = fresh("bob"), fresh("robert")
    session = hub.join_with_notebook(name)
    output = hub.site.run("-e", f"user={name}", playbook="playbooks/delete_user.yml").output

    assert f"user {name} was deleted, with volume {volume_of(name)}" in " ".join(output.split())
    assert session.me() is None
    assert not HubSession(hub.site.url).sign_in(name, PASSWORD)
    assert not hub.has_volume(name)
    assert [container for container in hub.site.containers() if name in container] == []
    (archive,) = hub.archives(name)
    assert not (hub.backups / volume_of(name)).exists()

    # Nothing is left to delete, or to restore by the name.
    again = hub.site.run("-e", f"user={name}", playbook="playbooks/delete_user.yml")
    assert again.recap["changed"] == 0
    assert f"has no user {name}" in " ".join(again.output.split())
    with pytest.raises(ModuleError, match=f"there is no backup of user {name}"):
        run(jupyterhub_restore, name=NAME, directory=str(hub.backups), state="restored", users=[name])

    namesake = hub.join(name)
    namesake.spawn(name)
    with pytest.raises(requests.HTTPError, match="404"):
        namesake.contents("GET", name, "answer.ipynb")
    namesake.stop(name)
    assert session.me() is None

    arguments = ["-e", f"user={name}", "-e", f"to_user={restored}", "-e", f"jupyterhub_backup_dir={archive}"]
    hub.site.run(*arguments, playbook="restore.yml")
    other = hub.join(restored)
    assert run_notebook(other, restored, "answer.ipynb") == "42"
    other.stop(restored)


class Killed(BaseException):
    """Ends the code as a SIGKILL would."""


@pytest.mark.parametrize("step", ["remove_volume", "archive_backups", "delete_at_hub"])
def test_the_next_run_finishes_one_that_was_killed(hub: Hub, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh("bob")
    hub.join(name)
    volume = hub.site.client.volumes.create(volume_of(name), labels={LABEL_HUB: NAME, LABEL_USER: name})
    Path(volume.attrs["Mountpoint"], "answer.txt").write_text("42\n", encoding="utf-8")
    hub.user(name, "stopped")
    hub.back_up(name)
    done = getattr(Removal, step)

    def killed(*arguments: Any) -> None:
        done(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Removal, step, killed)
        with pytest.raises(Killed):
            hub.user(name, "absent")
    assert not hub.has_volume(name)
    # While anything is left, the name cannot be used.
    if step != "delete_at_hub":
        assert "is taken" in HubSession(hub.site.url).sign_up(name, f"{PASSWORD}-2").text
    assert hub.user(name, "absent")["changed"] is (step != "delete_at_hub")
    assert len(hub.archives(name)) == 1
    assert not (hub.backups / volume_of(name)).exists()
    hub.join(name, f"{PASSWORD}-2")


def test_a_user_who_signed_up_and_never_signed_in_is_deleted(hub: Hub) -> None:
    name = fresh("zoe")
    HubSession(hub.site.url).sign_up(name, PASSWORD)

    assert hub.user(name, "absent")["messages"] == [f"user {name} was deleted, with no volumes"]
    assert hub.user(name, "absent")["changed"] is False
    assert not HubSession(hub.site.url).sign_in(name, PASSWORD)


def test_the_admin_of_the_deployment_cannot_be_deleted(hub: Hub) -> None:
    with pytest.raises(ModuleError, match=f"admin is the administrator that hub {NAME} creates at each start"):
        hub.user("admin", "absent")
