"""Which passwords are accepted, and why others are not. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Limit of bcrypt: version 5 raises an error for more, version 4 silently ignored the rest.
LONGEST_BYTES = 72


def too_long(password: str) -> bool:
    """Return whether `password` is longer than bcrypt can hash."""
    return len(password.encode()) > LONGEST_BYTES


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
