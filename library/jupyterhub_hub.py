#!/usr/bin/python
"""Ansible module: the hub container of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_hub
short_description: Run the hub container of a JupyterHub deployment
description:
  - Runs the hub container with the given image, configuration and environment, and waits until it answers.
  - Replaces a running hub only when something differs that needs a new container (see RV(reasons)). Users' servers are
    not touched.
  - Before the running hub is stopped, the configuration is loaded and checked in the image that will run it. The old
    hub is kept until the new one answers. If the new one does not answer in time, the old one is restored, and the
    module fails with the last log lines of the new one.
  - After an interrupted run, the next run finishes or reverts what was begun.
options:
  name:
    description: Name of the hub container, also in its networks.
    type: str
    required: true
  image:
    description: Image of the hub. It must be on the host.
    type: str
    required: true
  notebook_image:
    description:
      - Image of the servers that users start next; the hub gets it as C(DOCKER_NOTEBOOK_IMAGE). It must be on the host.
      - When its content changes under the same name, the hub is replaced too.
    type: str
    required: true
  environment:
    description: Environment of the hub.
    type: dict
    required: true
  config_dir:
    description:
      - Directory on the host with C(secrets) and one directory for each release of the configuration. Only root can
        access it.
    type: path
    required: true
  config_files:
    description:
      - The hub's configuration files, as file name to text; one of them is C(jupyterhub_config.py).
      - Diff mode shows the texts. Put secrets in O(sign_in) or in files under C(secrets).
    type: dict
    required: true
  ca_bundle:
    description:
      - PEM file on the host with certificate authorities that the hub trusts in addition to those of its image, such as
        of a provider for signing in. When its content changes, the hub is replaced.
    type: path
    default: ""
  sign_in:
    description:
      - The secret traits of the authenticators, such as client secrets, by authenticator and trait.
      - Written to the file C(authenticators.json) beside O(config_files), and never shown.
    type: dict
    default: {}
  data_volume:
    description: Volume with the hub's database. It must exist.
    type: str
    required: true
  networks:
    description: Networks that the hub is attached to. They must exist.
    type: list
    elements: str
    required: true
  public_probe:
    description: URL of the hub's health check as a user reaches it, through the proxy, from this host.
    type: str
    required: true
  health_timeout:
    description: Seconds that a hub gets from its start until it answers.
    type: float
    default: 120
  notebook_images:
    description:
      - More notebook images that users' servers may run. A server on one of these or on O(notebook_image), with the
        content that the host has now, is not in RV(servers_on_other_images).
    type: list
    elements: str
    default: []
  declared_users:
    description: Users who get an account after the hub has started, so that no warning says that they have none.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description:
      - Reports what would be done, also on a host without Docker; changes nothing.
      - Checks a new configuration if the host has a hub and the hub image.
    support: full
  diff_mode:
    description: Shows the specification of the container and the text of its configuration, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Run the hub
  jupyterhub_hub:
    name: jupyterhub
    image: jupyterhub-deploy/hub:5.5.4
    notebook_image: quay.io/jupyter/minimal-notebook:2025-11-10
    environment:
      DOCKER_NETWORK_NAME: jupyterhub-network
      DOCKER_NOTEBOOK_DIR: /home/jovyan/work
      JUPYTERHUB_ADMIN: admin
    config_dir: /etc/jupyterhub
    config_files:
      jupyterhub_config.py: "{{ lookup('ansible.builtin.template', 'jupyterhub_config.py.j2') }}"
    data_volume: jupyterhub-data
    networks: [jupyterhub-control, jupyterhub-network]
    public_probe: http://127.0.0.1:8000/hub/health
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
  sample: ["notebook image content changed: sha256:1f2e… → sha256:9a8b…"]
messages:
  description: RV(reasons), and after a replacement how long the hub was away.
  type: list
  elements: str
  returned: success
downtime:
  description: Seconds from the stop of the old hub until the new one answered through the proxy; else 0.
  type: float
  returned: success
  sample: 0.5
start_seconds:
  description:
    - Seconds from the start of the new hub until it was healthy, without the time on standby. The old hub still serves
      during most of them, so RV(downtime) is usually less.
  type: float
  returned: success
  sample: 2.1
servers_on_other_images:
  description: Containers of users' servers with another image than the next server gets.
  type: list
  elements: str
  returned: success
  sample: [jupyter-alice]
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub import HubContainer
from ansible.module_utils.jupyterhub_deploy.containers.replacement import Times
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import config, lock, secrets
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.restore import hub_files


def prepare(hub: HubContainer, spec: Spec, config_dir: str, files: dict[str, str]) -> list[str]:
    """Write and check the configuration, and create the new hub beside the running one.

    :returns: administrators in the configuration who have no account.
    :raises DeployError: that fails; the running hub was not touched.
    """
    try:
        config.write(config_dir, spec["config"], files)
        missing = hub.check_config(spec)
        hub.create_replacement(spec)
    except DOCKER_ERRORS as error:
        raise DeployError(f"the new hub could not be prepared, so the hub was left as it was: {error}") from error
    return missing


def check_only(hub: HubContainer, spec: Spec, config_dir: str, files: dict[str, str]) -> list[str]:
    """Check the configuration in check mode, from a temporary directory.

    :returns: as for :func:`prepare`.
    :raises DeployError: the image refuses it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".config-", dir=config_dir) as scratch:
            config.write(scratch, spec["config"], files)
            written, final = config.path(scratch, spec["config"]), config.path(config_dir, spec["config"])
            return hub.check_config({**spec, "mounts": [mount.replace(final, written) for mount in spec["mounts"]]})
    except DOCKER_ERRORS as error:
        raise DeployError(f"the configuration could not be checked: {error}") from error


def without_account(names: list[str], declared: list[str]) -> list[str]:
    """Return a warning about administrators who have no account and are not declared, so that they get none."""
    missing = sorted({*names} - {name.strip().lower() for name in declared})
    if not missing:
        return []
    return [
        f"administrators in the hub's configuration have no account: {', '.join(missing)}. Nobody can sign up with "
        "their names, which are reserved; add them to jupyterhub_users with admin: true and a password, then run the "
        "same again (docs/how-to/users.md)"
    ]


def refuse_unfinished_restore(client: Any, options: hub_spec.HubOptions) -> None:
    """Check that no restore of the hub's state was killed while it replaced the files.

    :raises DeployError: one was. A hub that starts now would use files of two states.
    """
    volumes = client.volumes(filters={"name": f"^{options.data_volume}$"})["Volumes"] or []
    homes = [os.path.dirname(volume["Mountpoint"]) for volume in volumes if volume.get("Mountpoint")]
    if any(hub_files.unfinished(hub_files.Places(home, options.config_dir)) for home in homes):
        raise DeployError(
            f"a restore of the state of hub {options.name} did not finish; finish it first, with: "
            "make restore ARGS='-e hub_state=true'"
        )


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for other runs on this hub, then update it; return the module's result."""
    with lock.held(module.params["name"], module.check_mode):
        return update(module)


def update(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    options, check_mode = hub_spec.HubOptions(**module.params), module.check_mode
    client = connect_or_none() if check_mode else connect()
    hub = HubContainer(client, options.name, options.public_probe, options.health_timeout)
    recovered: list[str] = []
    if client:
        ownership.require_containers(client, options.name, hub.names())
        refuse_unfinished_restore(client, options)
    if client and hub.has_leftovers():
        recovered = ["an earlier run did not finish"] if check_mode else hub.recover()
    current = hub.observe() if client else None
    ids = {reference: image_id(client, reference) for reference in (options.image, options.notebook_image)}
    for reference, found in ids.items():
        if not found and not check_mode:
            raise DeployError(f"image {reference} is not on this host; run make site, which installs it")
    sign_in = config.sign_in_file(options.sign_in)
    files = {**options.config_files, **sign_in, **config.ca_file(options.ca_bundle)}
    key = secrets.read(f"{options.config_dir}/secrets", "cookie_secret") if sign_in else None
    digest = hub_spec.config_digest(files, key or "")
    wanted = hub_spec.wanted_spec(options, digest, ids[options.image], ids[options.notebook_image])
    differences = hub_spec.differences(wanted, hub_spec.observed_spec(current)) if current else []
    serving = bool(current) and not differences and hub.is_serving()
    action, reasons = container_spec.plan("hub", current, [found.message for found in differences], serving)
    shown, times = diff(wanted, current, options), Times(0.0, 0.0)
    missing: list[str] = []
    if check_mode and action == "replace" and ids[options.image]:
        missing = check_only(hub, wanted, options.config_dir, files)
    if not check_mode:
        if action in ("create", "replace"):
            missing = prepare(hub, wanted, options.config_dir, files)
        if action != "none":
            times = hub.apply(action)
        removed = hub.remove_old()
        recovered += removed if action == "none" else []
        config.prune(options.config_dir, hub.configs_in_use())
    current_images = {ids[options.notebook_image], *(image_id(client, name) for name in options.notebook_images)}
    why = container_spec.shown("hub", action, reasons, check_mode)
    reasons = recovered + reasons
    return {
        "changed": bool(recovered) or action != "none",
        "action": action,
        "reasons": reasons,
        "messages": recovered + why + ([] if action == "create" else away(times)),
        "downtime": round(times.down, 2),
        "start_seconds": round(times.start, 2),
        "warnings": without_account(missing, options.declared_users),
        "servers_on_other_images": hub.servers_on_other_images(current_images) if client else [],
        "diff": shown,
    }


def away(times: Times) -> list[str]:
    """Return how long the hub was away, for the operator."""
    if not times.down:
        return []
    return [
        f"the hub was away for {times.down:.2f} s (a start takes {times.start:.2f} s); running servers were not touched"
    ]


def diff(wanted: Spec, current: dict[str, Any] | None, options: hub_spec.HubOptions) -> list[dict[str, Any]]:
    """Return before and after, as ``--diff`` shows them: the specification, then each configuration file."""
    before = container_spec.comparable(wanted, hub_spec.observed_spec(current)) if current else {}
    old_files = config.read(config.path(options.config_dir, before["config"])) if before else {}
    shown = [{"before": before, "after": wanted, "before_header": "running hub", "after_header": "wanted hub"}]
    for name, text in options.config_files.items():
        shown.append({"before": old_files.get(name, ""), "after": text, "before_header": name, "after_header": name})
    return [entry for entry in shown if entry["before"] != entry["after"]]


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "notebook_image": {"type": "str", "required": True},
            "environment": {"type": "dict", "required": True},
            "config_dir": {"type": "path", "required": True},
            "config_files": {"type": "dict", "required": True},
            "ca_bundle": {"type": "path", "default": ""},
            "sign_in": {"type": "dict", "default": {}, "no_log": True},
            "data_volume": {"type": "str", "required": True},
            "networks": {"type": "list", "elements": "str", "required": True},
            "public_probe": {"type": "str", "required": True},
            "health_timeout": {"type": "float", "default": 120},
            "notebook_images": {"type": "list", "elements": "str", "default": []},
            "declared_users": {"type": "list", "elements": "str", "default": []},
        },
        run,
        doing="updating the hub",
    )


if __name__ == "__main__":
    main()
