"""Ports for the tests' own servers."""

from __future__ import annotations

import random
import socket

#: Below the range from which Linux takes the ports of outgoing connections (32768 by default), so that nothing else on
#: this machine takes a free one by chance.
RANGE = range(20000, 32000)


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nothing on this machine uses, at one of its addresses."""
    for port in random.sample(RANGE, len(RANGE)):
        try:
            with socket.create_server((address, port)):
                return port
        except OSError:
            continue
    raise AssertionError(f"no port of {address} from {RANGE.start} to {RANGE.stop - 1} is free")
