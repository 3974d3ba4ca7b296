"""Kernels as the browser sees them, with a reason when one ends for memory.

Without it, JupyterLab only says that the kernel has died. ``jupyter_server_config.json`` names the class.
"""

from __future__ import annotations

import signal
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from .memory import Watch, explanation

_WATCH = Watch()


class ExplainingConnection(ZMQChannelsWebsocketConnection):
    """A connection between a browser and a kernel that explains the end of the kernel in the cell that ran."""

    _running: dict[str, Any] | None = None

    def _limit_rate(self, channel: str, msg: dict[str, Any], msg_list: list[Any]) -> Any:
        """Remember which request the kernel executes; the library calls this for each message to the browser."""
        limited = super()._limit_rate(channel, msg, msg_list)
        if channel == "iopub" and msg["header"] and msg["header"]["msg_type"] == "execute_input":
            self._running = self.get_part("parent_header", msg["parent_header"], msg_list)
        return limited

    def on_kernel_restarted(self) -> None:
        """Explain the end of the kernel before the browser learns of it, which closes the cell's output."""
        process = getattr(getattr(self.kernel_manager, "provisioner", None), "process", None)
        killed = getattr(process, "returncode", None) == -signal.SIGKILL
        if killed and self._running and _WATCH.was_ended(self.kernel_id):
            self.write_stderr(explanation(), self._running)
        super().on_kernel_restarted()
