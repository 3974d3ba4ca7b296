"""What ACME needs on a new host: the account, and the certificate of one hub. For backups of the hub's state.

Without them, a recovered hub requests a certificate again, and ACME servers limit how many they issue for a name.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

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
    # live/<hub>/fullchain.pem is a link to archive/<hub>/fullchain3.pem. A renewal meanwhile changes no file of that
    # number, and changes this link last.
    number = os.path.realpath(live / "fullchain.pem").rpartition("fullchain")[2]
    for name in NAMES:
        shutil.copyfile(acme / "archive" / hub / f"{name}{number}", new / "archive" / hub / f"{name}{number}")


def restore(source: str, directory: str, hub: str) -> str:
    """Restore what :func:`copy` has copied; return a message, empty if there was nothing or the host has a certificate.

    :param source: the directory that :func:`copy` created.
    """
    acme, old = Path(directory, ACME), Path(source, ACME)
    live, archive = acme / "live" / hub, old / "archive" / hub
    if not archive.is_dir() or (live / "fullchain.pem").exists():
        return ""
    for part in ("archive", "renewal", "settings"):
        if (old / part).is_dir():
            shutil.copytree(old / part, acme / part, dirs_exist_ok=True)
    message = _restore_accounts(old, acme, acme / f"renewal/{hub}.conf")
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
    return message


def _restore_accounts(old: Path, acme: Path, renewal: Path) -> str:
    """Restore the accounts at servers where the host has none; let its own one renew the certificate; return a message.

    With two accounts at a server, certbot asks which one to use, and a run cannot answer.

    :param old: certbot's directory in the backup.
    :param acme: that of the host.
    :param renewal: certbot's settings of the certificate, already restored.
    """
    text = renewal.read_text(encoding="utf-8")
    account, server = (_value(text, key) for key in ("account", "server"))
    own = _accounts(acme)
    for place, ids in _accounts(old).items():
        for one in [account] if account in ids else ids:
            # The same one may be a part that a killed run has copied.
            if one in own.get(place, [one]):
                shutil.copytree(old / place / one, acme / place / one, dirs_exist_ok=True)
    url = urlsplit(server)
    here = own.get(f"accounts/{url.netloc}{url.path}", [])
    if not here or account in here:
        return "the hub's certificate and its account at the ACME server: restored"
    renewal.write_text(re.sub(r"(?m)^account = .*$", f"account = {here[0]}", text), encoding="utf-8")
    return f"the hub's certificate: restored; the account that this host has at {server} renews it"


def _accounts(acme: Path) -> dict[str, list[str]]:
    """Return the ids of accounts in certbot's directory by the place of their server, ``accounts/<host>/<path>``."""
    found: dict[str, list[str]] = {}
    for key in sorted((acme / "accounts").rglob("private_key.json")):
        found.setdefault(str(key.parent.parent.relative_to(acme)), []).append(key.parent.name)
    return found


def _value(settings: str, key: str) -> str:
    """Return a value in certbot's settings of a certificate, empty without it."""
    found = re.search(rf"^{key} = (\S+)$", settings, re.MULTILINE)
    return found[1] if found else ""


def _links(folder: str, names: list[str]) -> list[str]:
    """Return the links in a folder, which a backup of the hub's state cannot have."""
    return [name for name in names if os.path.islink(os.path.join(folder, name))]
