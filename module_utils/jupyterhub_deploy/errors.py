"""The errors that our modules raise on purpose, and those that Docker raises."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Any

# Docker's SDK of Debian 12 uses distutils, for which setuptools puts a copy in the way that takes 0.25 s to load.
if sys.version_info < (3, 12):
    with contextlib.suppress(ImportError):
        __import__("_distutils_hack").remove_shim()
try:
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError
except Exception:  # a bare host in check mode, or a broken SDK, which docker.client reports
    DOCKER_ERRORS: tuple[type[Exception], ...] = (OSError,)
else:
    #: What can go wrong between a module and Docker: its answers, and a time-out or a lost socket (OSError, or
    #: urllib3's own error when Docker ends during a build).
    DOCKER_ERRORS = (DockerException, OSError, HTTPError)


def failure(doing: str, error: Exception) -> str:
    """Return the message for an error of Docker or the system.

    :param doing: what failed: ``restoring volumes``.
    """
    return f"Docker or the system failed while {doing}: {reason(error)}; fix that, then run the same again"


def reason(error: Exception) -> str:
    """Return the text of an error: for a directory that was copied in part, of the first of many."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return str(error)


class DeployError(Exception):
    """An error that the operator can fix.

    The text says what is wrong, on which object, and what to do next. ``module.run_module`` passes it to
    ``fail_json``; any other exception is a bug of ours and keeps its traceback.

    :param result: what the module returns beside the message.
    """

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class ChangeError(Exception):
    """A call that must not change anything has found something to change. No message: the caller handles it."""


#: What one step can fail with, for callers that go on with the next step or put things back.
FAILURES: tuple[type[Exception], ...] = (DeployError, *DOCKER_ERRORS)
