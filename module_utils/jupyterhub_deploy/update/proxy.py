"""Run the proxy container of a hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers import proxy as proxy_container
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.proxy import ProxyContainer, ProxyOptions
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import (
    connect,
    connect_or_none,
    docker_errors,
    image_id,
    inspect_image,
)
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, FAILURES, ChangeError, DeployError
from ansible.module_utils.jupyterhub_deploy.front import target
from ansible.module_utils.jupyterhub_deploy.front.proxy_replacement import ProxyReplacement
from ansible.module_utils.jupyterhub_deploy.hub import lock, routes
from ansible.module_utils.jupyterhub_deploy.hub.routes import Routes

#: The options, as Ansible's argument specification; the module's documentation describes them.
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "hub": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "api_host": {"type": "str", "required": True},
    # The names of files, not secrets.
    "token_file": {"type": "path", "required": True, "no_log": False},
    "api_token_file": {"type": "path", "required": True, "no_log": False},
    "network": {"type": "str", "required": True},
    "control_network": {"type": "str", "required": True},
    "host_routing": {"type": "bool", "default": False},
    "keep_routing": {"type": "bool", "default": False},
    "front": {"type": "str", "required": True},
    "front_directory": {"type": "path", "required": True},
    "front_network": {"type": "str", "required": True},
    "health_timeout": {"type": "float", "default": 120},
}

BYPASSED = "the front did not pass requests to this proxy"


def with_address(options: ProxyOptions, client: Any | None, current: dict[str, Any] | None) -> ProxyOptions:
    """Return the options with the address that the proxy has, or is to have.

    :param client: ``None`` in check mode on a host without Docker.
    """
    if client is None:
        return options
    address = proxy_container.fixed_addresses(current).get(options.front_network, "")
    if address and current and current["State"]["Running"]:
        return dataclasses.replace(options, address=address)
    try:
        # Something else may have taken the address of a proxy that was stopped.
        return dataclasses.replace(options, address=target.free_address(client, options.front_network, address))
    except docker_errors.NotFound:  # in check mode, before there is a network
        return options


def run(params: dict[str, Any], check: bool, may_change: bool = True) -> dict[str, Any]:
    """Wait for other runs on this hub, then update its proxy; return the module's result.

    :param params: the options of :data:`SPEC`.
    :param check: only report what would be done.
    :param may_change: otherwise, raise instead of what the result would report as a change.
    :raises ChangeError: something has to change; nothing was done that a run without a change would not do.
    """
    with lock.held(params["hub"], check):
        return update(params, check, may_change)


def update(params: dict[str, Any], check: bool, may_change: bool) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result (see :func:`run`)."""
    asked = ProxyOptions(**params)
    client = connect_or_none() if check else connect()
    proxy = ProxyContainer(client, asked.name, "", asked.health_timeout, asked.hub)
    replacement = ProxyReplacement(proxy, asked)
    recovered: list[str] = []
    restored = Routes()
    if client:
        ownership.require_containers(client, asked.hub, proxy.names())
        bypassed = replacement.is_bypassed()
        if not may_change and (bypassed or proxy.has_leftovers()):
            raise ChangeError
        recovered = recover(proxy, replacement, check) or ([BYPASSED] if bypassed else [])
        if recovered and not check and proxy.observe():  # the hub perhaps uses the API of a proxy that is gone
            restored = routes.restore(client, asked, proxy.name)
    current = proxy.observe() if client else None
    options = with_address(asked, client, current)
    proxy.public_probe = proxy_container.public_probe(options)
    proxy_container.check_routing(options, inspect_image(client, options.image) if client else None)
    wanted = proxy_container.wanted_spec(options, image_id(client, options.image), current)
    if not wanted["image_id"] and not check:
        raise DeployError(f"image {options.image} is not on this host; run make site, which installs it")
    before = container_spec.comparable(wanted, proxy_container.observed_spec(current)) if current else {}
    differences = container_spec.differences(proxy_container.TITLES, wanted, before) if current else []
    serving = bool(current) and not differences and proxy.is_serving(wait=may_change)
    messages = [found.message for found in differences]
    if serving and not proxy.has_api(options.control_network, options.api_host):
        messages.append(f"the hub does not reach the proxy's API in network {options.control_network}")
    action, reasons = container_spec.plan("proxy", current, messages, serving)
    if action != "none" and not may_change:
        raise ChangeError
    if action == "restart":
        action = "replace"  # which interrupts nothing if the proxy is only slow
    done = Done(routes=restored, url=proxy_container.local_url(options))
    if not check:
        done = apply(proxy, replacement, action, wanted, options, restored)
        proxy.old.remove_ended()
        removed = proxy.remove_old()
        recovered += removed if action == "none" else []
    messages = recovered + container_spec.shown("proxy", action, reasons, check) + list(done.messages)
    if done.downtime and current:
        messages.append(f"users were without the proxy for {done.downtime} s")
    return {
        "action": action,
        "downtime": done.downtime,
        "routes": done.routes.state,
        "routing_differs": proxy_container.by_host(options, current) != options.host_routing,
        "url": done.url,
        "diff": {"before": before, "after": wanted} if before != wanted else {},
        "reasons": recovered + reasons,
        "messages": messages,
        "changed": bool(recovered) or action != "none",
    }


class Done(NamedTuple):
    """What :func:`apply` did: see the module's results of the same names."""

    downtime: float = 0.0
    routes: Routes = Routes()
    url: str = ""
    messages: Sequence[str] = ()


def recover(proxy: ProxyContainer, replacement: ProxyReplacement, check: bool) -> list[str]:
    """Clean up after a run that was killed, unless in check mode; return a message for each thing done."""
    if check:
        return ["an earlier run did not finish"] if proxy.has_leftovers() else []
    messages = replacement.recover()
    return messages + (proxy.recover() if proxy.has_leftovers() else [])


def apply(
    proxy: ProxyContainer,
    replacement: ProxyReplacement,
    action: str,
    spec: container_spec.Spec,
    options: ProxyOptions,
    restored: Routes,
) -> Done:
    """Carry out an action of ``spec.plan``.

    :param restored: ``routes`` of the result, if nothing is done here.
    """
    replaced = replace(proxy, replacement, action, spec, options) if action in ("create", "replace") else None
    messages, downtime = replaced or [], 0.0
    if replaced is None and action != "none":
        downtime = round(proxy.apply(action).down, 2)
    # Without a change, too: the hub perhaps still uses the API of an old proxy, because it could not be told.
    told = routes.restore(proxy.client, options, proxy.name)
    restored = told if action != "none" or proxy.has_leftovers() else restored
    if restored.problem:
        messages = [*messages, f"the hub does not know the routes of its proxy yet: {restored.problem}"]
    address = target.published(proxy.observe())
    try:
        replacement.use(address)
    except FAILURES as error:
        if replaced is not None or action != "replace":
            raise
        failure = proxy.restore_old(action, error)
        routes.restore(proxy.client, options, proxy.name)
        raise failure from error
    return Done(downtime, restored, f"http://{address}/", messages)


def replace(
    proxy: ProxyContainer,
    replacement: ProxyReplacement,
    action: str,
    spec: container_spec.Spec,
    options: ProxyOptions,
) -> list[str] | None:
    """Replace the proxy without interruption, if that is possible; return what the operator has to know.

    :returns: ``None`` if the new one was only created, and the old one has to be stopped first.
    """
    try:
        proxy.smoke_test(spec)
        if action == "replace" and replacement.is_possible(proxy.observe()):
            done = replacement.replace(spec)
            if done is not None:
                return done
        proxy.create_replacement(spec, options.control_network)
    except DOCKER_ERRORS as error:
        raise DeployError(f"the new proxy could not be prepared, so the old one was left as it was: {error}") from error
    return None
