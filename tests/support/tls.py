"""A TLS server for tests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from support.factories.certificates import Issued


@contextlib.contextmanager
def serve_certificate(issued: Issued, folder: Path) -> Iterator[int]:
    """Serve a certificate on a port of this machine, to one client; yield the port."""
    for name, text in zip(("chain", "key"), issued, strict=True):
        folder.joinpath(name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain", folder / "key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # the client refuses it
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
