"""Secrets as files: made once, readable by root alone, never changed behind the operator's back."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Mapping
from typing import Any, Callable

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

# Letters and digits that nobody mistakes for one another when typing a password from a terminal.
READABLE = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
PASSWORD_LENGTH = 20  # of 56 characters: 116 bits

# 32 random bytes as hexadecimal is what JupyterHub and its proxy document for each of these. The token of the API is
# that of the hub's service `deploy` (see hub/api.py).
GENERATORS: dict[str, Callable[[], str]] = {
    "cookie_secret": lambda: secrets.token_hex(32),
    "proxy_token": lambda: secrets.token_hex(32),
    "crypt_key": lambda: secrets.token_hex(32),
    "api_token": lambda: secrets.token_hex(32),
    "admin_password": lambda: "".join(secrets.choice(READABLE) for _ in range(PASSWORD_LENGTH)),
}

# Beside the password while the hub has not been told of it (see roles/jupyterhub/tasks/admin.yml).
PENDING = "admin_password.pending"

# What ways to sign in have to keep secret (see signin.py in the hub image). Its generation, which tells nothing,
# changes with it, so that the hub's configuration changes too and the hub is started anew.
SIGN_IN = "authenticators.json"


def plan_sign_in(existing: str | None, values: Mapping[str, Any]) -> str | None:
    """Return what the file of sign-in secrets shall hold: the same text when nothing changes, ``None`` for no file."""
    if not values:
        return None
    try:
        found = json.loads(existing or "{}")
    except ValueError:
        found = {}
    if existing is not None and found.get("values") == values:
        return existing
    return json.dumps({"generation": secrets.token_hex(8), "values": values}, sort_keys=True)


def generation(text: str | None) -> str:
    """Return the generation of a file of sign-in secrets; empty when there is none."""
    return str(json.loads(text)["generation"]) if text else ""


def remove(directory: str, name: str) -> None:
    """Remove a secret that nothing needs any more."""
    os.unlink(os.path.join(directory, name))


def read(directory: str, name: str) -> str | None:
    """Return a secret without its line end, or ``None`` when it does not exist or is empty (a torn write)."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            return file.read().rstrip("\n") or None
    except FileNotFoundError:
        return None


def wrong_modes(directory: str) -> list[str]:
    """Return what does not belong to root alone: the directory, the one it is in, and the files that exist in it."""
    expected = {os.path.dirname(directory): DIRECTORY_MODE, directory: DIRECTORY_MODE}
    if os.path.isdir(directory):
        expected.update({os.path.join(directory, name): FILE_MODE for name in os.listdir(directory)})
    return sorted(path for path, mode in expected.items() if os.path.exists(path) and not _is(path, mode))


def plan(existing: Mapping[str, str | None], admin_password: str) -> tuple[list[str], bool]:
    """Return which secrets have to be written, and whether the hub must be told of a new admin password.

    :param existing: name to value of the secrets on the host, ``None`` where there is none.
    :param admin_password: the operator's, or empty: then the one on the host stays, or one is generated.
    """
    missing = [name for name in GENERATORS if existing.get(name) is None]
    replaced = bool(admin_password) and existing.get("admin_password") not in (None, admin_password)
    return missing + (["admin_password"] if replaced else []), replaced


def ensure_directory(path: str) -> None:
    """Make a directory that root alone can enter, in one that root alone can enter, or mend their modes."""
    for directory in (os.path.dirname(path), path):
        os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
        _own(directory, DIRECTORY_MODE)


def write(directory: str, name: str, value: str) -> None:
    """Write a secret, whole or not at all."""
    partial = os.path.join(directory, f".{name}.partial")
    if os.path.exists(partial):
        os.unlink(partial)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, os.path.join(directory, name))


def mend_modes(paths: list[str]) -> None:
    """Give paths back to root alone."""
    for path in paths:
        _own(path, DIRECTORY_MODE if os.path.isdir(path) else FILE_MODE)


def _is(path: str, mode: int) -> bool:
    found = os.lstat(path)
    return stat.S_IMODE(found.st_mode) == mode and (found.st_uid, found.st_gid) == (0, 0)


def _own(path: str, mode: int) -> None:
    os.chown(path, 0, 0)
    os.chmod(path, mode)
