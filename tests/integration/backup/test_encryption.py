"""Encrypted backups of real volumes, with Debian's age and generated keys."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import encryption, runner, verify

import jupyterhub_restore
from support import modules
from support.backup_site import ALICE, HUB, Site, actions
from support.factories import tree
from support.long_runs import Times

ROOT = Path(__file__).resolve().parents[3]
MARK = "a-word-that-nothing-else-has"


class Pair(NamedTuple):
    """A key pair: the public key for the settings, and the file of the private key."""

    public: str
    file: Path


class EncryptedSite(Site):
    """A user's volume and a hub's state, with a mark in everything that must not be readable in a backup."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.staging = Path(runner.STAGING, f"staging-{HUB}")
        (self.config / "secrets" / f"{MARK}_secret").write_text(MARK * 3, encoding="utf-8")
        self.data = self.volume(ALICE, "alice")
        database = Path(self.client.inspect_volume(f"{HUB}-data")["Mountpoint"], "jupyterhub.sqlite")
        with sqlite3.connect(database) as connection:
            connection.execute("INSERT INTO users VALUES (?)", [MARK])

    def back_up(self, *keys: Pair, **arguments: Any) -> dict[str, str]:
        """Back up, and return the actions by name."""
        return actions(self.run(recipients=[key.public for key in keys], **arguments))

    def restore(self, key: Pair | None, **arguments: Any) -> dict[str, Any]:
        asked = {"name": HUB, "directory": str(self.directory), "state": "restored", **arguments}
        if asked["state"] == "restored":
            asked.update(users=["alice"], keep_old=False)
        return modules.run(jupyterhub_restore, identity=key.file.read_text() if key else None, **asked)

    def refused(self, key: Pair | None) -> str:
        """Try to restore; return the error, and check that nothing was changed."""
        before = tree.describe(self.data)
        with pytest.raises(modules.ModuleError) as error:
            self.restore(key)
        assert tree.describe(self.data) == before
        assert os.listdir(self.data.parent) == ["_data"]
        return str(error.value)

    def content(self) -> bytes:
        """Return the content of all files in the backup directory."""
        return b"".join(path.read_bytes() for path in sorted(self.directory.rglob("*")) if path.is_file())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[EncryptedSite]:
    made = EncryptedSite(tmp_path)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Return key pairs: two of age, one of SSH, one of SSH with a passphrase."""
    folder, made = tmp_path_factory.mktemp("keys"), {}
    for name in ("mine", "other"):
        subprocess.run(["age-keygen", "-o", folder / name], check=True, capture_output=True)
        public = subprocess.run(["age-keygen", "-y", folder / name], check=True, capture_output=True, text=True)
        made[name] = Pair(public.stdout.strip(), folder / name)
    for name, phrase in (("ssh", ""), ("locked", "phrase")):
        command: list[str] = ["ssh-keygen", "-q", "-t", "ed25519", "-C", "alice@example.com", "-N", phrase]
        subprocess.run([*command, "-f", folder / name], check=True)
        made[name] = Pair((folder / f"{name}.pub").read_text(encoding="utf-8"), folder / name)
    return made


def test_only_the_private_key_restores_and_reads_the_backups(
    site: EncryptedSite, keys: dict[str, Pair], tmp_path: Path
) -> None:
    tree.make(site.data)
    (site.data / f"{MARK}.ipynb").write_text(MARK * 5, encoding="utf-8")
    expected = tree.describe(site.data)
    time.sleep(2.1)  # the scan of a file that has just changed would not be trusted
    both = [keys["mine"], keys["ssh"], keys["locked"]]
    assert set(site.back_up(*both, compression="none").values()) == {"backed_up"}

    # Without compression, plain text would be visible. Names and secrets must not be.
    assert MARK.encode() not in site.content()
    assert b"alice@example.com" not in site.content()
    (hub,), (backup,) = site.backups("hub"), site.backups(ALICE)
    assert [one.manifest.archive for one in (hub, backup)] == [f"{one.stem}.tar.age" for one in (hub, backup)]
    assert not site.staging.exists()
    assert set(site.back_up(*both, compression="none").values()) == {"unchanged"}
    assert set(site.back_up(*both, compression="none", check=True).values()) == {
        "unchanged",
        "backed_up",
    }  # the hub's state was not verified
    assert verify.verify(backup).good
    (line,) = site.restore(None, state="listed", verify=True)["backups"]
    assert (line["verified"], line["encryption"]) == (True, "age")
    assert line["not_verified"] == "sum checked; content not readable without the key"

    message = site.refused(None)
    assert f"archive {backup.archive_path} is encrypted; to read it pass -e identity=FILE" in message
    assert keys["mine"].public in message
    assert "is encrypted for others than the private key given" in site.refused(keys["other"])
    assert "has a passphrase" in site.refused(keys["locked"])
    for key in ("mine", "ssh"):
        (site.data / "later").write_text("", encoding="utf-8")
        site.restore(keys[key])
        assert tree.describe(site.data) == expected
    (line,) = site.restore(keys["mine"], state="listed", verify=True)["backups"]
    assert (line["verified"], line["not_verified"]) == (True, None)

    # As in docs/how-to/encrypted-backups.md, without our code.
    command = f"age -d -i {keys['mine'].file} {hub.archive_path} | tar -C {tmp_path} -xf - ./secrets"
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "secrets" / f"{MARK}_secret").read_text(encoding="utf-8") == MARK * 3


def test_other_keys_mean_a_new_backup(site: EncryptedSite, keys: dict[str, Pair]) -> None:
    (site.data / "file").write_text("x", encoding="utf-8")
    time.sleep(2.1)
    done = [site.back_up(*given) for given in ([], [keys["mine"]], [keys["mine"]], [keys["ssh"], keys["mine"]], [])]

    expected = ["backed_up", "backed_up", "unchanged", "backed_up", "backed_up"]
    assert [actions[ALICE] for actions in done] == expected
    assert [actions["hub"] for actions in done] == expected
    assert [one.manifest.encryption for one in site.backups(ALICE)] == ["none", "age", "age", "none"]
    assert len(site.backups(ALICE)[2].manifest.recipients) == 2


def test_a_damaged_archive_is_refused_by_its_checksum_or_by_age(site: EncryptedSite, keys: dict[str, Pair]) -> None:
    (site.data / "file").write_bytes(os.urandom(1 << 20))
    site.back_up(keys["mine"], hub_state=False)
    (backup,) = site.backups(ALICE)
    archive, manifest = Path(backup.archive_path), Path(backup.manifest_path)
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[500_000] ^= 1
    archive.write_bytes(flipped)
    assert "does not have the checksum that its manifest says" in site.refused(keys["mine"])
    assert "does not have the checksum" in site.refused(None)
    assert not verify.verify(backup).good

    record = json.loads(manifest.read_text(encoding="utf-8"))
    for content in (bytes(flipped), whole[:600_000]):
        archive.write_bytes(content)
        record.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        manifest.write_text(json.dumps(record), encoding="utf-8")
        assert f"archive {archive} cannot be decrypted by age: it is damaged" in site.refused(keys["mine"])


def test_without_age_one_error_names_the_package(
    site: EncryptedSite, keys: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.back_up(keys["mine"])
    monkeypatch.setattr(encryption, "PATH", str(tmp_path))
    with pytest.raises(modules.ModuleError) as error:
        site.back_up(keys["mine"])
    assert str(error.value) == ("program age, which encrypts backups, is missing on this host; install the package age")
    assert "is missing on this host; install the package age" in site.refused(keys["mine"])


def test_a_kill_leaves_nothing_unencrypted(site: EncryptedSite, keys: dict[str, Pair], times: Times) -> None:
    (site.data / "file").write_bytes(MARK.encode() * 1_000_000)
    asked = {"force": True, "compression": "none", "keep": {"last": 1}}
    site.back_up(keys["mine"], **asked)
    began = time.monotonic()
    site.back_up(keys["mine"], **asked)
    whole = time.monotonic() - began
    moments = random.Random(4)
    kills, left = 0, 0
    while kills < times(5, 20) or not left:  # without a partial file, this would test nothing
        kills += 1
        assert kills < 100
        child = os.fork()
        if not child:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            try:
                site.back_up(keys["mine"], **asked)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert MARK.encode() not in site.content()
        left += any(path.suffix == ".partial" for path in site.directory.rglob(".*"))
    site.staging.mkdir(exist_ok=True)  # as after some of the kills, with unencrypted secrets
    site.back_up(hub_state=False)
    assert not site.staging.exists()
    site.back_up(keys["mine"], **asked)
    assert not site.staging.exists()


SPY = """#!/bin/sh
for argument; do
  case "$argument" in --identity=*) readlink "${argument#*=}" >> @LOG@; cat "${argument#*=}" > @KEY@ ;; esac
done
{ printf '%s\\n' "$@"; tr '\\0' '\\n' < /proc/$$/environ; } >> @LOG@
exec @AGE@ "$@"
"""


def test_the_playbook_passes_the_key_without_a_file(site: EncryptedSite, keys: dict[str, Pair], tmp_path: Path) -> None:
    """A wrapper of age records where the key comes from, and that it is not in arguments or environment."""
    (site.data / "file").write_text("before", encoding="utf-8")
    site.back_up(keys["mine"])
    (site.data / "file").write_text("after", encoding="utf-8")
    age = subprocess.run(["which", "age"], check=True, capture_output=True, text=True).stdout.strip()
    log, seen, spy = tmp_path / "log", tmp_path / "key", tmp_path / "bin" / "age"
    spy.parent.mkdir()
    spy.write_text(SPY.replace("@LOG@", str(log)).replace("@KEY@", str(seen)).replace("@AGE@", age), encoding="utf-8")
    spy.chmod(0o755)
    settings = {"jupyterhub_name": HUB, "jupyterhub_config_dir": str(site.config)}
    settings["jupyterhub_backup_dir"] = str(site.directory)

    def play(**environment: str) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "restore.yml", "-i", "examples/inventory/hosts.yml", "-e", json.dumps(settings)]
        command += ["-e", "user=alice", "-e", f"identity={keys['mine'].file}", "-vvvv"]
        path = f"{spy.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": path, **environment}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    done = play(ANSIBLE_PIPELINING="false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site.data / "file").read_text(encoding="utf-8") == "before"
    private = keys["mine"].file.read_text(encoding="utf-8").splitlines()[-1]
    assert private in seen.read_text(encoding="utf-8")
    record = log.read_text(encoding="utf-8")
    assert record.startswith("/memfd:identity (deleted)\n")
    for text in (record, done.stdout, done.stderr):
        assert private not in text
