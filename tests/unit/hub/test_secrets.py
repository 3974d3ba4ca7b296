"""Secrets on the host: generated once, kept, readable only by root."""

from __future__ import annotations

import os
import stat

import pytest
from ansible.module_utils.jupyterhub_deploy.hub import secrets

ALL = dict.fromkeys(secrets.GENERATORS, "x")


def test_missing_secrets_are_generated():
    assert secrets.plan(dict.fromkeys(ALL), "") == (list(ALL), False)
    assert secrets.plan({**ALL, "crypt_key": None}, "") == (["crypt_key"], False)


def test_existing_secrets_are_kept():
    assert secrets.plan(ALL, "") == ([], False)
    assert secrets.plan(ALL, "x") == ([], False)


def test_a_new_admin_password_is_written_and_the_hub_needs_it():
    assert secrets.plan(ALL, "y") == (["admin_password"], True)


def test_the_first_admin_password_reaches_the_hub_by_its_file():
    assert secrets.plan({**ALL, "admin_password": None}, "y") == (["admin_password"], False)


def test_generated_secrets_differ_and_are_long():
    for generate in secrets.GENERATORS.values():
        assert generate() != generate()
        assert len(generate()) >= secrets.PASSWORD_LENGTH


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of root")
class TestFiles:
    def test_only_root_can_read_a_secret_whatever_the_umask(self, tmp_path):
        old = os.umask(0)
        try:
            directory = str(tmp_path / "deep" / "secrets")
            secrets.ensure_directory(directory)
            secrets.write(directory, "proxy_token", "value")
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(tmp_path / "deep").st_mode) == 0o700
        assert stat.S_IMODE(os.stat(f"{directory}/proxy_token").st_mode) == 0o600
        assert secrets.read(directory, "proxy_token") == "value"
        assert secrets.wrong_modes(directory) == []

    def test_what_others_can_read_is_found_and_corrected(self, tmp_path):
        directory = tmp_path / "secrets"
        secrets.ensure_directory(str(directory))
        secrets.write(str(directory), "proxy_token", "value")
        secrets.write(str(directory), "crypt_key", "value")
        os.chmod(directory / "proxy_token", 0o644)
        os.chown(directory / "crypt_key", 1000, 0)
        os.chmod(directory, 0o755)
        os.chmod(tmp_path, 0o755)
        found = secrets.wrong_modes(str(directory))
        assert found == [
            str(path) for path in (tmp_path, directory, directory / "crypt_key", directory / "proxy_token")
        ]
        secrets.correct_modes(found)
        assert secrets.wrong_modes(str(directory)) == []

    def test_an_empty_file_counts_as_missing(self, tmp_path):
        (tmp_path / "proxy_token").write_text("")
        assert secrets.read(str(tmp_path), "proxy_token") is None

    def test_a_leftover_of_a_killed_write_does_not_matter(self, tmp_path):
        (tmp_path / ".proxy_token.partial").write_text("half")
        secrets.write(str(tmp_path), "proxy_token", "value")
        assert os.listdir(tmp_path) == ["proxy_token"]
