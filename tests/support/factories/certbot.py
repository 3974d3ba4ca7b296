"""The files of certbot in the directory of a front, with texts in the place of certificates."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.front.state import NAMES

SERVER = "https://acme.example.com:14000/directory"
#: Where certbot keeps the accounts at this server, and the key of one of them.
ACCOUNTS = "accounts/acme.example.com:14000/directory"
ACCOUNT = f"{ACCOUNTS}/0123/private_key.json"


def put(front: Path, hub: str, number: int, account: str = "0123") -> None:
    """Create what certbot has after a number of certificates for a hub, requested with an account."""
    put_account(front, account)
    for path in (f"settings/{hub}/certbot.ini", f"settings/{hub}/hook", "renewal/other.conf"):
        _write(front / "acme" / path, path)
    _write(front / f"acme/renewal/{hub}.conf", f"[renewalparams]\naccount = {account}\nserver = {SERVER}\n")
    live, archive = front / f"acme/live/{hub}", front / f"acme/archive/{hub}"
    live.mkdir(parents=True)
    archive.mkdir(parents=True)
    for name in NAMES:
        for one in range(1, number + 1):
            (archive / f"{name}{one}.pem").write_text(f"{name} {one}")
        (live / f"{name}.pem").symlink_to(f"../../archive/{hub}/{name}{number}.pem")


def put_account(front: Path, account: str, accounts: str = ACCOUNTS) -> None:
    """Create an account at an ACME server."""
    _write(front / "acme" / accounts / account / "private_key.json", account)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
