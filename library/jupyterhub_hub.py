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
  public_url:
    description: URL of the hub in the users' browsers, to compare with RV(servers_with_old_urls) when set.
    type: str
  subdomains:
    description: Whether each user has a host name below the one in O(public_url).
    type: bool
    default: false
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
  description: >-
    RV(reasons); after a replacement also how long the hub was unavailable, and which servers keep other limits.
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
servers_with_old_urls:
  description: Containers of users' servers that were started for another O(public_url), or with other O(subdomains).
  type: list
  elements: str
  returned: success
  sample: [jupyter-alice]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.update import hub


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pass the options on."""
    return hub.run(module.params, module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(hub.SPEC, run, doing="updating the hub")


if __name__ == "__main__":
    main()
