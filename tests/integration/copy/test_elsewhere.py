"""Backups pushed to and fetched from another machine, with real SSH and rsync to a test host."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.copy import rsync

import jupyterhub_backup_copy
from hosts.hosts import Host
from support import backup_data, modules

ROOT = Path(__file__).resolve().parents[3]
NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
PATH = "/home/ops/backups"


def tarball(size: int) -> bytes:
    """Return a tar stream with a file that cannot be compressed."""
    made, member = io.BytesIO(), tarfile.TarInfo("./file")
    member.size = size
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(member, io.BytesIO(os.urandom(size)))
    return made.getvalue()


@pytest.fixture(scope="module")
def nas(make_host: Callable[[str], Host]) -> Host:
    """Return a machine with SSH and rsync; backups are sent to its user ops."""
    host = make_host("debian12")
    host.run("apt-get update -qq && apt-get install -qq -y --no-install-recommends rsync")
    return host


class Pusher:
    """Backups on this machine, and the settings to push them to the other."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.directory = folder / "backups"
        self.key_file = folder / "key"
        self.host_key = host.read("/etc/ssh/ssh_host_ed25519_key.pub")
        for day in range(2):
            backup_data.write(self.directory, NIGHT + timedelta(days=day), tarball(8192))
        backup_data.write(self.directory, NIGHT, b"", volume=None)

    def settings(self, **changes: Any) -> dict[str, Any]:
        to = f"ops@{self.host.address}:{PATH}"
        found = {"directory": str(self.directory), "to": to, "host_key": self.host_key, "key_file": str(self.key_file)}
        return {**found, **changes}

    def push(self, check: bool = False, **changes: Any) -> dict[str, Any]:
        return modules.run(jupyterhub_backup_copy, check=check, **self.settings(**changes))

    def refused(self, **changes: Any) -> str:
        with pytest.raises(modules.ModuleError) as error:
            self.push(**changes)
        return str(error.value)

    def let_in(self, before: str = "") -> None:
        """Authorize the key on the other machine, as the error message asks."""
        line = rsync.public_key(str(self.key_file), write=False)
        self.host.run("cat >> /home/ops/.ssh/authorized_keys", stdin=f"{before}{line}\n")

    def there(self, target: Path) -> Path:
        """Copy the other machine's directory here, to inspect it."""
        tarball = target.with_suffix(".tar")
        with tarball.open("wb") as file:
            command = ["docker", "exec", self.host.container, "tar", "-C", PATH, "-cf", "-", "."]
            subprocess.run(command, stdout=file, check=True)
        target.mkdir()
        subprocess.run(["tar", "-C", target, "-xf", tarball], check=True)
        return target


@pytest.fixture
def pusher(nas: Host, tmp_path: Path) -> Iterator[Pusher]:
    nas.run(f"rm -rf {PATH}; cp /home/ops/.ssh/authorized_keys /root/keys")
    yield Pusher(nas, tmp_path)
    nas.run("cat /root/keys > /home/ops/.ssh/authorized_keys")


def names(directory: Path) -> dict[str, list[str]]:
    return {folder: [one.stem for one in found] for folder, found in store.every_backup(str(directory)).items()}


def test_backups_arrive_complete_and_once(pusher: Pusher, tmp_path: Path) -> None:
    checked = pusher.push(check=True)
    assert (checked["changed"], len(checked["missing"]), checked["public_key"]) == (True, 3, None)
    assert not pusher.key_file.exists()
    message = pusher.refused()
    assert f"{pusher.host.address} refuses this host's key for user ops; add this line to" in message
    assert pusher.key_file.stat().st_mode & 0o777 == 0o600
    pusher.let_in()

    assert len(pusher.push(check=True)["missing"]) == 3
    assert pusher.host.run(f"test ! -e {PATH}", check=False).returncode == 0
    first = pusher.push()
    assert message.endswith(first["public_key"])
    assert (len(first["copied"]), first["changed"], first["size"]) == (3, True, 2 * len(tarball(8192)))
    there = pusher.there(tmp_path / "there")
    assert names(there) == names(pusher.directory)
    for one in store.backups_in(str(there), "jupyterhub-user-alice"):
        sent = pusher.directory / "jupyterhub-user-alice" / one.manifest.archive
        assert Path(one.archive_path).read_bytes() == sent.read_bytes()
    for path in there.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
        if path.is_file():
            assert path.read_bytes() == (pusher.directory / path.relative_to(there)).read_bytes()
    again = pusher.push()
    assert (again["changed"], again["copied"], again["missing"]) == (False, [], [])

    # Backups that are removed here stay there, and those that were removed there are sent again.
    volume = "jupyterhub-user-alice"
    store.delete(store.backups_in(str(pusher.directory), volume)[0])
    pusher.host.run(f"rm {PATH}/hub/*.tar")
    assert pusher.push()["copied"] == ["hub/20261123T014440Z.tar"]
    assert len(names(pusher.there(tmp_path / "later"))[volume]) == 2


def test_another_host_key_gets_nothing(pusher: Pusher, tmp_path: Path) -> None:
    pusher.refused()
    pusher.let_in()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    message = pusher.refused(host_key=(tmp_path / "other.pub").read_text())
    assert message.startswith(f"{pusher.host.address} does not have the key that push_host_key says;")
    assert pusher.host.run(f"test ! -e {PATH}", check=False).returncode == 0
    assert "cannot be reached: ssh: " in pusher.refused(port=9)
    assert "cannot be reached: ssh: " in pusher.refused(to="ops@nas.invalid:/srv")


def test_push_works_where_only_rsync_is_allowed(pusher: Pusher, tmp_path: Path) -> None:
    pusher.refused()
    pusher.host.run(f"install -d -o ops {PATH}")
    pusher.let_in(f'restrict,command="rrsync -wo {PATH}" ')
    assert len(pusher.push(to=f"ops@{pusher.host.address}:/")["copied"]) == 3
    assert names(pusher.there(tmp_path / "there")) == names(pusher.directory)
    assert pusher.push(to=f"ops@{pusher.host.address}:/")["changed"] is False


def test_damaged_backups_are_not_sent_and_damaged_copies_are_sent_again(pusher: Pusher, tmp_path: Path) -> None:
    pusher.refused()
    pusher.let_in()
    (older, newer) = store.backups_in(str(pusher.directory), "jupyterhub-user-alice")
    # As after an interrupted run, on a disk that has lost a bit since: same size, same time.
    other = bytearray(Path(older.archive_path).read_bytes())
    other[5000] ^= 1
    stamp = os.stat(older.archive_path).st_mtime
    path = f"{PATH}/jupyterhub-user-alice"
    text = subprocess.run(["base64"], input=bytes(other), capture_output=True, check=True).stdout.decode()
    pusher.host.run(f"mkdir -p {path} && base64 -d > {path}/{older.manifest.archive}", stdin=text)
    pusher.host.run(f"touch -d @{stamp} {path}/* && chown -R ops {PATH}")
    assert len(pusher.push()["copied"]) == 3
    there = pusher.there(tmp_path / "there")
    copy = there / "jupyterhub-user-alice" / older.manifest.archive
    assert copy.read_bytes() == Path(older.archive_path).read_bytes()

    pusher.host.run(f"rm -rf {PATH}")
    damaged = bytearray(Path(newer.archive_path).read_bytes())
    damaged[100] ^= 1
    Path(newer.archive_path).write_bytes(damaged)
    assert "does not have the checksum that its manifest says" in (message := pusher.refused())
    assert "it was not sent" in message
    assert pusher.host.run(f"ls {PATH}", check=False).returncode


def test_a_push_continues_after_a_full_disk(pusher: Pusher, tmp_path: Path) -> None:
    pusher.refused()
    pusher.let_in()
    backup_data.write(pusher.directory, NIGHT + timedelta(days=3), tarball(6 << 20))
    pusher.host.run(f"install -d {PATH} && mount -t tmpfs -o size=4m,uid=$(id -u ops) tmpfs {PATH}")
    try:
        message = pusher.refused()
        # rsync does not always transfer the reason; then a full disk is the most likely one.
        assert re.match(
            rf"the disk of {re.escape(pusher.host.address)} is full( \(|, or cannot be written \()", message
        )
        before = names(pusher.there(tmp_path / "before"))
        assert "20261126T014440Z" not in str(before)
        pusher.host.run(f"mount -o remount,size=20m {PATH}")
        pusher.push()
        assert names(pusher.there(tmp_path / "after")) == names(pusher.directory)
    finally:
        pusher.host.run(f"umount {PATH}")


def test_a_broken_connection_leaves_no_incomplete_backup_and_the_next_run_continues(
    pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.refused()
    pusher.let_in()
    big = backup_data.write(pusher.directory, NIGHT + timedelta(days=3), tarball(6 << 20))
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "rsync").write_text('#!/bin/sh\nexec /usr/bin/rsync --bwlimit=2000 "$@"\n', encoding="utf-8")
    (slow / "rsync").chmod(0o755)
    environment = {**rsync.ENVIRONMENT, "PATH": f"{slow}:{os.environ['PATH']}"}
    monkeypatch.setattr(rsync, "ENVIRONMENT", environment)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        with open(tmp_path / "said", "w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
        try:
            pusher.push()
        finally:
            os._exit(0)
    half = f"find {PATH} -name '*{big.manifest.archive}*' -size +1000k | grep ."
    deadline = time.monotonic() + 30
    while pusher.host.run(half, check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # Ends all connections at once, like a crash of the machine.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert big.stem not in str(names(pusher.there(tmp_path / "half")))

    monkeypatch.undo()
    assert f"{big.manifest.folder}/{big.manifest.archive}" in pusher.push()["copied"]
    there = pusher.there(tmp_path / "whole")
    assert names(there) == names(pusher.directory)
    assert (there / big.manifest.folder / big.manifest.archive).read_bytes() == Path(big.archive_path).read_bytes()


def test_backups_are_fetched_over_ansibles_connection(nas: Host, tmp_path: Path) -> None:
    """Only root can read the backups on the host; Ansible connects as ops and becomes root."""
    source, copies = tmp_path / "source", tmp_path / "copies"
    first = backup_data.write(source, NIGHT, tarball(3 << 20))
    backup_data.write(source, NIGHT, b"", volume=None)
    remote = "/var/backups/jhd-test-el"
    nas.run(f"rm -rf {remote}; mkdir -m 700 {remote}")

    def put() -> None:
        subprocess.run(["docker", "cp", f"{source}/.", f"{nas.container}:{remote}"], check=True, capture_output=True)

    put()
    settings = tmp_path / "hosts.json"
    about = {**nas.inventory(), "jupyterhub_backup_dir": remote}
    settings.write_text(json.dumps({"jupyterhub": {"hosts": {"hub1": about}}}), encoding="utf-8")

    def play(*arguments: str, fails: bool = False) -> str:
        command = [
            "ansible-playbook",
            "playbooks/fetch_backups.yml",
            "-i",
            str(settings),
            "-e",
            f"to={copies}",
            *arguments,
        ]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    checked = play("--check")
    assert "would be fetched: 2" in checked
    assert "changed=1 " in checked
    assert not copies.exists()

    # A backup that does not match its manifest is not accepted, and is removed.
    second = backup_data.write(source, NIGHT + timedelta(days=1), tarball(8192))
    Path(second.archive_path).write_bytes(os.urandom(second.manifest.size))
    put()
    assert "1 did not arrive as sent, 2 did" in play(fails=True)
    here = copies / "hub1"
    assert names(here) == {"hub": [first.stem], "jupyterhub-user-alice": [first.stem]}
    assert (here / first.manifest.folder / first.manifest.archive).read_bytes() == Path(first.archive_path).read_bytes()
    nas.run(f"rm {remote}/jupyterhub-user-alice/{second.stem}*")
    again = play()
    assert "to fetch: 0 (0 B), here already: 2" in again
    assert "changed=0 " in again
    assert not (here / ".incoming").exists()
