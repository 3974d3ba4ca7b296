"""Ansible's default output, in which the message of a failed task is shown once, without our source code."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback.default import CallbackModule as DefaultCallback

DOCUMENTATION = """
name: jupyterhub_output
type: stdout
short_description: The default output, with each failure once
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class CallbackModule(DefaultCallback):  # type: ignore[misc]
    """Since 2.19, the default shows the message of a failed task twice, and the lines of the task between the two."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "jupyterhub_output"

    def _handle_exception(self, result: Any, use_stderr: bool = False) -> None:
        # A task with this key has run, and its message says all. Of an error in a task, also show the place.
        if "changed" in result and not self._display.verbosity:
            result.pop("exception", None)
        if isinstance(result.get("msg"), str) and "\n" not in result["msg"]:
            result["msg"] += "\n"  # otherwise long lines are wrapped
        super()._handle_exception(result, use_stderr)
