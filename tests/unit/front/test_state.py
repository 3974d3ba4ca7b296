from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.front import state

from support.factories.certbot import ACCOUNT, ACCOUNTS, SERVER, put, put_account

WHOLE = "the hub's certificate and its account at the ACME server: restored"


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


def test_a_renewal_meanwhile_leaves_the_copy_complete(tmp_path: Path) -> None:
    put(tmp_path / "old", "lab", 1)
    live, archive = (tmp_path / "old/acme" / part / "lab" for part in ("live", "archive"))
    for name in ("cert", "privkey", "chain"):  # certbot changes the link of fullchain.pem last
        (archive / f"{name}2.pem").write_text(f"{name} 2")
        (live / f"{name}.pem").unlink()
        (live / f"{name}.pem").symlink_to(f"../../archive/lab/{name}2.pem")
    state.copy(str(tmp_path / "old"), "lab", str(tmp_path / "copy"))
    files = sorted((tmp_path / "copy/acme/archive/lab").iterdir())
    assert [path.read_text() for path in files] == ["cert 1", "chain 1", "fullchain 1", "privkey 1"]


def test_a_hub_without_a_certificate_has_nothing_to_copy(tmp_path: Path) -> None:
    state.copy(str(tmp_path / "old"), "lab", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    assert not state.restore(str(tmp_path / "copy"), str(tmp_path / "new"), "lab")


def test_a_new_host_gets_it(copied: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert state.restore(str(copied), str(new), "lab") == WHOLE
    assert (new / "acme/live/lab/privkey.pem").read_text() == "privkey 3"
    assert (new / "acme/live/lab/privkey.pem").is_symlink()
    assert (new / "acme/archive/lab/privkey3.pem").stat().st_mode & 0o777 == 0o600
    assert (new / "acme/settings/lab/hook").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (new / "acme").rglob("*") if path.is_dir()} == {0o700}


def test_a_certificate_of_the_host_is_kept(copied: Path, tmp_path: Path) -> None:
    put(tmp_path / "new", "lab", 1)
    assert not state.restore(str(copied), str(tmp_path / "new"), "lab")
    assert (tmp_path / "new/acme/live/lab/privkey.pem").read_text() == "privkey 1"


def accounts(front: Path, server: str = ACCOUNTS) -> list[str]:
    return sorted(path.name for path in (front / "acme" / server).iterdir())


def renewal(front: Path) -> str:
    return (front / "acme/renewal/lab.conf").read_text()


def test_a_host_with_an_account_keeps_it_as_the_only_one(copied: Path, tmp_path: Path) -> None:
    """With two accounts, certbot asks which one to use, and a run cannot answer."""
    new = tmp_path / "new"
    put(new, "other", 1, account="4567")
    told = state.restore(str(copied), str(new), "lab")
    assert told == (
        "the hub's certificate: restored; the account that this host has at https://acme.example.com:14000/directory "
        "renews it"
    )
    assert accounts(new) == ["4567"]
    assert renewal(new) == f"[renewalparams]\naccount = 4567\nserver = {SERVER}\n"
    assert (new / "acme/live/lab/privkey.pem").read_text() == "privkey 3"


@pytest.mark.parametrize("there", ["the same account", "one at another server", "an empty directory"])
def test_otherwise_the_account_of_the_backup_is_used(copied: Path, tmp_path: Path, there: str) -> None:
    new, elsewhere = tmp_path / "new", "accounts/staging.example.com/dir"
    if there == "the same account":
        put_account(new, "0123")
    elif there == "one at another server":
        put_account(new, "4567", elsewhere)
    else:
        (new / "acme" / ACCOUNTS).mkdir(parents=True)
    assert state.restore(str(copied), str(new), "lab") == WHOLE
    assert accounts(new) == ["0123"]
    assert "account = 0123\n" in renewal(new)
    if there == "one at another server":
        assert accounts(new, elsewhere) == ["4567"]


def test_of_two_accounts_in_a_backup_that_of_the_certificate_is_restored(tmp_path: Path) -> None:
    put(tmp_path / "old", "lab", 1)
    put_account(tmp_path / "old", "4567")
    put_account(tmp_path / "old", "89ab", "accounts/staging.example.com/dir")
    state.copy(str(tmp_path / "old"), "lab", str(tmp_path / "copy"))
    assert state.restore(str(tmp_path / "copy"), str(tmp_path / "new"), "lab") == WHOLE
    assert accounts(tmp_path / "new") == ["0123"]
    assert accounts(tmp_path / "new", "accounts/staging.example.com/dir") == ["89ab"]


def test_a_killed_restore_is_completed_by_the_next_one(copied: Path, tmp_path: Path) -> None:
    (copied / "acme" / ACCOUNT).with_name("regr.json").touch()
    put_account(tmp_path / "new", "0123")
    assert state.restore(str(copied), str(tmp_path / "new"), "lab") == WHOLE
    assert (tmp_path / "new/acme" / ACCOUNT).with_name("regr.json").exists()


def test_a_killed_restore_can_be_repeated_with_the_account_of_the_host(copied: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    put(new, "other", 1, account="4567")
    state.restore(str(copied), str(new), "lab")
    (new / "acme/live/lab/fullchain.pem").unlink()
    assert state.restore(str(copied), str(new), "lab")
    assert accounts(new) == ["4567"]
    assert "account = 4567\n" in renewal(new)
