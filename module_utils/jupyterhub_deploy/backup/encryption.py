"""Encryption of archives for public keys, by the program ``age``: the host writes what it cannot read again.

The cryptography is age's alone. Here is who it is for, how the private key reaches it in a restore, and what its
messages mean. The private key is kept in memory: age gets it as a file that has no name on any disk.
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

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# The native keys of age, and the two kinds of SSH keys that it takes.
RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/]+=*")
PRIVATE = re.compile(r"^(?:AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\s*$|-----BEGIN [A-Z ]*PRIVATE KEY-----)", re.MULTILINE)
LOOKS_PRIVATE = ("AGE-SECRET-KEY-", "-----BEGIN")

PATH = os.environ.get("PATH", os.defpath)

NOT_MINE = "no identity matched"
ASKS = "passphrase"

KEY = ".scan-key"  # in the directory of backups; copies elsewhere leave it out
NOT_TOLD = "the names are not kept with an encrypted backup"

# The private keys of this run; see unlocked().
_identities: list[str] = []


def recipients(given: Iterable[str]) -> list[str]:
    """Return public keys in one form, without comments, each once.

    :raises DeployError: one of them is none that age takes. A private key that was given by mistake is not repeated.
    """
    found = set()
    for number, text in enumerate(given, 1):
        key = " ".join(text.split()[:2])
        if any(mark in text for mark in LOOKS_PRIVATE):
            raise DeployError(
                f"recipient {number} is a private key, and its public key is needed; whoever can read the settings "
                "can read the private key now, so make another pair"
            )
        if not RECIPIENT.fullmatch(key):
            raise DeployError(
                f"recipient {number}, {text!r}, is no public key that age takes; those begin with age1, ssh-ed25519 "
                "or ssh-rsa"
            )
        found.add(key)
    return sorted(found)


def encrypting(keys: Sequence[str]) -> list[str]:
    """Return the program that encrypts its input for all of the public keys."""
    return ["age", "--encrypt", *(f"--recipient={key}" for key in keys)]


def counted(names: list[str]) -> list[str]:
    """Return what a manifest may say of files by name when the archive is encrypted: that there are some."""
    return [f"({len(names)}: {NOT_TOLD})"] if names else []


def sealed(digest: str | None, keys: Sequence[str], secret: bytes) -> str | None:
    """Return a scan's digest as it may stand beside an encrypted archive.

    It depends on a secret of this host, so that nobody who has a copy of the manifests can try what would give it; and
    on the public keys, so that other keys mean a new backup.
    """
    if digest is None or not keys:
        return digest
    return hmac.new(secret, "\n".join([digest, *keys]).encode(), hashlib.sha256).hexdigest()


def scan_secret(directory: str, write: bool) -> bytes:
    """Return the secret for :func:`sealed` of a directory of backups, which is made in it once.

    :param write: whether it may be made; without it a new one is thrown away, and nothing fits to what it seals.
    """
    path = os.path.join(directory, KEY)
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        found = file.read()
        if len(found) == 32:
            return found
    made = os.urandom(32)
    if write:
        descriptor = os.open(f"{path}.partial", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.partial", path)
    return made


def require(keys: Sequence[str]) -> None:
    """Raise an error when something is to be encrypted and the program for it is not there."""
    if keys and not shutil.which("age", path=PATH):
        raise DeployError("program age, which encrypts backups, is missing on this host; install the package age")


@contextlib.contextmanager
def unlocked(identity: str | None) -> Iterator[None]:
    """Have a private key at hand for the archives that are read meanwhile.

    :param identity: the text of a private key's file, or of several after one another; ``None`` for none.
    :raises DeployError: it holds none.
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
            "the private key is none that age takes; its file has a line AGE-SECRET-KEY-1… or is an SSH private key"
        )
    _identities.append(identity)
    try:
        yield
    finally:
        _identities.pop()


def have_identity() -> bool:
    """Return whether there is a private key to read archives with."""
    return bool(_identities)


@contextlib.contextmanager
def decrypting(archive: str, keys: Sequence[str], source: int, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program that decrypts an archive.

    :param archive: its path, for messages.
    :param keys: the public keys that it was encrypted for.
    :param source: descriptor of the archive, at its begin.
    :raises DeployError: there is no private key, or age is missing.
    """
    if not _identities:
        raise DeployError(
            f"archive {archive} is encrypted; to read it pass -e identity=FILE, where FILE on the control machine "
            f"holds the private key of {_shown(keys)}"
        )
    # Without a name on any disk, and gone with the process, whatever ends it.
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
            start_new_session=True,  # no terminal to ask for a passphrase at: nobody would see the question
        )
    except FileNotFoundError as error:
        raise DeployError(
            f"program age, which reads {archive}, is missing on this host; install the package age"
        ) from error
    finally:
        os.close(key)
    assert process.stdout  # noqa: S101  (for mypy)
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def failure(archive: str, keys: Sequence[str], errors: IO[bytes]) -> str:
    """Return what it means that age could not decrypt an archive. Its own words about the key are not repeated."""
    errors.seek(0)
    said = errors.read(1 << 16).decode("utf-8", "replace")
    if NOT_MINE in said:
        return f"archive {archive} is encrypted for others than the private key given; {_shown(keys)} can read it"
    if ASKS in said:
        return (
            f"the private key to archive {archive} has a passphrase, and nobody can type it here; give a copy without "
            "one in a memory file system"
        )
    if "/dev/fd/" in said:
        return f"age cannot use the private key that was given to archive {archive}; is it age's or an SSH key?"
    return f"archive {archive} cannot be decrypted by age: it is damaged"


def _shown(keys: Sequence[str]) -> str:
    return " or ".join(keys) or "one of the public keys that it was encrypted for"
