"""Which passwords are accepted, and what to tell the person whose password is not. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: bcrypt reads no further; its version 5 raises where version 4 silently cut the rest off.
LONGEST_BYTES = 72


def too_long(password: str) -> bool:
    """Say whether bcrypt cannot hash all of `password`."""
    return len(password.encode()) > LONGEST_BYTES


def password_problem(
    password: str, username: str, minimum_length: int, is_common: Callable[[str], bool] | None
) -> str | None:
    """Return why `password` is refused, in words for the person who chose it, or None.

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
