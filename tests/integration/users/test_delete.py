"""Users deleted from a real hub, and new users of the same name; then all accounts of a flood of sign-ups at once.

The tests share one hub, and each has users of its own.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal

import jupyterhub_backup
import jupyterhub_restore
import jupyterhub_unused_accounts
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

    def back_up(self, name: str, *recipients: str) -> None:
        volumes: dict[str, Any] = {"volumes": [volume_of(name)], "hub_state": False, "recipients": list(recipients)}
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
    with pytest.raises(ModuleError, match=f"container {NAME}-jupyter-{name} of {name} still runs; nothing of {name}"):
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


def test_a_deleted_user_is_archived_and_the_next_one_of_that_name_starts_empty(hub: Hub) -> None:
    name, restored = fresh("bob"), fresh("robert")
    session = hub.join_with_notebook(name)
    output = hub.site.run("-e", f"user={name}", playbook="playbooks/delete_user.yml", check=True).output

    assert f"user {name} would be deleted, with volume {volume_of(name)}" in " ".join(output.split())
    assert session.me() is not None
    assert hub.has_volume(name)

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
    with pytest.raises(ModuleError, match=f"user {name} has no backup"):
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


def test_a_user_with_encrypted_backups_is_deleted(hub: Hub) -> None:
    name = fresh("bob")
    hub.join_with_notebook(name)
    hub.user(name, "stopped")
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stderr
    hub.back_up(name, made.split()[-1])
    path = Path(hub.site.client.volumes.get(volume_of(name)).attrs["Mountpoint"], "new.txt")
    path.write_text("not in the backup", encoding="utf-8")
    with pytest.raises(ModuleError, match=f"has all that is in volume {volume_of(name)} now; nothing of {name} was"):
        hub.user(name, "absent")
    path.unlink()
    hub.user(name, "stopped")  # waits until a backup can be compared with the volume
    hub.back_up(name, made.split()[-1])
    assert hub.user(name, "absent")["changed"] is True
    assert not hub.has_volume(name)
    assert len(hub.archives(name)) == 1


class Killed(BaseException):
    """Ends the code as a SIGKILL would."""


@pytest.mark.parametrize(
    "step",
    [
        "remove_volume",
        pytest.param("archive_backups", marks=pytest.mark.long),
        pytest.param("delete_at_hub", marks=pytest.mark.long),
    ],
)
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


def test_a_directory_of_the_host_is_named_and_has_to_be_moved_away_first(hub: Hub) -> None:
    name, homes = fresh("bob"), Path("/var/tmp", run_name("delete-homes"))
    own: dict[str, Any] = {
        "jupyterhub_extra_config": f"c.DockerSpawner.volumes = {{'{homes}/{{username}}': '/home/jovyan/home'}}\n"
    }
    try:
        hub.site.run(**own)
        hub.join(name).spawn(name)
        (homes / name / "mine").write_text("mine", encoding="utf-8")
        saved = " ".join(hub.site.run(playbook="backup.yml", **own).output.split())
        assert f"NOT BACKED UP, although servers use it: directory {homes}/{{username}}" in saved
        refused = hub.site.run("-e", f"user={name}", playbook="playbooks/delete_user.yml", fails=True, **own).output
        message = f"{name} has the directory {homes}/{name}, which is neither backed up nor deleted"
        assert message in " ".join(refused.split())
        assert hub.has_volume(name)
        checked = hub.site.run(
            "-e", f"user={name}", "-e", "keep_directories=true", playbook="playbooks/delete_user.yml", check=True, **own
        ).output
        assert f"user {name} would be deleted, with volume {volume_of(name)}" in " ".join(checked.split())
        output = hub.site.run(
            "-e", f"user={name}", "-e", "keep_directories=true", playbook="playbooks/delete_user.yml", **own
        ).output
        assert f"user {name} was deleted, with volume {volume_of(name)}" in " ".join(output.split())
        assert (homes / name / "mine").read_text(encoding="utf-8") == "mine"

        hub.join(name)  # the next one
        with pytest.raises(ModuleError, match=f"{name} has the directory {homes}/{name}, which is"):
            hub.user(name, "absent")
        (homes / name).rename(homes / "kept")
        assert hub.user(name, "absent")["changed"] is True
        assert [path.name for path in homes.iterdir()] == ["kept"]
    finally:
        shutil.rmtree(homes, ignore_errors=True)
        hub.site.run()


def test_a_user_who_signed_up_and_never_signed_in_is_deleted(hub: Hub) -> None:
    name = fresh("zoe")
    HubSession(hub.site.url).sign_up(name, PASSWORD)

    assert hub.user(name, "absent")["messages"] == [f"user {name} was deleted, with no volumes"]
    assert hub.user(name, "absent")["changed"] is False
    assert not HubSession(hub.site.url).sign_in(name, PASSWORD)


def test_a_server_that_the_hub_does_not_know_keeps_its_user(hub: Hub) -> None:
    name = fresh("zoe")
    hub.join(name)
    image, labels = hub.site.container()["Config"]["Image"], {LABEL_HUB: NAME, LABEL_USER: name}
    server = hub.site.client.containers.run(image, ["sleep", "600"], name=f"{NAME}-lost", labels=labels, detach=True)
    try:
        for state in ("absent", "stopped"):
            with pytest.raises(ModuleError, match=f"container {NAME}-lost of {name} still runs; nothing of {name} was"):
                hub.user(name, state)
    finally:
        server.remove(force=True)
    assert hub.user(name, "absent")["messages"] == [f"user {name} was deleted, with no volumes"]


def test_the_name_of_a_service_is_refused(hub: Hub) -> None:
    assert "is taken" in HubSession(hub.site.url).sign_up("Deploy", PASSWORD).text
    with pytest.raises(ModuleError, match=f"hub {NAME} has a service called deploy, too, which cannot delete a user"):
        hub.user("deploy", "absent")


def test_the_admin_of_the_deployment_cannot_be_deleted(hub: Hub) -> None:
    with pytest.raises(ModuleError, match=f"admin is the administrator that hub {NAME} creates at each start"):
        hub.user("admin", "absent")


@pytest.fixture
def site(hub: Hub) -> LocalSite:
    return hub.site


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


def discard_by_module(minutes: int = 60, **options: Any) -> tuple[bool, str]:
    """Run the module alone, which takes less time; return whether it changed anything, and its messages."""
    since = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    token_file, backups = f"/etc/{NAME}/secrets/api_token", f"/var/backups/{NAME}"
    options.update(since=f"{since:%Y-%m-%dT%H:%M}", token_file=token_file, directory=backups)
    done = run(jupyterhub_unused_accounts, name=NAME, **options)
    return done["changed"], " ".join(done["messages"])


def can_sign_in(site: LocalSite, name: str) -> bool:
    return HubSession(site.url).sign_in(name, PASSWORD)


def approve(site: LocalSite, name: str) -> None:
    """Authorize an account as the administrator does in the browser."""
    admin = HubSession(site.url)
    assert admin.sign_in("admin", site.admin_password)
    token = admin.cookies.get("_xsrf", path="/hub/") or ""
    fields = {"_xsrf": token, "authorized": "yes"}
    admin.post(f"{site.url}/hub/authorize/{name}", data=fields, timeout=60).raise_for_status()


def test_older_accounts_and_those_with_a_volume_are_kept(site: LocalSite) -> None:
    old, with_volume = fresh("old"), fresh("bob")
    sign_up(site, old)
    sign_up(site, with_volume)
    volume = site.client.volumes.create(f"{NAME}-user-{with_volume}")
    try:
        assert discard_by_module(minutes=-1)[0] is False
        assert can_sign_in(site, old)
        output = discard(site)[1]
        assert f"{with_volume} is kept, because there is volume {volume.name}" in output
        assert "would be discarded" in output
        assert can_sign_in(site, old)
    finally:
        volume.remove()


def test_accounts_that_nobody_used_are_discarded_together(site: LocalSite) -> None:
    """Accounts that wait for approval among them, and not those that were approved."""
    discard_by_module()
    flood = [fresh("u") for _ in range(4)]
    worker, admin, declared = fresh("alice"), fresh("carol"), fresh("dave")
    waiting, approved = fresh("u"), fresh("erin")
    for number, name in enumerate(flood):
        sign_up(site, name, sign_in=number < 2)  # the hub knows those that have signed in
    session = sign_up(site, worker)
    session.spawn(worker)
    session.stop(worker)
    sign_up(site, admin)
    sign_up(site, declared)
    site.run(jupyterhub_users=[{"name": admin, "admin": True}], jupyterhub_native_signup="approval")
    for name in (waiting, approved):
        sign_up(site, name, sign_in=False)
    approve(site, approved)
    site.settings["jupyterhub_users"] = [{"name": declared.upper()}]
    listed = ", ".join([*flood, waiting])

    for check, arguments in ((False, []), (True, ["-e", "confirm=true"])):
        changed, output = discard(site, *arguments, check=check)
        assert f"5 unused accounts that signed up since {datetime.now(timezone.utc):%Y-}" in output
        assert f"UTC would be discarded: {listed}" in output
        assert ("To discard them, add -e confirm=true" in output) == (not arguments)
        assert changed == (1 if arguments else 0)
        assert worker not in output
    assert can_sign_in(site, flood[0])

    changed, output = discard(site, "-e", "confirm=true")
    assert changed == 1
    assert f"UTC were discarded: {listed}" in output
    assert not any(can_sign_in(site, name) for name in flood)
    assert all(can_sign_in(site, name) for name in (worker, admin, declared, approved))

    changed, output = discard_by_module(keep=[declared])
    assert changed is False
    assert "nothing was discarded" in output

    # The names are free again.
    sign_up(site, flood[0], sign_in=False)
    approve(site, flood[0])
    assert can_sign_in(site, flood[0])
