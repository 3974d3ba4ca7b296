"""What ACME needs on a new host: the account, and the certificate of one hub. For backups of the hub's state.

Without them, a recovered hub requests a certificate again, and ACME servers limit how many they issue for a name.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.front.site import ACME

# certbot's files of a certificate. The last one shows that all are there.
NAMES = ("cert", "chain", "privkey", "fullchain")


def copy(directory: str, hub: str, target: str) -> None:
    """Copy the account and the present certificate of a hub, if it has one, as plain files.

    :param directory: the front's directory.
    :param target: a directory that does not exist; not created without a certificate.
    """
    acme, new = Path(directory, ACME), Path(target, ACME)
    live = acme / "live" / hub
    if not (live / "fullchain.pem").exists():
        return
    for part in ("accounts", f"settings/{hub}"):
        if (acme / part).is_dir():
            shutil.copytree(acme / part, new / part, ignore=_links)
    (new / "renewal").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(acme / f"renewal/{hub}.conf", new / f"renewal/{hub}.conf")
    (new / "archive" / hub).mkdir(parents=True)
    for name in NAMES:
        # live/<hub>/cert.pem is a link to archive/<hub>/cert3.pem.
        source = Path(os.path.realpath(live / f"{name}.pem"))
        shutil.copyfile(source, new / "archive" / hub / source.name)


def restore(source: str, directory: str, hub: str) -> bool:
    """Restore what :func:`copy` has copied; return whether there was something, and the host had no certificate.

    :param source: the directory that :func:`copy` created.
    """
    acme, old = Path(directory, ACME), Path(source, ACME)
    live, archive = acme / "live" / hub, old / "archive" / hub
    if not archive.is_dir() or (live / "fullchain.pem").exists():
        return False
    shutil.copytree(old, acme, dirs_exist_ok=True)
    live.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (found,) = archive.glob(f"{name}[0-9]*.pem")
        link = live / f"{name}.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../archive/{hub}/{found.name}")
    for parent, _, names in os.walk(acme):
        os.chmod(parent, 0o700)
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700 if name == "hook" else 0o600)
    return True


def _links(folder: str, names: list[str]) -> list[str]:
    """Return the links in a folder, which a backup of the hub's state cannot have."""
    return [name for name in names if os.path.islink(os.path.join(folder, name))]
