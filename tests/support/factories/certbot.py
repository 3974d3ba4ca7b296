"""The files of certbot in the directory of a front, with texts in the place of certificates."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.front.state import NAMES

ACCOUNT = "accounts/acme.example.com/directory/0123/private_key.json"


def put(front: Path, hub: str, number: int) -> None:
    """Create what certbot has after a number of certificates for a hub."""
    for path in (
        ACCOUNT,
        f"settings/{hub}/certbot.ini",
        f"settings/{hub}/hook",
        f"renewal/{hub}.conf",
        "renewal/other.conf",
    ):
        (front / "acme" / path).parent.mkdir(parents=True, exist_ok=True)
        (front / "acme" / path).write_text(path)
    live, archive = front / f"acme/live/{hub}", front / f"acme/archive/{hub}"
    live.mkdir(parents=True)
    archive.mkdir(parents=True)
    for name in NAMES:
        for one in range(1, number + 1):
            (archive / f"{name}{one}.pem").write_text(f"{name} {one}")
        (live / f"{name}.pem").symlink_to(f"../../archive/{hub}/{name}{number}.pem")
