"""Slow down password guessing, without letting anyone lock another user out. Pure.

Failures are counted for a user name *and* the source of the attempt: the browser, if the user has signed in from it
before (it then has a cookie), otherwise the network address. So a stranger's failures count for the stranger's address,
and never for the browser that the user usually signs in from, not even behind a shared address. An attempt that is
refused during a lock does not prolong it.

Failures for all names together, and new accounts, are counted for the network address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

#: Keys of what is counted for an address, in the place of a user name, which has no such character.
ALL_NAMES, SIGN_UPS = "\0all names", "\0sign-ups"


class Failures(NamedTuple):
    """The number of failures in a row, and the time of the last one (seconds since the epoch)."""

    times: int
    last: float


def _counts(failures: Failures | None, now: float, seconds: int) -> bool:
    """Return whether failures still count; those of the future do not, as after a clock was set back."""
    return failures is not None and failures.last <= now < failures.last + seconds


def seconds_to_wait(failures: Failures | None, now: float, limit: int, lock_seconds: int) -> int:
    """Return how long the next attempt has to wait, 0 when it does not. `limit` 0 means no lock-out."""
    if failures is None or limit <= 0 or failures.times < limit or not _counts(failures, now, lock_seconds):
        return 0
    return max(0, round(failures.last + lock_seconds - now + 0.5))


def one_more(failures: Failures | None, now: float, lock_seconds: int) -> Failures:
    """Count another failure, and forget those before a quiet time of `lock_seconds`."""
    if failures is None or not _counts(failures, now, lock_seconds):
        return Failures(1, now)
    return Failures(failures.times + 1, now)


def one_more_in(counted: Failures | None, now: float, window: int) -> Failures:
    """Count one more, from the first one on, whose time `last` is, until `window` seconds later."""
    if counted is None or not _counts(counted, now, window):
        return Failures(1, now)
    return Failures(counted.times + 1, counted.last)


def source_of(known_browser: str | None, address: str) -> str:
    """Return the source of an attempt: a browser that the user has signed in from, or a network address."""
    return f"browser {known_browser}" if known_browser else f"address {network_of(address)}"


def network_of(address: str) -> str:
    """Return the part of a network that one person usually has: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)


def client_address(peer: str, forwarded_for: str, trusted_proxies: Collection[str]) -> str:
    """Return the address of the browser.

    `peer` is the other end of the connection. Our proxy appends the browser's address to the header X-Forwarded-For,
    `forwarded_for`. Addresses further left come from the client and count only behind one of the `trusted_proxies`.
    (Tornado's ``remote_ip`` trusts a client's X-Real-Ip.)
    """
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if hop not in trusted_proxies:
            return hop
    return peer


def record_key(username: str, source: str) -> str:
    """Return the key for failures of `username` from `source`, a digest that reveals neither."""
    return hashlib.sha256(f"{username}\0{source}".encode()).hexdigest()


def waiting_time(seconds: int) -> str:
    """Return a number of seconds in words."""
    if seconds < 90:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"{round(seconds / 60)} minutes"
