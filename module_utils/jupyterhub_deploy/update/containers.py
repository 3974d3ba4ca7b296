"""Find out in one call which containers of a hub need a change.

A run with nothing to do would otherwise start four modules, and most of their time is spent on their start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, ChangeError, DeployError, failure
from ansible.module_utils.jupyterhub_deploy.update import front, guard, hub, proxy

#: In the order in which a run changes them.
PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "guard": guard.run, "front": front.run, "proxy": proxy.run, "hub": hub.run,
}  # fmt: skip

#: The options of each part, as Ansible's argument specification. The hub's probe is known from the proxy.
SPEC: dict[str, Any] = {
    "guard": {"type": "dict", "required": True, "options": guard.SPEC},
    "front": {"type": "dict", "required": True, "options": front.SPEC, "required_if": front.REQUIRED_IF},
    "proxy": {"type": "dict", "required": True, "options": proxy.SPEC},
    "hub": {"type": "dict", "required": True, "options": {**hub.SPEC, "public_probe": {"type": "str"}}},
}


def unchanged(params: dict[str, Any], check: bool) -> dict[str, dict[str, Any]]:
    """Return the results of the parts that need no change, up to the first that does.

    :param params: the options of each part, by its name.
    :param check: as for the parts.
    :raises DeployError: a part cannot be checked, for example because its image is missing.
    """
    results: dict[str, dict[str, Any]] = {}
    for part, run in PARTS.items():
        options = dict(params[part])
        if part == "hub":
            options["public_probe"] = f"{results['proxy']['url']}hub/health"
        try:
            results[part] = run(options, check, may_change=False)
        except ChangeError:
            break
        except DOCKER_ERRORS as error:
            raise DeployError(failure(f"checking the {part}", error)) from error
        results[part].pop("diff", None)  # of files that somebody has edited; the part counts as unchanged
    return results
