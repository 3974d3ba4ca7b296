"""A notebook file as a person uses it: opened in the running server, its cells run in a kernel."""

from __future__ import annotations

from typing import Any

from support.hub_http import HubSession
from support.poller import Notebook

#: A notebook whose last cell has the value 42.
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "cells": [
        {"cell_type": "code", "id": "first", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for text in ("answer = 6 * 7", "answer")
    ],
}


def run_notebook(session: HubSession, name: str, path: str) -> str:
    """Open a notebook and run its cells; return the value of the last one. Start the server if necessary."""
    notebook = Notebook(session, name)
    opened = session.contents("GET", name, path)
    assert opened["type"] == "notebook"
    values = [notebook.socket.execute(cell["source"], timeout=60) for cell in opened["content"]["cells"]]
    notebook.socket.close()
    return values[-1]
