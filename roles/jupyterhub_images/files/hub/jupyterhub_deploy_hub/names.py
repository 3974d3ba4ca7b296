"""User names: one spelling each, none that pretends to be another, and the Docker names made from them.

Pure, and free of JupyterHub, so that backup and reconciliation can use the same rules.
"""

from __future__ import annotations

import hashlib
import string
import unicodedata

#: Width of NativeAuthenticator's column ``users_info.username`` (PostgreSQL enforces it, SQLite does not).
LONGEST_NAME = 128
#: A longer escaped name is shortened. Docker keeps a volume in a directory of its name, at most 255 bytes with prefix.
LONGEST_ESCAPED = 128
_SAFE = frozenset(string.ascii_lowercase + string.digits)
#: ``:`` belongs to sign-in services ("github:alice"), the others to URLs, pages and name templates.
_FORBIDDEN = ':,/\\?#%&<>"{}'


def normalise(name: str) -> str:
    """Return the one spelling of `name` that accounts are kept under.

    Unicode NFKC, lower case and no surrounding blanks: what a keyboard on another system or a full-width input
    method sends reaches the same account.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower()).strip()


def skeleton(name: str) -> str:
    """Return what the eye sees of `name`: no accents, no invisible characters, no blanks, no case.

    Two names with one skeleton can be mistaken for each other. Look-alikes from another script (a Cyrillic "а") keep
    a skeleton of their own; they are other accounts and gain nothing.
    """
    decomposed = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in unicodedata.normalize("NFKD", decomposed) if unicodedata.category(c)[0] not in "CZM")


def name_problem(name: str) -> str | None:
    """Return why the normalised `name` cannot be a user's, in words for that user, or None."""
    if not name:
        return "Please enter a user name."
    if len(name) > LONGEST_NAME:
        return f"The user name is too long: at most {LONGEST_NAME} characters."
    if any(unicodedata.category(c)[0] in "CZ" for c in name):
        return "A user name cannot contain spaces or invisible characters."
    found = [c for c in _FORBIDDEN if c in name]
    if found:
        return f"A user name cannot contain {' '.join(found)}"
    if set(name) == {"."}:
        return "A user name cannot consist of dots."
    return None


def joined(users: dict[str, str]) -> dict[str, str]:
    """Return names at a provider to names here, as an operator joined them, in the spelling that accounts have."""
    return {normalise(theirs): normalise(ours) for theirs, ours in users.items()}


def is_reserved(name: str, reserved: set[str]) -> bool:
    """Say whether `name` is, or could be mistaken for, one of the `reserved` names."""
    return skeleton(name) in {skeleton(other) for other in reserved}


def docker_name(name: str) -> str:
    """Return the part of container and volume names that stands for the user `name`: unique, and the same for ever.

    Lower-case ASCII letters and digits stay; every other byte of the UTF-8 form becomes ``-`` and two hex digits
    (dockerspawner's own scheme since 12.0, spelled out here because a change would part people from their volumes).
    Beyond `LONGEST_ESCAPED` characters the rest gives way to ``---`` and a digest, which no escaped name contains.
    """
    escaped = "".join(c if c in _SAFE else "".join(f"-{byte:02x}" for byte in c.encode()) for c in name)
    if len(escaped) <= LONGEST_ESCAPED:
        return escaped
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{escaped[: LONGEST_ESCAPED - 3 - len(digest)].rstrip('-')}---{digest}"
