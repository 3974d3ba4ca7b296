"""Targets and host keys of pushes, and acceptance of fetched backups; without a network."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.copy import fetch, push, rsync
from ansible.module_utils.jupyterhub_deploy.copy.rsync import Target
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

from support import backup_data

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEcnYyOyqTVVXGmKBxQvLZUb"
NAS = Target("backup", "nas.example.com", "/srv/backups")


@pytest.fixture
def with_rsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that rsync is installed: these tests never run it."""
    monkeypatch.setattr(fetch.shutil, "which", lambda program: f"/usr/bin/{program}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backup@nas.example.com:/srv/backups/hub1", Target("backup", "nas.example.com", "/srv/backups/hub1")),
        ("backup@nas:hub1/", Target("backup", "nas", "hub1")),
        ("backup@[2001:db8::1]:/srv", Target("backup", "[2001:db8::1]", "/srv")),
        ("backup@nas:/", Target("backup", "nas", "/")),
    ],
)
def test_a_target_is_parsed(text: str, expected: Target) -> None:
    assert Target.of(text) == expected


@pytest.mark.parametrize(
    "text", ["", "nas:/srv", "backup@nas", "backup@nas:", "backup@-oProxyCommand=x:/srv", "a b@nas:/x", "a@nas:/x y",
             "a@nas:/$(id)", "backup@nas::module"],
)  # fmt: skip
def test_an_invalid_target_is_refused(text: str) -> None:
    with pytest.raises(DeployError, match="write it as user@host:/directory"):
        Target.of(text)


@pytest.mark.parametrize("text", [KEY, f"{KEY} root@nas\n", f"nas.example.com {KEY}", f"[nas]:2222 {KEY} comment"])
def test_a_host_key_can_be_a_key_or_a_line_of_known_hosts(text: str) -> None:
    assert rsync.known_hosts_line(text) == f"backups {KEY}\n"


@pytest.mark.parametrize("text", ["", "AAAAC3Nza", "SHA256:abc", f"{KEY}\n* {KEY}", "@cert-authority * x y z"])
def test_an_invalid_host_key_is_refused(text: str) -> None:
    with pytest.raises(DeployError, match=r"push_host_key is .*; give the other machine's public host key"):
        rsync.known_hosts_line(text)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (
            "Host key verification failed.\nrsync: connection unexpectedly closed\nrsync error: x (code 255)",
            "nas.example.com does not have the key that push_host_key says",
        ),
        (
            "backup@nas.example.com: Permission denied (publickey).\nrsync error: x",
            f"add this line to ~backup/.ssh/authorized_keys there: {KEY}",
        ),
        (
            "ssh: connect to host nas.example.com port 22: Connection refused\nrsync error: x",
            "nas.example.com cannot be reached: ssh: connect to host nas.example.com port 22: Connection refused",
        ),
        ("rsync: [receiver] write failed: No space left on device (28)", "the disk of nas.example.com is full"),
        ("bash: line 1: rsync: command not found\nrsync error: x", "nas.example.com has no rsync; install"),
        (
            'rsync: [Receiver] mkdir "/srv/backups" failed: Permission denied (13)\nrsync error: x (code 11)',
            'cannot be sent to backup@nas.example.com:/srv/backups: rsync: [Receiver] mkdir "/srv/backups" failed',
        ),
        ("", "backups cannot be sent to backup@nas.example.com:/srv/backups: exit status 12"),
    ],
)
def test_errors_of_rsync_and_ssh_say_what_to_do(errors: str, expected: str) -> None:
    assert expected in rsync.explain_failure(NAS, 12, errors, KEY)


@pytest.mark.parametrize("errors", ["", "rsync error: error in file IO (code 11) at receiver.c(380)"])
def test_a_write_error_without_a_reason_is_reported_as_a_full_disk(errors: str) -> None:
    message = rsync.explain_failure(NAS, 11, errors, KEY)
    assert message.startswith("the disk of nas.example.com is full, or cannot be written (")


def test_without_backups_there_is_nothing_to_push(tmp_path: Path) -> None:
    settings, silent = push.PushSettings("a@b:/c", KEY, str(tmp_path / "key"), 22), Reporter(None)
    with pytest.raises(DeployError, match=r"^nothing was sent: directory .*/none does not exist; run `make backup`"):
        push.push(str(tmp_path / "none"), settings, False, silent)
    checked = push.push(str(tmp_path / "none"), settings, True, silent)
    assert checked["missing"] == []
    assert checked["messages"] == ["would be sent: 0, to a@b:/c"]
    assert not (tmp_path / "key").exists()


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.offer(str(tmp_path), check_mode=False) == {"offered": [], "damaged": []}  # of a new hub
    assert fetch.offer(str(tmp_path / "none"), check_mode=True) == {"offered": [], "damaged": []}
    with pytest.raises(DeployError, match=r"^nothing was fetched: directory .*/none does not exist; run `make backup`"):
        fetch.offer(str(tmp_path / "none"), check_mode=False)

    monkeypatch.setattr(store, "missing_disk", lambda directory: "/srv/disk")
    for check_mode in (False, True):
        with pytest.raises(DeployError, match=r"^nothing was fetched: the disk that .* mounts at /srv/disk is not"):
            fetch.offer(str(tmp_path), check_mode)
        with pytest.raises(DeployError, match=r"^nothing was sent: the disk that .*; run `mount /srv/disk`"):
            push.push(str(tmp_path), push.PushSettings("a@b:/c", KEY, "/nowhere", 22), check_mode, Reporter(None))


def test_damaged_backups_are_named_after_the_others_were_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, damaged, removed = (backup_data.write(tmp_path, NIGHT + timedelta(days=day), b"") for day in range(3))
    Path(damaged.archive_path).write_bytes(b"longer")
    os.unlink(removed.archive_path)
    listed = store.list_backups

    def list_while_retention_removes(directory: str, folder: str) -> tuple[list[store.Backup], list[store.Fault]]:
        found = listed(directory, folder)
        os.unlink(removed.manifest_path)
        return found

    monkeypatch.setattr(store, "list_backups", list_while_retention_removes)
    offered = fetch.offer(str(tmp_path), check_mode=False)
    monkeypatch.undo()
    fault = f"the archive of {damaged.manifest_path} has 6 bytes instead of 0"
    assert offered == {"offered": [fetch.offer_of(good)._asdict()], "damaged": [fault]}

    settings = push.PushSettings("a@b:/c", KEY, str(tmp_path / "key"), 22)
    with pytest.raises(DeployError) as error:
        push.push(str(tmp_path), settings, True, Reporter(None))
    assert str(error.value).startswith(f"would be sent: 1, to a@b:/c; 1 damaged backups were not sent: {fault}; remove")


@pytest.mark.usefixtures("with_rsync")
def test_only_missing_backups_are_fetched(tmp_path: Path) -> None:
    for day in range(3):
        backup_data.write(tmp_path / "host", NIGHT + timedelta(days=day), b"")
    here = tmp_path / "here"
    backup_data.write(here, NIGHT, b"")
    offers = [fetch.Offer(**one) for one in fetch.offer(str(tmp_path / "host"), check_mode=False)["offered"]]
    checked = fetch.plan_fetch(str(here), offers, check_mode=True)
    assert os.listdir(here) == ["jupyterhub-user-alice"]
    done = fetch.plan_fetch(str(here), offers, check_mode=False)

    where = f"2 (0 B), here already: 1, in {here}"
    assert checked.pop("messages") == [f"would be fetched: {where}", *done["missing"]]
    assert done.pop("messages") == [f"to fetch: {where}"]
    assert checked == done
    assert done["missing"] == [f"jupyterhub-user-alice/202611{day}T014440Z.tar" for day in (24, 25)]
    assert Path(done["list"]).read_text(encoding="utf-8").splitlines() == [
        f"jupyterhub-user-alice/202611{day}T014440Z.{ending}" for day in (24, 25) for ending in ("tar", "json")
    ]


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("../x/20261123T014440Z.json", "../x/20261123T014440Z.tar"),
        ("/x/20261123T014440Z.json", "/x/20261123T014440Z.tar"),
        ("xx/20261123T014440Z.json", "xx/../20261123T014440Z.tar"),
        ("xx/20261123T014440Z.json", "yy/20261123T014440Z.tar"),
        ("xx/20261123T014440Z.json\nyy", "xx/20261123T014440Z.tar"),
        ("xx/.ssh", "xx/authorized_keys"),
    ],
)
def test_a_compromised_host_cannot_name_other_files_here(tmp_path: Path, name: str, archive: str) -> None:
    with pytest.raises(DeployError, match="which is not a backup's name; nothing was fetched"):
        fetch.plan_fetch(str(tmp_path), [fetch.Offer(name, archive, 1)], check_mode=False)
    assert os.listdir(tmp_path) == []


def test_only_complete_backups_are_accepted(tmp_path: Path) -> None:
    incoming = tmp_path / fetch.INCOMING
    good = backup_data.write(incoming, NIGHT, b"")
    bad = backup_data.write(incoming, NIGHT + timedelta(days=1), b"", sha256="0" * 64)
    os.unlink(backup_data.write(incoming, NIGHT + timedelta(days=2), b"").archive_path)
    (incoming / "jupyterhub-user-alice" / "20261127T014440Z.json").symlink_to("/etc/passwd")
    with pytest.raises(DeployError) as error:
        fetch.accept_arrived(str(tmp_path))

    assert str(error.value).startswith("3 did not arrive as sent, 1 did; run it again: ")
    assert [one.stem for one in store.backups_in(str(tmp_path), "jupyterhub-user-alice")] == [good.stem]
    assert not Path(bad.archive_path).exists()


def test_missing_rsync_on_the_control_machine_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.shutil, "which", lambda program: None)
    with pytest.raises(DeployError, match="rsync is missing on the control machine; install the package rsync"):
        fetch.plan_fetch(str(tmp_path), [], check_mode=False)


@pytest.mark.usefixtures("with_rsync")
def test_a_fetch_needs_enough_free_space(tmp_path: Path) -> None:
    offer = fetch.Offer("xx/20261123T014440Z.json", "xx/20261123T014440Z.tar", 1 << 60)
    with pytest.raises(DeployError, match="MB are to be fetched; make room"):
        fetch.plan_fetch(str(tmp_path), [offer], check_mode=False)
