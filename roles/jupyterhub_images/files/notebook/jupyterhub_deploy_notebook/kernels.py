"""Kernels as the browser sees them, with a reason when one ends for memory.

Without it, JupyterLab only says that the kernel has died. ``jupyter_server_config.py`` names the class.
"""

from __future__ import annotations

import json
import signal
from typing import Any

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from .memory import Watch, explanation, kills

_WATCH = Watch()


class ExplainingConnection(ZMQChannelsWebsocketConnection):
    """A connection between a browser and a kernel that explains the end of the kernel in the cell that ran."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: The headers of the browser's requests that are not answered yet, by their ids, each with the number of
        #: processes that had been ended for memory; the first one is executed.
        #: What the kernel says of it is not enough: it may end before it says anything.
        self._requests: dict[str, tuple[dict[str, Any], int]] = {}

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Remember the requests to execute code."""
        super().handle_incoming_message(incoming_msg)
        header = _header(incoming_msg, self.subprotocol)
        if header.get("msg_type") == "execute_request":
            self._requests[header["msg_id"]] = header, kills()

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:
        """Forget a request when its answer comes."""
        if (stream if isinstance(stream, str) else getattr(stream, "channel", "")) == "shell":
            _, parts = self.session.feed_identities(outgoing_msg)  # signature, header, header of the request, …
            self._requests.pop(self.session.unpack(parts[2]).get("msg_id", ""), None)
        super().handle_outgoing_message(stream, outgoing_msg)

    def on_kernel_restarted(self) -> None:
        """Explain the end of the kernel before the browser learns of it, which closes the cell's output."""
        process = getattr(getattr(self.kernel_manager, "provisioner", None), "process", None)
        header, before = next(iter(self._requests.values()), (None, 0))
        if header and process and process.returncode == -signal.SIGKILL and _WATCH.was_ended(process.pid, before):
            self.write_stderr(explanation(), header)
        self._requests.clear()
        super().on_kernel_restarted()


def _header(message: Any, protocol: str | None) -> dict[str, Any]:
    """Return the header of a browser's message if it may ask to execute code."""
    if protocol == "v1.kernel.websocket.jupyter.org":
        channel, parts = deserialize_msg_from_ws_v1(message)
        return dict(json.loads(parts[0])) if channel == "shell" else {}
    return dict(json.loads(message)["header"]) if isinstance(message, str) and "execute_request" in message else {}
