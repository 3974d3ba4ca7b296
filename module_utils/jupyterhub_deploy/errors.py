"""The one error that our modules raise on purpose."""

from __future__ import annotations


class DeployError(Exception):
    """Something that the operator can mend.

    The text says what is wrong, on which object, and what to do next. A module catches it once, in ``main()``, and
    hands it to ``fail_json``; any other exception is a fault of ours and keeps its traceback.
    """
