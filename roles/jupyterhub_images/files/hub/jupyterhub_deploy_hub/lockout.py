"""Slow down who guesses passwords, without letting anyone lock somebody else out. Pure.

Failures are counted for a user name *and* where the attempt came from: the browser, if the user has signed in from it
before (it then carries a cookie that says so), otherwise the network address. A stranger's failures therefore count
against the stranger's own address, never against the browser that the user usually signs in from, not even behind a
shared address. An attempt that is refused while locked does not prolong the lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple


class Failures(NamedTuple):
    """How often in a row it went wrong, and when last (seconds since the epoch)."""

    times: int
    last: float


def seconds_to_wait(failures: Failures | None, now: float, limit: int, lock_seconds: int) -> int:
    """Return how long the next attempt has to wait; 0 when it may be made. `limit` 0: no lock-out."""
    if failures is None or limit <= 0 or failures.times < limit:
        return 0
    return max(0, round(failures.last + lock_seconds - now + 0.5)) if now < failures.last + lock_seconds else 0


def one_more(failures: Failures | None, now: float, lock_seconds: int) -> Failures:
    """Count another failure; those before a quiet time of `lock_seconds` are forgotten."""
    if failures is None or now >= failures.last + lock_seconds:
        return Failures(1, now)
    return Failures(failures.times + 1, now)


def source_of(known_browser: str | None, address: str) -> str:
    """Name where an attempt comes from: a browser that the user has signed in from, or a network address."""
    return f"browser {known_browser}" if known_browser else f"address {network_of(address)}"


def network_of(address: str) -> str:
    """Return what one person commands of the network around `address`: an IPv4 address, a /64 of IPv6."""
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

    `peer` is the other end of the connection, `forwarded_for` the header X-Forwarded-For that our proxy appends the
    browser's address to. What stands further left was sent by the client and is believed only behind one of the
    `trusted_proxies`. (Tornado's own ``remote_ip`` believes a client's X-Real-Ip.)
    """
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if hop not in trusted_proxies:
            return hop
    return peer


def record_key(username: str, source: str) -> str:
    """Return the key that failures of `username` from `source` are kept under; it tells neither."""
    return hashlib.sha256(f"{username}\0{source}".encode()).hexdigest()


def waiting_time(seconds: int) -> str:
    """Say `seconds` as people do."""
    if seconds < 90:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"{round(seconds / 60)} minutes"
