"""Run one of our modules in this process, as Ansible would with given arguments, on the real thing."""

from __future__ import annotations

import contextlib
import io
import json
from types import ModuleType
from typing import Any

from ansible.module_utils.common import warnings as module_warnings
from ansible.module_utils.testing import patch_module_args


class ModuleError(Exception):
    """The module ended with ``fail_json``; its message is the text, its whole result is ``result``."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


def run(module: ModuleType, *, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run ``module.main()`` and return its result.

    :raises ModuleError: when the module failed as modules do.
    """
    result = run_module(module, check=check, diff=diff, **arguments)
    if result.get("failed"):
        raise ModuleError(result)
    return result


def run_module(module: ModuleType, *, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run ``module.main()`` and return its result, also when it failed."""
    module_warnings._global_warnings.clear()  # those of an earlier module in this process
    printed = io.StringIO()
    flags = {"_ansible_check_mode": check, "_ansible_diff": diff}
    with (
        patch_module_args({**arguments, **flags}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    result: dict[str, Any] = json.loads(printed.getvalue())
    return result
