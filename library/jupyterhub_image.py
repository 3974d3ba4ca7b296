#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_image
short_description: Have a hub's container images on the host, pulled or built, and proven
description:
  - Brings the images of one hub onto the host before anything is told of them.
  - An image that has both a reference and a build recipe is pulled or built as O(source) says. With V(auto) the engine
    is asked once whether it can reach the registry; only a registry that cannot be reached makes it build, and the
    choice is kept in O(choice_file).
  - An image from which users' servers start is run once, without network, when its content is new. Without
    C(jupyterhub-singleuser) it is refused.
  - Run through the action plugin of the same name, it shows its progress, and contexts are given as folders of the
    control machine.
author: jupyterhub-deploy-ansible
options:
  source:
    description: Whether images that leave the choice are pulled or built.
    type: str
    choices: [auto, pull, build]
    default: pull
  choice_file:
    description: Where V(auto) keeps what it chose. Remove it to have the choice made again.
    type: path
    default: /etc/jupyterhub-deploy/image-source
  proofs_file:
    description: Where proofs are remembered, by image id.
    type: path
    default: /var/lib/jupyterhub-deploy/image-proofs.json
  hub:
    description: Name of the hub that the images are for. What is brought for it is remembered under this name.
    type: str
    default: jupyterhub
  keep:
    description: How many earlier images of each kind that hub keeps; see the module C(jupyterhub_old_images).
    type: int
    default: -1
  record_file:
    description: Where it is remembered which images were brought here.
    type: path
    default: /var/lib/jupyterhub-deploy/images.json
  images:
    description: The images, the base image among them when anything is built.
    type: list
    elements: dict
    required: true
    suboptions:
      purpose:
        description: What the image is for. The notebook image is proven.
        type: str
        required: true
        choices: [base, hub, proxy, notebook]
      reference:
        description: The name to pull, with a tag or a digest.
        type: str
        default: ""
      build:
        description: How to build it.
        type: dict
        suboptions:
          tag:
            description: The name to build.
            type: str
            required: true
          context:
            description: Folder on the control machine with a Dockerfile. The action plugin replaces it by its digest.
            type: str
          context_digest:
            description: Set by the action plugin.
            type: str
            default: ""
          args:
            description: Build arguments that decide what is built. For the base image V(suite) and V(packages).
            type: dict
            default: {}
  notebooks:
    description: More notebook images to pull, by reference.
    type: list
    elements: str
    default: []
  pull_policy:
    description:
      - V(missing) pulls what is not there and otherwise asks no registry.
      - V(always) asks the registry each time and pulls what changed under the same name. It is not asked for what was
        built here or is named by a digest, nor for the base image.
      - V(never) fails when an image that would be pulled is not there.
    type: str
    choices: [missing, always, never]
    default: missing
  registry_logins:
    description: Accounts for registries. They go with each request and are not kept on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry's host, with its port if it has one; C(docker.io) for Docker Hub.
        type: str
        required: true
      username:
        description: The account.
        type: str
        required: true
      password:
        description: Its password or token.
        type: str
        required: true
  ca_bundle:
    description: PEM file on the host with the certificates that downloads inside a build are checked with.
    type: path
    default: /etc/ssl/certs/ca-certificates.crt
  build_args:
    description: More build arguments, for mirrors and proxies. They do not count as a change of the image.
    type: dict
    default: {}
  hub_version:
    description: JupyterHub's version in the hub, compared with the notebook image's.
    type: str
    required: true
  notebook_dir:
    description: The folder that has to be writable for the notebook image's user.
    type: str
    default: /home/jovyan/work
  archive:
    description: Set by the action plugin; tarball of the build contexts on the target.
    type: path
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Looks at engine, files and, where it has to, at the registry; a host without an engine counts as empty.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
  - mmdebstrap on the target, when the base image is made there
"""

EXAMPLES = r"""
- name: Have the notebook image on the host
  jupyterhub_image:
    source: pull
    hub_version: 5.5.4
    images:
      - purpose: notebook
        reference: registry.example.com/course/notebook:2026-09
    registry_logins:
      - registry: registry.example.com
        username: alice
        password: "{{ vault_registry_password }}"
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be, in order, each with its reason.
  type: list
  elements: dict
  returned: success
  sample: [{"action": "pull", "purpose": "notebook", "name": "example.com/a:1", "reason": "is not on this host"}]
choice:
  description: Whether images are pulled or built, why, and whether that was decided just now.
  type: dict
  returned: success
  sample: {"source": "build", "reason": "registry quay.io cannot be reached from this host", "new": true}
proofs:
  description: What was found in the notebook images, by name.
  type: dict
  returned: success
  sample: {"example.com/a:1": {"version": "5.5.4", "uid": 1000, "gid": 100, "exists": true, "writable": true}}
result:
  description:
    - Names and ids of the hub, proxy and notebook image, the source, and warnings for the operator.
    - In C(images) all of them by purpose, for the module C(jupyterhub_old_images), and in C(look_for_old_images)
      whether that one may have something to do.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.images.hub_images import HubImages
from ansible.module_utils.jupyterhub_deploy.images.lock import alone
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Seconds that the engine may stay silent: unpacking a large layer on a slow disk.
SILENCE = 900


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    if module.check_mode:
        images = HubImages(connect_or_none, module.params, check_mode=True)
        return images.report(images.steps())
    with alone(Reporter(module.params["progress_file"])):
        images = HubImages(lambda: connect(SILENCE), module.params)
        steps = images.steps()
        images.apply_all(steps)
        return images.report(steps)


def main() -> None:
    """Entry point."""
    build = {
        "tag": {"type": "str", "required": True},
        "context": {"type": "str"},
        "context_digest": {"type": "str", "default": ""},
        "args": {"type": "dict", "default": {}},
    }
    image = {
        "purpose": {"type": "str", "required": True, "choices": ["base", "hub", "proxy", "notebook"]},
        "reference": {"type": "str", "default": ""},
        "build": {"type": "dict", "options": build},
    }
    login = {
        "registry": {"type": "str", "required": True},
        "username": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
    }
    spec: dict[str, Any] = {
        "source": {"type": "str", "choices": ["auto", "pull", "build"], "default": "pull"},
        "choice_file": {"type": "path", "default": "/etc/jupyterhub-deploy/image-source"},
        "proofs_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/image-proofs.json"},
        "hub": {"type": "str", "default": "jupyterhub"},
        "keep": {"type": "int", "default": -1},
        "record_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/images.json"},
        "images": {"type": "list", "elements": "dict", "required": True, "options": image},
        "notebooks": {"type": "list", "elements": "str", "default": []},
        "pull_policy": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
        "registry_logins": {"type": "list", "elements": "dict", "default": [], "options": login},
        "ca_bundle": {"type": "path", "default": "/etc/ssl/certs/ca-certificates.crt"},
        "build_args": {"type": "dict", "default": {}},
        "hub_version": {"type": "str", "required": True},
        "notebook_dir": {"type": "str", "default": "/home/jovyan/work"},
        "archive": {"type": "path"},
        "progress_file": {"type": "path"},
    }
    run_module(spec, run, "pulling and building images")


if __name__ == "__main__":
    main()
