from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.front import state

from support.factories.certbot import ACCOUNT, put


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    put(tmp_path / "old", "lab", 3)
    state.copy(str(tmp_path / "old"), "lab", str(tmp_path / "copy"))
    return tmp_path / "copy"


def test_the_copy_has_the_present_certificate_as_plain_files(copied: Path) -> None:
    archive = [f"acme/archive/lab/{name}3.pem" for name in state.NAMES]
    settings = ["acme/renewal/lab.conf", "acme/settings/lab/certbot.ini", "acme/settings/lab/hook"]
    assert contents(copied) == sorted([*archive, f"acme/{ACCOUNT}", *settings])
    assert not any(path.is_symlink() for path in copied.rglob("*"))


def test_a_hub_without_a_certificate_has_nothing_to_copy(tmp_path: Path) -> None:
    state.copy(str(tmp_path / "old"), "lab", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    assert not state.restore(str(tmp_path / "copy"), str(tmp_path / "new"), "lab")


def test_a_new_host_gets_it(copied: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert state.restore(str(copied), str(new), "lab")
    assert (new / "acme/live/lab/privkey.pem").read_text() == "privkey 3"
    assert (new / "acme/live/lab/privkey.pem").is_symlink()
    assert (new / "acme/archive/lab/privkey3.pem").stat().st_mode & 0o777 == 0o600
    assert (new / "acme/settings/lab/hook").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (new / "acme").rglob("*") if path.is_dir()} == {0o700}


def test_a_certificate_of_the_host_is_kept(copied: Path, tmp_path: Path) -> None:
    put(tmp_path / "new", "lab", 1)
    assert not state.restore(str(copied), str(tmp_path / "new"), "lab")
    assert (tmp_path / "new/acme/live/lab/privkey.pem").read_text() == "privkey 1"
