"""Releases of the configuration on the host: whole, never changed, pruned by age and never while in use."""

from __future__ import annotations

import os

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import config

FILES = {"jupyterhub_config.py": "c = get_config()\n", "settings.json": "{}\n"}


def test_what_was_written_is_read(tmp_path):
    config.write(str(tmp_path), "abc", FILES)
    assert config.read(config.path(str(tmp_path), "abc")) == FILES
    assert config.read(config.path(str(tmp_path), "other")) == {}


def test_only_the_owner_can_read_it(tmp_path):
    config.write(str(tmp_path), "abc", FILES)
    directory = config.path(str(tmp_path), "abc")
    assert os.stat(directory).st_mode & 0o077 == 0
    assert all(os.stat(os.path.join(directory, name)).st_mode & 0o077 == 0 for name in FILES)


def test_a_release_that_exists_is_kept(tmp_path):
    config.write(str(tmp_path), "abc", FILES)
    before = os.stat(config.path(str(tmp_path), "abc")).st_ino
    config.write(str(tmp_path), "abc", FILES)
    assert os.stat(config.path(str(tmp_path), "abc")).st_ino == before


def test_a_release_edited_by_hand_is_written_again(tmp_path):
    config.write(str(tmp_path), "abc", FILES)
    (tmp_path / "config-abc" / "settings.json").write_text("{")
    config.write(str(tmp_path), "abc", FILES)
    assert config.read(config.path(str(tmp_path), "abc")) == FILES


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        config.write(str(tmp_path), "abc", {"a": "fine", "b": None})  # type: ignore[dict-item]
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config.os, "fsync", full)
    with pytest.raises(
        DeployError, match=r"cannot be written to .*No space left on device; the hub was left as it was"
    ):
        config.write(str(tmp_path), "abc", FILES)
    assert os.listdir(tmp_path) == []


def test_old_releases_are_removed_but_never_one_in_use(tmp_path):
    for age, digest in enumerate(["oldest", "old", "new", "newest"]):
        config.write(str(tmp_path), digest, FILES)
        os.utime(config.path(str(tmp_path), digest), (age, age))
    (tmp_path / ".config-killed").mkdir()
    (tmp_path / "secrets").mkdir()
    removed = config.prune(str(tmp_path), in_use={"oldest"}, keep=1)
    assert removed == [".config-killed", "config-new", "config-old"]
    assert sorted(os.listdir(tmp_path)) == ["config-newest", "config-oldest", "secrets"]


def test_sign_in_secrets_are_kept_only_while_they_are_in_use(tmp_path):
    files = {**FILES, **config.sign_in_file({"github": {"client_secret": "x"}})}
    for digest in ("running", "old"):
        config.write(str(tmp_path), digest, files)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "authenticators.json").write_text("{}")
    config.prune(str(tmp_path), in_use={"running"})
    assert config.read(config.path(str(tmp_path), "running")) == files
    assert config.read(config.path(str(tmp_path), "old")) == FILES
    assert os.listdir(tmp_path / "secrets") == []
    assert config.sign_in_file({}) == {}


def test_certificate_authorities_are_a_file_of_the_configuration(tmp_path):
    bundle = tmp_path / "own.pem"
    bundle.write_bytes(b"# caf\xe9\n-----BEGIN CERTIFICATE-----\n")
    assert config.ca_file("") == {}
    assert config.ca_file(str(bundle)) == {"ca-bundle.crt": "# caf\ufffd\n-----BEGIN CERTIFICATE-----\n"}
    bundle.write_bytes(b"\x30\x82\x01")
    with pytest.raises(DeployError, match=r"own\.pem in jupyterhub_ca_bundle is not a PEM file with certificates"):
        config.ca_file(str(bundle))
    bundle.unlink()
    with pytest.raises(DeployError, match=r"own.pem cannot be read on this host \(No such file"):
        config.ca_file(str(bundle))
