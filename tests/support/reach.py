"""What a notebook reaches: programs for its kernel."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from support.poller import Notebook

#: A listener that others may connect to. Its value is the port.
LISTEN = """
import socket
listener = socket.create_server(("0.0.0.0", 0))
listener.getsockname()[1]
"""
#: Which of the targets it reaches.
PROBE = """
import concurrent.futures, socket
def reaches(target):
    try:
        socket.create_connection(target, 2).close()
    except OSError:
        return False
    return True
with concurrent.futures.ThreadPoolExecutor(16) as threads:
    found = dict(zip(targets, threads.map(reaches, targets.values())))
found
"""
#: What the hub answers through the proxy, as a server asks it.
ASK_HUB = """
import os, urllib.request
urllib.request.urlopen(os.environ["JUPYTERHUB_API_URL"], timeout=10).status
"""
#: Whether a DNS server of the host answers, through Docker's own.
ASK_NAME = """
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(20)
def code():  # of the answer to a question for the address of example.com
    client.sendto(bytes.fromhex("00010100000100000000000007") + b"example\\x03com\\0\\0\\1\\0\\1", ("127.0.0.11", 53))
    try:
        return client.recv(4096)[3] & 15
    except OSError:
        return None
code() in (0, 3)  # success, or the name is unknown
"""


def reached(notebook: Notebook, targets: Mapping[str, tuple[str, int]]) -> dict[str, bool]:
    """Return whether the kernel of a notebook connects to each of the targets: addresses and TCP ports, by name."""
    return dict(ast.literal_eval(notebook.socket.execute(f"targets = {dict(targets)!r}\n{PROBE}")))
