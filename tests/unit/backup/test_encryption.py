"""Recipients, manifests of encrypted archives, and private keys; without running age."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import encryption, store
from ansible.module_utils.jupyterhub_deploy.backup.draft import Draft, leftovers
from ansible.module_utils.jupyterhub_deploy.backup.manifest import Manifest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support import backup_data

AGE = "age1" + "q" * 58
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="
SECRET = "AGE-SECRET-KEY-1" + "Q" * 58


def test_public_keys_are_normalized_and_unique() -> None:
    given = [f"{SSH} alice@laptop.example.com", AGE, f" {AGE} ", f"{SSH}  office"]

    assert encryption.recipients(given) == [AGE, SSH]
    assert encryption.recipients([]) == []


@pytest.mark.parametrize("text", ["", "age1short", AGE.upper(), "ssh-dss AAAA", "ecdsa-sha2-nistp256 AAAA", "-o/x"])
def test_an_invalid_public_key_is_named(text: str) -> None:
    with pytest.raises(DeployError) as error:
        encryption.recipients([AGE, text])

    assert str(error.value).startswith(f"recipient 2, {text!r}, is not a public key that age accepts;")


@pytest.mark.parametrize("text", [SECRET, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn"])
def test_a_private_key_among_the_recipients_is_not_repeated(text: str) -> None:
    with pytest.raises(DeployError) as error:
        encryption.recipients([text])

    assert "recipient 1 is a private key" in str(error.value)
    assert text[-10:] not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age1qqqq", "is not one that age accepts"),
        ("age-encryption.org/v1\n-> scrypt", "is itself encrypted"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "is itself encrypted"),
        ("AGE-SECRET-KEY-1QQ\n", "is not one that age accepts"),
    ],
)
def test_an_invalid_private_key_is_refused_and_not_repeated(text: str, expected: str) -> None:
    with pytest.raises(DeployError, match=expected) as error, encryption.unlocked(text):
        pass
    assert text.strip() not in str(error.value)


def test_a_private_key_is_available_only_in_its_context() -> None:
    with encryption.unlocked(f"# created: today\n{SECRET}\n"):
        assert encryption.have_identity()
    with encryption.unlocked(None):
        assert not encryption.have_identity()


def test_the_digest_for_an_encrypted_archive_depends_on_the_hosts_secret_and_the_keys(tmp_path: Path) -> None:
    secret = encryption.scan_secret(str(tmp_path), write=True)
    digest = encryption.keyed_digest("abc", [AGE], secret)

    assert secret == encryption.scan_secret(str(tmp_path), write=False)
    assert (tmp_path / encryption.KEY).stat().st_mode & 0o777 == 0o600
    others = [
        encryption.keyed_digest("abd", [AGE], secret),
        encryption.keyed_digest("abc", [AGE, SSH], secret),
        encryption.keyed_digest("abc", [AGE], encryption.scan_secret(str(tmp_path / "other"), write=False)),
        "abc",
    ]
    assert digest not in others
    assert encryption.keyed_digest("abc", [], secret) == "abc"
    assert encryption.keyed_digest(None, [AGE], secret) is None


def test_names_are_replaced_by_their_number() -> None:
    assert encryption.omit_names(["./a", "./b"]) == ["(2: the names are not kept with an encrypted backup)"]
    assert encryption.omit_names([]) == []


def test_manifests_without_encryption_mean_plain_archives() -> None:
    text = backup_data.manifest(store.time_of("20261123T014440Z")).to_json()
    older = "".join(line for line in text.splitlines(True) if '"encryption"' not in line and '"recipients"' not in line)
    manifest = Manifest.from_json(older, "/b/20261123T014440Z.json")

    assert (manifest.encryption, manifest.recipients) == ("none", [])


def test_the_name_of_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    draft = Draft(str(tmp_path), "hub", "zstd", "age")
    assert draft.archive == f"{draft.stem}.tar.zst.age"

    path = tmp_path / "hub"
    (path / draft.archive).write_bytes(b"")
    Path(draft.manifest_partial).write_bytes(b"")
    assert leftovers(str(path)) == [str(path / draft.archive), draft.manifest_partial]
