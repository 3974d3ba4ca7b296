#!/usr/bin/python
"""Ansible module: the proxy container of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_proxy
short_description: Run the proxy container of a JupyterHub deployment
description:
  - Runs the proxy container with the given image and networks, waits until it answers, and makes the front pass the
    hub's requests to it.
  - All users' requests go through the proxy, so it is replaced only when its own specification changes (see
    RV(reasons)). A new proxy starts beside the old one, at another address of O(front_network), and gets its routes.
    The front then passes requests to the new one, and the old one ends with its last connection, after a day at the
    latest. No connection is interrupted.
  - If the old proxy does not run, or the new image is of an earlier version, the old one is stopped first. It is kept
    until the new one answers, and restored if it does not.
  - A new proxy has no routes. The module makes the hub restore them at once, instead of at its next periodic check.
  - After an interrupted run, the next run finishes or reverts what was begun.
options:
  name:
    description: Name of the proxy container.
    type: str
    required: true
  hub:
    description: Name of the hub container. Requests without a route go there.
    type: str
    required: true
  image:
    description: Image of the proxy. It must be on the host.
    type: str
    required: true
  api_host:
    description: The proxy's name in the control network; its API listens only there.
    type: str
    required: true
  token_file:
    description: File on the host with the token for the proxy's API.
    type: path
    required: true
  api_token_file:
    description: File on the host with the token of the hub's service C(deploy), to make the hub restore the routes.
    type: path
    required: true
  network:
    description: Network of hub, proxy and users' servers. It must exist.
    type: str
    required: true
  control_network:
    description: Network that only the hub and the proxy are attached to. It must exist.
    type: str
    required: true
  host_routing:
    description: Whether routes begin with a host name, as those of a hub with an origin for each user.
    type: bool
    default: false
  keep_routing:
    description:
      - Whether an existing proxy keeps its kind of routes, whatever O(host_routing) says. RV(routing_differs) tells.
      - A hub and its proxy change the kind together. The hub is first, because a configuration that the hub cannot use
        is found before anything is changed.
    type: bool
    default: false
  front:
    description: Name of the front's container, which must run.
    type: str
    required: true
  front_directory:
    description: Directory of the front on the host.
    type: path
    required: true
  front_network:
    description: Network in which the proxy has a fixed address, which the front connects to. It must exist, with a
      subnet that was chosen.
    type: str
    required: true
  health_timeout:
    description: Seconds that a proxy gets from its start until it answers.
    type: float
    default: 120
attributes:
  check_mode:
    description: Reports what would be done, also on a host without Docker; changes nothing.
    support: full
  diff_mode:
    description: Shows the specification of the container before and after.
    support: full
"""

EXAMPLES = r"""
- name: Run the proxy
  jupyterhub_proxy:
    name: jupyterhub-proxy
    hub: jupyterhub
    image: jupyterhub-deploy/proxy:5.3.0
    api_host: jupyterhub-proxy-api
    token_file: /etc/jupyterhub/secrets/proxy_token
    api_token_file: /etc/jupyterhub/secrets/api_token
    network: jupyterhub-network
    control_network: jupyterhub-control
    front: jupyterhub-front
    front_directory: /etc/jupyterhub-front
    front_network: jupyterhub-front
"""

RETURN = r"""
action:
  description: What was done, or would be in check mode.
  type: str
  returned: success
  sample: replace
reasons:
  description: The reasons for RV(action); empty when nothing was done.
  type: list
  elements: str
  returned: success
  sample: ["proxy image content changed: sha256:0123456789ab → sha256:ba9876543210"]
messages:
  description: RV(reasons), and after a replacement how long users were without the proxy.
  type: list
  elements: str
  returned: success
url:
  description: Where this host reaches the proxy.
  type: str
  returned: success
  sample: http://172.19.0.2:8000/
downtime:
  description: Seconds from the stop of the old proxy until the new one answered; 0 if no connection was interrupted.
  type: float
  returned: success
  sample: 1.4
routing_differs:
  description: Whether the proxy has another kind of routes than O(host_routing) because of O(keep_routing).
  type: bool
  returned: success
routes:
  description:
    - V(restored) when the hub has restored the routes of a new proxy. V(later) with the reason when it could not yet;
      it does so by itself within ten seconds. V(kept) when nothing was done.
  type: str
  returned: success
  sample: restored
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
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
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.front import target
from ansible.module_utils.jupyterhub_deploy.front.proxy_replacement import ProxyReplacement
from ansible.module_utils.jupyterhub_deploy.hub import lock, routes
from ansible.module_utils.jupyterhub_deploy.module import run_module


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


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for other runs on this hub, then update it; return the module's result."""
    with lock.held(module.params["hub"], module.check_mode):
        return update(module)


def update(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    asked, check = ProxyOptions(**module.params), module.check_mode
    client = connect_or_none() if check else connect()
    proxy = ProxyContainer(client, asked.name, "", asked.health_timeout, asked.hub)
    replacement = ProxyReplacement(proxy, asked)
    recovered: list[str] = []
    restored = "kept"
    if client:
        ownership.require_containers(client, asked.hub, proxy.names())
        recovered = recover(proxy, replacement, check)
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
    serving = bool(current) and not differences and proxy.is_serving()
    action, reasons = container_spec.plan("proxy", current, [found.message for found in differences], serving)
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
        "routes": done.routes,
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
    routes: str = "kept"
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
    restored: str,
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
    if restored.startswith("later: ") and not restored.startswith(routes.WITHOUT_HUB):
        messages = [*messages, f"the hub does not know the routes of its proxy yet: {restored.partition(': ')[2]}"]
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


def main() -> None:
    """Entry point."""
    run_module(
        {
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
        },
        run,
        doing="updating the proxy",
    )


if __name__ == "__main__":
    main()
