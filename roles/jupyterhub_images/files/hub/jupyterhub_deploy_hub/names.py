"""User names: their spelling, names that look alike, and the Docker names made from them. Pure."""

from __future__ import annotations

import hashlib
import string
import unicodedata

#: On containers and volumes: the hub's name and the user's. ``docker/labels.py`` of the host's modules has the same.
HUB_LABEL, USER_LABEL = "org.jupyterhub.deploy.hub", "org.jupyterhub.deploy.user"
#: Width of NativeAuthenticator's column ``users_info.username`` (PostgreSQL enforces it, SQLite does not).
LONGEST_NAME = 128
#: A longer escaped name is shortened. Docker keeps a volume in a directory of its name, at most 255 bytes with prefix.
LONGEST_ESCAPED = 128
#: Of the temporary users of a rehearsal, which the host creates and removes (``rehearsal/plan.py`` has the same).
REHEARSAL_PREFIX = "rehearsal-"
#: The hub's services: that of the deployment (``hub/api.py`` of the host's modules has the same), and the culler.
DEPLOY_SERVICE, CULLER_SERVICE = "deploy", "deploy-culler"
#: Characters of a name that are read. NFKC needs minutes for a hundred thousand of some kinds, and stops the hub
#: meanwhile; such names are too long in any case.
LONGEST_INPUT = 1024
_SAFE = frozenset(string.ascii_lowercase + string.digits)
#: ``:`` belongs to sign-in services ("github:alice"), the others to URLs, pages and name templates.
_FORBIDDEN = ':,/\\?#%&<>"{}'


def normalise(name: str) -> str:
    """Return the spelling of `name` that accounts use: Unicode NFKC, lower case, without surrounding blanks.

    So the input of another system's keyboard or of a full-width input method finds the same account.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name[:LONGEST_INPUT]).lower()).strip()


def skeleton(name: str) -> str:
    """Return `name` without accents, invisible characters, blanks and case.

    Two names with the same skeleton look alike. Similar letters of another script (a Cyrillic "а") stay different; they
    are different accounts and have no rights of the other.
    """
    decomposed = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in unicodedata.normalize("NFKD", decomposed) if unicodedata.category(c)[0] not in "CZM")


def name_problem(name: str) -> str | None:
    """Return why the normalised `name` is refused, as shown to the user, or None."""
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


def is_temporary(name: str) -> bool:
    """Return whether the normalised `name` is one of a rehearsal's temporary users."""
    return name.startswith(REHEARSAL_PREFIX) and name.removeprefix(REHEARSAL_PREFIX).isdigit()


def joined(users: dict[str, str]) -> dict[str, str]:
    """Return the provider's names to the hub's that an operator joined, in the spelling that accounts use."""
    return {normalise(theirs): normalise(ours) for theirs, ours in users.items()}


def is_reserved(name: str, reserved: set[str]) -> bool:
    """Return whether `name` looks like one of the `reserved` names."""
    return skeleton(name) in {skeleton(other) for other in reserved}


def docker_name(name: str) -> str:
    """Return the part of container and volume names that identifies the user `name`. It is unique and never changes.

    Lower-case ASCII letters and digits stay; every other byte of the UTF-8 form becomes ``-`` and two hex digits. This
    is dockerspawner's scheme since 12.0, repeated here because a change would separate users from their volumes. A name
    of more than `LONGEST_ESCAPED` characters ends in ``---`` and a digest, which no escaped name contains.
    """
    escaped = "".join(c if c in _SAFE else "".join(f"-{byte:02x}" for byte in c.encode()) for c in name)
    if len(escaped) <= LONGEST_ESCAPED:
        return escaped
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{escaped[: LONGEST_ESCAPED - 3 - len(digest)].rstrip('-')}---{digest}"
