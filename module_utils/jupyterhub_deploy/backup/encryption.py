"""Encrypt archives for public keys with the program ``age``, so that the host cannot read the archives it writes.

All cryptography is in age. This module checks the recipients, passes the private key to age in a restore, and explains
age's error messages. The private key stays in memory: age reads it from an anonymous file that is not on any disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup.programs import ended
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# The native keys of age, and the two kinds of SSH keys that it accepts.
RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/]+=*")
PRIVATE = re.compile(r"^(?:AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\s*$|-----BEGIN [A-Z ]*PRIVATE KEY-----)", re.MULTILINE)
PRIVATE_MARKS = ("AGE-SECRET-KEY-", "-----BEGIN")

PATH = os.environ.get("PATH", os.defpath)

NO_IDENTITY_MATCHED = "no identity matched"
NEEDS_TERMINAL = "passphrase"

KEY = ".scan-key"  # in the backup directory; copies on other machines do not include it
NAMES_OMITTED = "the names are not kept with an encrypted backup"

# The private keys of this run; see unlocked().
_identities: list[str] = []


def recipients(given: Iterable[str]) -> list[str]:
    """Return public keys sorted, without comments and duplicates.

    :raises DeployError: age does not accept one of them. The message does not repeat a private key given by mistake.
    """
    found = set()
    for number, text in enumerate(given, 1):
        key = " ".join(text.split()[:2])
        if any(mark in text for mark in PRIVATE_MARKS):
            raise DeployError(
                f"recipient {number} is a private key, and its public key is needed; anyone who can read the "
                "settings can read the private key now, so create another key pair"
            )
        if not RECIPIENT.fullmatch(key):
            raise DeployError(
                f"recipient {number}, {text!r}, is not a public key that age accepts; those begin with age1, "
                "ssh-ed25519 or ssh-rsa"
            )
        found.add(key)
    return sorted(found)


def encrypting(keys: Sequence[str]) -> list[str]:
    """Return the command that encrypts its input for all of the public keys."""
    return ["age", "--encrypt", *(f"--recipient={key}" for key in keys)]


def omit_names(names: list[str]) -> list[str]:
    """Return the number of files instead of their names, for the manifest of an encrypted archive."""
    return [f"({len(names)}: {NAMES_OMITTED})"] if names else []


def keyed_digest(digest: str | None, keys: Sequence[str], secret: bytes) -> str | None:
    """Return a scan's digest in the form that is safe in the manifest of an encrypted archive.

    It depends on a secret of this host, so that a copy of the manifests does not allow guessing file names; and on the
    public keys, so that other keys lead to a new backup.
    """
    if digest is None or not keys:
        return digest
    return hmac.new(secret, "\n".join([digest, *keys]).encode(), hashlib.sha256).hexdigest()


def scan_secret(directory: str, write: bool) -> bytes:
    """Return the secret for :func:`keyed_digest` from a backup directory; create it there the first time.

    :param write: whether to store a new secret; otherwise its digests match no manifest.
    """
    path = os.path.join(directory, KEY)
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        found = file.read()
        if len(found) == 32:
            return found
    made = os.urandom(32)
    if write:
        files.write_atomically(path, made)
    return made


def require(keys: Sequence[str]) -> None:
    """Raise an error when backups are to be encrypted and age is not installed."""
    if keys and not shutil.which("age", path=PATH):
        raise DeployError("program age, which encrypts backups, is missing on this host; install the package age")


@contextlib.contextmanager
def unlocked(identity: str | None) -> Iterator[None]:
    """Keep a private key in memory for the archives that are read in this context.

    :param identity: the text of one or several private key files; ``None`` for no key.
    :raises DeployError: the text does not contain a private key that age accepts.
    """
    if not identity:
        yield
        return
    if "age-encryption.org/" in identity or "AGE ENCRYPTED FILE" in identity:
        raise DeployError(
            "the private key is itself encrypted, and nobody can type a passphrase here; "
            "write it decrypted to a memory file system first (age --decrypt) and name that file"
        )
    if not PRIVATE.search(identity):
        raise DeployError(
            "the private key is not one that age accepts; its file has a line AGE-SECRET-KEY-1… or is an SSH private "
            "key"
        )
    _identities.append(identity)
    try:
        yield
    finally:
        _identities.pop()


def have_identity() -> bool:
    """Return whether a private key is available to read archives."""
    return bool(_identities)


@contextlib.contextmanager
def decrypting(archive: str, keys: Sequence[str], source: int, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program that decrypts an archive.

    :param archive: its path, for messages.
    :param keys: the public keys that it was encrypted for.
    :param source: descriptor of the archive, at its start.
    :raises DeployError: no private key was given, or age is not installed.
    """
    if not _identities:
        raise DeployError(
            f"archive {archive} is encrypted; to read it pass -e identity=FILE, where FILE on the control machine "
            f"holds the private key of {_key_list(keys)}"
        )
    # An anonymous file in memory: it disappears with the process, also when that is killed.
    key = os.memfd_create("identity")
    try:
        os.write(key, _identities[-1].encode())
        process = subprocess.Popen(
            ["age", "--decrypt", f"--identity=/dev/fd/{key}"],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"LC_ALL": "C", "PATH": PATH},
            bufsize=1 << 20,
            pass_fds=[key],
            start_new_session=True,  # no terminal on which age could ask for a passphrase
        )
    except FileNotFoundError as error:
        raise DeployError(
            f"program age, which reads {archive}, is missing on this host; install the package age"
        ) from error
    finally:
        os.close(key)
    with ended(process):
        yield process


def failure(archive: str, keys: Sequence[str], errors: IO[bytes]) -> str:
    """Return why age could not decrypt an archive. Age's own message is left out: it may quote the key."""
    errors.seek(0)
    output = errors.read(1 << 16).decode("utf-8", "replace")
    if NO_IDENTITY_MATCHED in output:
        return f"archive {archive} is encrypted for others than the private key given; {_key_list(keys)} can read it"
    if NEEDS_TERMINAL in output:
        return (
            f"the private key to archive {archive} has a passphrase, and nobody can type it here; give a copy without "
            "one in a memory file system"
        )
    if "/dev/fd/" in output:
        return f"age cannot use the private key that was given to archive {archive}; use an age or SSH key"
    return f"archive {archive} cannot be decrypted by age: it is damaged"


def _key_list(keys: Sequence[str]) -> str:
    return " or ".join(keys) or "one of the public keys that it was encrypted for"
