"""Run the guard container, which isolates the notebooks of a hub."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import guard as guard_container
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer, GuardOptions
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id
from ansible.module_utils.jupyterhub_deploy.errors import ChangeError, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import lock

#: The options, as Ansible's argument specification; the module's documentation describes them.
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "default": ""},
    "isolation": {"type": "str", "choices": ["full", "peers", "none"], "default": "full"},
    "network": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "int", "default": []},
    "allowed_networks": {"type": "list", "elements": "str", "default": []},
    "allowed_urls": {"type": "list", "elements": "str", "default": []},
    "health_timeout": {"type": "float", "default": 120},
}


def run(params: dict[str, Any], check: bool, may_change: bool = True) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result.

    :param params: the options of :data:`SPEC`.
    :param check: only report what would be done.
    :param may_change: otherwise, raise instead of what the result would report as a change.
    :raises ChangeError: something has to change; nothing was done that a run without a change would not do.
    """
    options = GuardOptions(hub=params["name"], **{key: value for key, value in params.items() if key != "name"})
    client = connect_or_none() if check else connect()
    guard = GuardContainer(client, options.hub, options.health_timeout)
    with lock.held(options.hub, check):
        if client:
            ownership.require_containers(client, options.hub, guard.names())
        unfinished = client and not check and guard.has_leftovers()
        if unfinished and not may_change:
            raise ChangeError
        recovered = guard.recover() if unfinished else []
        if options.isolation == "none":
            return remove(guard, recovered, check, may_change)
        return keep(guard, options, recovered, check, may_change)


def remove(guard: GuardContainer, recovered: list[str], check: bool, may_change: bool) -> dict[str, Any]:
    """Remove the guard and its rules, unless in check mode; return the module's result."""
    exists = bool(guard.client and guard.observe())
    if exists and not may_change:
        raise ChangeError
    if exists and not check:
        guard.remove()
    reasons = ["notebooks are not isolated any more (jupyterhub_isolation: none)"] if exists else []
    return {
        "action": "remove" if exists else "none",
        "reasons": recovered + reasons,
        "messages": recovered + reasons,
        "changed": bool(exists or recovered),
    }


def keep(
    guard: GuardContainer, options: GuardOptions, recovered: list[str], check: bool, may_change: bool
) -> dict[str, Any]:
    """Make the guard what the options say, unless in check mode; return the module's result."""
    current = guard.observe() if guard.client else None
    wanted = guard_container.wanted_spec(options, image_id(guard.client, options.image))
    if not wanted["image_id"] and not check:
        raise DeployError(f"image {options.image} is not on this host; run make site, which installs it")
    before = container_spec.comparable(wanted, container_spec.observed_spec(current)) if current else {}
    differences = container_spec.differences(guard_container.TITLES, wanted, before) if current else []
    serving = bool(current) and not differences and guard.is_serving(wait=may_change)
    action, reasons = container_spec.plan("guard", current, [found.message for found in differences], serving)
    if action != "none" and not may_change:
        raise ChangeError
    if not check:
        if action in ("create", "replace"):
            guard.prepare(wanted)
        if action != "none":
            guard.apply(action)
        guard.remove_old()
    return {
        "action": action,
        "reasons": recovered + reasons,
        "messages": recovered + container_spec.shown("guard", action, reasons, check),
        "changed": bool(recovered) or action != "none",
        "diff": {"before": before, "after": wanted} if differences or not current else {},
    }
