"""Names for tests, resolved in this process only, with an authority that its clients trust."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, address: str, bundle: Path) -> None:
    """Resolve a name to an address, and let requests, web sockets and ``http.client`` trust a bundle.

    Args:
        bundle: file with the authorities.
    """
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return original(address if host == name else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(bundle))
