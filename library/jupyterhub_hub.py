#!/usr/bin/python
"""Ansible module: the hub container of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_hub
short_description: Run the hub container of a JupyterHub deployment
description:
  - Makes sure that the hub container runs with the wanted image, configuration and environment, and that it answers.
  - Replaces a running hub only when something differs that it cannot take up otherwise, and says what
    (see RV(reasons)). Users' servers are not touched by that.
  - The configuration is loaded and checked in the very image that will run it before the running hub is stopped. The
    hub that ran is kept aside until its successor answers; when that does not happen in time, it is put back and the
    module fails with the successor's last log lines.
  - May be killed at any moment; the next run finishes or takes back what was begun.
options:
  name:
    description: Name of the hub container; also the name under which the other containers reach it.
    type: str
    required: true
  image:
    description: Image of the hub. It must be on the host.
    type: str
    required: true
  environment:
    description:
      - Environment of the hub; C(DOCKER_NOTEBOOK_IMAGE) must be in it.
      - The notebook image must be on the host; when its content changes under the same name, the hub is replaced too.
    type: dict
    required: true
  config_dir:
    description: Directory on the host, root's alone, with C(secrets) and one directory for each configuration.
    type: path
    required: true
  config_files:
    description:
      - File name to text of the hub's configuration, C(jupyterhub_config.py) among them.
      - The texts are shown in diff mode; secrets belong in files under C(secrets).
    type: dict
    required: true
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
      - More notebook images that users' servers may run, by reference. A server on one of these or on
        C(DOCKER_NOTEBOOK_IMAGE), with the content that the host has now, is not in RV(servers_on_other_images).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be done, also on a host without a Docker engine; touches nothing.
    support: full
  diff_mode:
    description: Shows the specification of the container and the text of its configuration, before and after.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Run the hub
  jupyterhub_hub:
    name: jupyterhub
    image: jupyterhub-deploy/hub:5.5.4
    environment:
      DOCKER_NOTEBOOK_IMAGE: quay.io/jupyter/minimal-notebook:2025-11-10
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
  description: Why, a sentence for each reason; empty when nothing was done.
  type: list
  elements: str
  returned: success
  sample: ["notebook image content changed: sha256:1f2e… → sha256:9a8b…"]
downtime:
  description: Seconds from the stop of the old hub until the new one answered through the proxy; 0 without a swap.
  type: float
  returned: success
  sample: 0.5
start_seconds:
  description:
    - Seconds that the new hub needed from its start until it answered for itself, without those in which it stood by
      for the old one to end. Most of them pass beside the old hub, so that RV(downtime) is usually less.
  type: float
  returned: success
  sample: 2.1
servers_on_other_images:
  description: Containers of users' servers that still run another image than the next one started would.
  type: list
  elements: str
  returned: success
  sample: [jupyter-alice]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_plan
from ansible.module_utils.jupyterhub_deploy.containers.hub import HubContainer
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import config


def prove(hub: HubContainer, spec: container_plan.Spec) -> None:
    """Load the configuration, and look at the database, in the image that will run them.

    :raises DeployError: with what the check said.
    """
    image = spec["image"]
    code, output = hub.run_once(spec, ["python", "-m", "jupyterhub_deploy_hub.check"], data="ro")
    if code:
        raise DeployError(f"the configuration does not load in {image}, so the hub was left as it was: {output}")
    code, output = hub.run_once(spec, ["python", "-m", "jupyterhub_deploy_hub.schema", "--check"], data="ro")
    if code:
        raise DeployError(f"{image} cannot be used, so the hub was left as it was: {output}")


def prepare(hub: HubContainer, spec: container_plan.Spec, params: dict[str, Any]) -> None:
    """Have configuration and successor ready beside the hub that runs.

    :raises DeployError: when they cannot be; the hub is as it was.
    """
    try:
        config.write(params["config_dir"], spec["config"], params["config_files"])
        prove(hub, spec)
        hub.create_successor(spec)
    except DOCKER_ERRORS as error:
        raise DeployError(f"the new hub could not be prepared, so the hub was left as it was: {error}") from error


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params = module.params
    client = connect_or_none() if module.check_mode else connect()
    hub = HubContainer(client, params["name"], params["public_probe"], params["health_timeout"])
    recovered: list[str] = []
    if client and hub.unfinished():
        recovered = ["an earlier run did not finish"] if module.check_mode else hub.recover()
    current = hub.observe() if client else None
    notebook_image = params["environment"]["DOCKER_NOTEBOOK_IMAGE"]
    wanted = hub_spec.wanted_spec(params, image_id(client, params["image"]), image_id(client, notebook_image))
    if not module.check_mode:
        for key, reference in (("image_id", params["image"]), ("notebook_image_id", notebook_image)):
            if not wanted[key]:
                raise DeployError(f"image {reference} is not on this host; run site.yml with the images role")
    reasons = hub_spec.differences(wanted, hub_spec.observed_spec(current)) if current else []
    answering = bool(current) and not reasons and hub.answering()
    action, reasons = container_plan.plan("hub", current, reasons, answering)
    result: dict[str, Any] = {
        "action": action,
        "downtime": 0.0,
        "start_seconds": 0.0,
        "diff": diff(wanted, current, params),
    }
    if not module.check_mode:
        if action in ("create", "replace"):
            prepare(hub, wanted, params)
        if action != "none":
            times = hub.bring_up(action)
            result.update(downtime=round(times.down, 2), start_seconds=round(times.start, 2))
        left = hub.finish()
        recovered += left if action == "none" else []
        config.prune(params["config_dir"], hub.configs_in_use())
    images = {image_id(client, reference) for reference in (notebook_image, *params["notebook_images"])}
    result["servers_on_other_images"] = hub.servers_on_other_images(images) if client else []
    return {**result, "reasons": recovered + reasons, "changed": bool(recovered) or action != "none"}


def diff(wanted: container_plan.Spec, current: dict[str, Any] | None, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return before and after, as ``--diff`` shows them: the specification, then each configuration file."""
    before = container_plan.comparable(wanted, hub_spec.observed_spec(current)) if current else {}
    old_files = config.read(config.path(params["config_dir"], before["config"])) if before else {}
    shown = [{"before": before, "after": wanted, "before_header": "running hub", "after_header": "wanted hub"}]
    for name, text in params["config_files"].items():
        shown.append({"before": old_files.get(name, ""), "after": text, "before_header": name, "after_header": name})
    return [entry for entry in shown if entry["before"] != entry["after"]]


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "environment": {"type": "dict", "required": True},
            "config_dir": {"type": "path", "required": True},
            "config_files": {"type": "dict", "required": True},
            "data_volume": {"type": "str", "required": True},
            "networks": {"type": "list", "elements": "str", "required": True},
            "public_probe": {"type": "str", "required": True},
            "health_timeout": {"type": "float", "default": 120},
            "notebook_images": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except DeployError as error:
        module.fail_json(msg=str(error))
    except DOCKER_ERRORS as error:
        module.fail_json(msg=f"the engine failed while it was asked about the hub, run site.yml again: {error}")


if __name__ == "__main__":
    main()
