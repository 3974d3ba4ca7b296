"""Run the front container, and make it serve a hub."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.errors import ChangeError
from ansible.module_utils.jupyterhub_deploy.front import acme, release
from ansible.module_utils.jupyterhub_deploy.front.front import Front, FrontOptions
from ansible.module_utils.jupyterhub_deploy.front.plan import differences
from ansible.module_utils.jupyterhub_deploy.front.site import Site, read_waiting
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

#: The options, as Ansible's argument specification; the module's documentation describes them.
SPEC: dict[str, Any] = {
    "name": {"type": "str", "default": "jupyterhub-front"},
    "hub": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "image": {"type": "str", "default": ""},
    "directory": {"type": "path", "default": "/etc/jupyterhub-front"},
    "https": {"type": "str", "choices": ["none", "acme", "own", "behind"], "default": "none"},
    "domain": {"type": "str", "default": ""},
    "subdomains": {"type": "bool", "default": False},
    "bind_address": {"type": "str", "default": "0.0.0.0"},  # noqa: S104
    "http_port": {"type": "int", "default": 80},
    "https_port": {"type": "int", "default": 443},
    "hsts_seconds": {"type": "int", "default": 0},
    "trusted_proxies": {"type": "list", "elements": "str", "default": []},
    "certificate": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": True},
    "acme": {"type": "dict", "default": {}, "options": acme.OPTIONS},
    "environment": {"type": "dict", "default": {}},
    "keep_old_names": {"type": "bool", "default": False},
    "health_timeout": {"type": "float", "default": 120},
}
#: As for ``AnsibleModule``.
REQUIRED_IF = [
    ("https", "own", ["certificate", "key", "domain"]),
    ("https", "acme", ["domain"]),
    ("https", "behind", ["domain"]),
]

ANSWER_TIMEOUT = 5.0  # seconds in which a busy nginx shows what it serves

MOVES = "port {port} moves from {names} to the front, which interrupts the connections that are open there, this once"


def run(params: dict[str, Any], check: bool, may_change: bool = True) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result.

    :param params: the options of :data:`SPEC`.
    :param check: only report what would be done.
    :param may_change: otherwise, raise instead of what the result would report as a change.
    :raises ChangeError: something has to change; nothing was done that a run without a change would not do.
    """
    options = FrontOptions(**params)
    if options.state == "absent" and not os.path.isdir(options.directory):
        return result("none", [], changed=False)
    client = connect_or_none() if check else connect()
    if not check:
        os.makedirs(options.directory, mode=0o755, exist_ok=True)
    # One run at a time: the hubs of a host share the configuration.
    with contextlib.nullcontext() if check else files.locked(options.directory, wait=True):
        front = Front(client, options)
        if client:
            front.container.require_own()
        if options.state == "absent":
            return stop_serving(front, check)
        return serve(front, front.wanted_site(), check, may_change)


def serve(front: Front, site: Site, check: bool, may_change: bool) -> dict[str, Any]:
    """Make the front serve a site, unless in check mode; return the module's result (see :func:`run`)."""
    holders = front.holders(site)
    waits = f"{site.hub}-proxy" in holders
    if not may_change and (holders or (front.client and front.container.is_unfinished())):
        raise ChangeError
    recovered = front.container.recover() if not check else []
    action, reasons, spec = front.plan(site)
    messages = recovered + container_spec.shown("front", action, reasons, check)
    if waits and not check:
        front.wait(site, action, spec["after"])
        return result(action, messages, changed=bool(messages))
    config, before = front.render(front.served(site)), release.current(front.directory)
    messages += differences(front.sites.get(site.hub), site)
    requested = front.certificate_reason()
    messages += [requested] if requested else []
    messages += ["the settings of ACME changed"] if front.settings_changed() and not requested else []
    messages += [MOVES.format(port=site.http_port, names=" and ".join(holders))] if holders else []
    changed = bool(messages) or action != "none" or config != before
    outdated = ""
    if not changed and not wait_until(lambda: not front.outdated(site), ANSWER_TIMEOUT):
        outdated = front.outdated(site)
    messages += [outdated] if outdated else []
    changed = bool(messages) or changed
    if changed and not may_change:
        raise ChangeError
    found = None
    if not check:
        found = front.verify(front.apply(site, action, spec["after"], bool(requested), again=bool(outdated)))
    specs = spec if spec["before"] != spec["after"] else {"before": {}, "after": {}}
    return result(
        action,
        messages,
        changed=changed,
        keeps_old_names=front.keeps(site),
        certificate={"names": found.names, "issuer": found.issuer, "days": found.days} if found else {},
        diff=[
            {"before": before, "after": config, "before_header": "nginx.conf", "after_header": "nginx.conf"},
            *([specs] if specs["after"] else []),
        ]
        if changed
        else [],
    )


def stop_serving(front: Front, check: bool) -> dict[str, Any]:
    """Remove the hub's site, unless in check mode; return the module's result."""
    hub = front.options.hub
    site = front.sites.get(hub) or read_waiting(front.directory, hub)
    unused = bool(front.client) and not front.others and bool(front.container.observe())
    messages = [f"would stop serving {site.url}"] if check and site else []
    messages += [] if check else front.remove()
    changed = bool(site) or unused
    action = "remove" if changed else "none"
    return result(action, messages, changed=changed)


def result(action: str, messages: list[str], **values: Any) -> dict[str, Any]:
    """Return the module's result; ``values`` are those that are not as usual."""
    usual = {"keeps_old_names": False, "certificate": {}}
    return {"action": action, "messages": messages, **usual, **values}
