"""Secrets as files: generated once, readable only by root, and never changed unless the operator asks for it."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from typing import Callable, NamedTuple

from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

# Letters and digits that are not confused with one another when typing a password from a terminal.
READABLE = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
PASSWORD_LENGTH = 20  # of 56 characters: 116 bits

# JupyterHub and its proxy document 32 random bytes as hexadecimal for each of these. The API token is the one of the
# hub's service `deploy` (see hub/api.py).
GENERATORS: dict[str, Callable[[], str]] = {
    "cookie_secret": lambda: secrets.token_hex(32),
    "proxy_token": lambda: secrets.token_hex(32),
    "crypt_key": lambda: secrets.token_hex(32),
    "api_token": lambda: secrets.token_hex(32),
    "admin_password": lambda: "".join(secrets.choice(READABLE) for _ in range(PASSWORD_LENGTH)),
}

# Exists beside the password until the hub has it (see roles/jupyterhub/tasks/admin.yml).
PENDING = "admin_password.pending"


class Changes(NamedTuple):
    """What has to be changed: names of secrets to write, whether the hub needs a new admin password, paths with wrong
    owner or mode."""

    write: list[str]
    new_password: bool
    modes: list[str]


def observe(directory: str, admin_password: str) -> tuple[dict[str, bool], Changes]:
    """Return which secrets exist in a directory, and what has to be changed.

    :param admin_password: the operator's; when empty, the existing one is kept, or one is generated.
    """
    existing = {name: read(directory, name) for name in GENERATORS}
    names, new_password = plan(existing, admin_password)
    exists = {name: value is not None for name, value in existing.items()}
    return exists, Changes(names, new_password, wrong_modes(directory))


def apply(directory: str, admin_password: str, changes: Changes) -> None:
    """Write missing secrets and correct owners and modes."""
    if not (changes.write or changes.modes):
        return
    ensure_directory(directory)
    correct_modes(changes.modes)
    if changes.new_password:
        # First the marker: after a kill between the two, the hub gets the password once too often, not never.
        write(directory, PENDING, "")
    for name in changes.write:
        given = admin_password if name == "admin_password" else ""
        write(directory, name, given or GENERATORS[name]())


def read(directory: str, name: str) -> str | None:
    """Return a secret without its line end, ``None`` when it does not exist or is empty (a torn write)."""
    return (read_text(os.path.join(directory, name)) or "").rstrip("\n") or None


def wrong_modes(directory: str) -> list[str]:
    """Return what others than root can access: the directory, its parent, and the files in it."""
    expected = {os.path.dirname(directory): DIRECTORY_MODE, directory: DIRECTORY_MODE}
    if os.path.isdir(directory):
        expected.update({os.path.join(directory, name): FILE_MODE for name in os.listdir(directory)})
    return sorted(path for path, mode in expected.items() if os.path.exists(path) and not _is(path, mode))


def plan(existing: Mapping[str, str | None], admin_password: str) -> tuple[list[str], bool]:
    """Return which secrets have to be written, and whether the hub needs a new admin password.

    :param existing: name to value of the secrets on the host, ``None`` for a missing one.
    :param admin_password: the operator's; when empty, the existing one is kept, or one is generated.
    """
    missing = [name for name in GENERATORS if existing.get(name) is None]
    replaced = bool(admin_password) and existing.get("admin_password") not in (None, admin_password)
    return missing + (["admin_password"] if replaced else []), replaced


def ensure_directory(path: str) -> None:
    """Create a directory and its parent so that only root can enter them, or correct their modes."""
    for directory in (os.path.dirname(path), path):
        os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
        _own(directory, DIRECTORY_MODE)


def write(directory: str, name: str, value: str) -> None:
    """Write a secret, whole or not at all."""
    write_atomically(os.path.join(directory, name), value + "\n", FILE_MODE)


def correct_modes(paths: list[str]) -> None:
    """Set owner and mode of paths so that only root can access them."""
    for path in paths:
        _own(path, DIRECTORY_MODE if os.path.isdir(path) else FILE_MODE)


def _is(path: str, mode: int) -> bool:
    found = os.lstat(path)
    return stat.S_IMODE(found.st_mode) == mode and (found.st_uid, found.st_gid) == (0, 0)


def _own(path: str, mode: int) -> None:
    os.chown(path, 0, 0)
    os.chmod(path, mode)
