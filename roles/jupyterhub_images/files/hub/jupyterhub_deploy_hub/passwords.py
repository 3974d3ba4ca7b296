"""Which passwords are accepted, why others are not, and what is stored of them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

#: The digest of the password of the sign-up that is going on.
PREPARED: ContextVar[bytes] = ContextVar("PREPARED", default=b"")
#: Limit of bcrypt: version 5 raises an error for more, version 4 silently ignored the rest.
LONGEST_BYTES = 72


def too_long(password: str) -> bool:
    """Return whether `password` is longer than bcrypt can hash."""
    return len(password.encode()) > LONGEST_BYTES


def digest_of(password: str) -> bytes:
    """Return what is stored of a password. It takes a quarter of a second: the hub calls this in a thread."""
    import bcrypt  # not needed by those who only check passwords

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt())


def password_problem(
    password: str, username: str, minimum_length: int, is_common: Callable[[str], bool] | None
) -> str | None:
    """Return why `password` is refused, as shown to the user, or None.

    `minimum_length` counts characters; `is_common` is None when common passwords are allowed.
    """
    if len(password) < max(minimum_length, 1):
        return f"The password is too short: at least {max(minimum_length, 1)} characters."
    if too_long(password):
        return f"The password is too long: at most {LONGEST_BYTES} bytes (letters with accents count as two or more)."
    if "\0" in password:
        return "The password contains a character that cannot be used."
    if is_common is None:
        return None
    if is_common(password) or is_common(password.lower()):
        return "The password is one of the most common ones. Choose another, for example three unrelated words."
    if password.lower() == username.lower():
        return "The password must differ from the user name."
    return None
