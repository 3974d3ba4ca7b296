"""The entry point that all our modules share."""

from __future__ import annotations

import os
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError, failure


class Module(AnsibleModule):  # type: ignore[misc]
    """A module that does not write its options to the system log."""

    def _log_invocation(self) -> None:
        """Log no options: Ansible masks a secret inside another option only if its text needs no escape."""
        self.log("Invoked")


def run_module(
    argument_spec: dict[str, Any], run: Callable[[AnsibleModule], dict[str, Any]], doing: str, **options: Any
) -> None:
    """Run a module and exit with its result.

    :param argument_spec: the module's options.
    :param run: does the work and returns the result; ``changed`` defaults to false, and each of its ``warnings``
        becomes a warning of the module.
    :param doing: what the module does, for the message when Docker or the system fails: ``restoring volumes``.
    :param options: more arguments of ``AnsibleModule``, such as ``required_if``.
    """
    module = Module(argument_spec=argument_spec, supports_check_mode=True, **options)
    try:
        result = run(module)
    except DeployError as error:
        module.fail_json(msg=str(error) + _need_of_root(error.__cause__), **error.result)
    except DOCKER_ERRORS as error:
        module.fail_json(msg=failure(doing, error) + _need_of_root(error))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**{"changed": False, **result})


def _need_of_root(cause: BaseException | None) -> str:
    """Return the end of a message about a file that only root can use, empty for another error."""
    needed = isinstance(cause, PermissionError) and os.geteuid() != 0
    return ". The user of this run is not root; run the play with become: true" if needed else ""
