#!/usr/bin/python
"""Ansible module: pull, build and test the images of a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_image
short_description: Pull, build and test the images of a hub
description:
  - Pulls or builds the images of one hub on the host before the hub uses them.
  - For an image that has both a reference and a build, O(source) decides. With V(auto), Docker tries once to reach the
    registry, and the image is built only if the registry cannot be reached. The choice is stored in O(choice_file).
  - Tests a new notebook image in a container without network. An image that does not start a server is refused.
  - The action plugin of the same name shows the progress, and sends build contexts from folders of the control
    machine.
options:
  source:
    description: Whether images that have both a reference and a build are pulled or built.
    type: str
    choices: [auto, pull, build]
    default: pull
  choice_file:
    description: File that stores the choice of V(auto). Remove it to choose again.
    type: path
    default: /etc/jupyterhub-deploy/image-source
  smoke_tests_file:
    description: File that stores the results of image tests, by image id.
    type: path
    default: /var/lib/jupyterhub-deploy/image-tests.json
  hub:
    description: Name of the hub that uses the images. Its images are recorded under this name.
    type: str
    default: jupyterhub
  keep:
    description: How many earlier images of each kind this hub keeps; see the module C(jupyterhub_old_images).
    type: int
    default: -1
  record_file:
    description: File that records the images that this project pulled or built on this host.
    type: path
    default: /var/lib/jupyterhub-deploy/images.json
  images:
    description: The images, with the base image when anything is built.
    type: list
    elements: dict
    required: true
    suboptions:
      purpose:
        description: The purpose of the image. The notebook image is tested.
        type: str
        required: true
        choices: [base, hub, proxy, notebook, front]
      reference:
        description: The name to pull, with a tag or a digest.
        type: str
        default: ""
      build:
        description: How to build the image.
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
            description: Build arguments that change the image. For the base image V(suite) and V(packages).
            type: dict
            default: {}
  notebooks:
    description: References of additional notebook images to pull.
    type: list
    elements: str
    default: []
  pull_policy:
    description:
      - V(missing) pulls only images that are not on the host.
      - V(always) asks the registry on each run and pulls images whose content changed. Images that were built on the
        host or are named by a digest, and the base image, are excluded.
      - V(never) fails when an image that would be pulled is not on the host.
    type: str
    choices: [missing, always, never]
    default: missing
  registry_logins:
    description: Accounts for registries. They are sent with each request and not stored on the host.
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
    description: PEM file on the host with the certificate authorities for downloads during a build.
    type: path
    default: /etc/ssl/certs/ca-certificates.crt
  build_args:
    description: Additional build arguments, for mirrors and proxies. Changing them does not start a new build.
    type: dict
    default: {}
  hub_version:
    description: Version of JupyterHub in the hub, compared with the notebook image.
    type: str
    required: true
  notebook_dir:
    description: The folder that the user of the notebook image has to be able to write.
    type: str
    default: /home/jovyan/work
  notebook_command:
    description: The command of users' servers, when it is not the image's own. The test runs it.
    type: list
    elements: str
    default: []
  check_volume_owners:
    description:
      - Whether to fail when servers of the notebook image could not write to most users' volumes. Otherwise this is
        only a message.
    type: bool
    default: true
  update:
    description:
      - Whether to build images again when the distribution has updates for their packages, or when they are older than
        O(max_age_days). Otherwise this is only a message. Both only with a base image that is built on the host.
    type: bool
    default: true
  max_age_days:
    description: Age in days from which an image is built again; 0 turns this off.
    type: int
    default: 0
  updates_file:
    description: File that stores the packages of built images, and the updates for them.
    type: path
    default: /var/lib/jupyterhub-deploy/image-updates.json
  refresh_updates:
    description: Whether to refresh apt's package lists once a day, and to write O(updates_file), in check mode, too.
    type: bool
    default: true
  archive:
    description: Set by the action plugin; archive of the build contexts on the host.
    type: path
  progress_file:
    description: Set by the action plugin; file for progress messages.
    type: path
attributes:
  check_mode:
    support: full
    description: Inspects Docker, files and, if necessary, the registry; a host without Docker counts as empty.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the host
  - mmdebstrap on the host, when the base image is built there
"""

EXAMPLES = r"""
- name: Pull the notebook image
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
  description: The steps that were done, or in check mode would be done, in order, each with its reason.
  type: list
  elements: dict
  returned: success
  sample: [{"action": "pull", "purpose": "notebook", "name": "example.com/a:1", "reason": "is not on this host"}]
choice:
  description: Whether images are pulled or built, the reason, and whether this run made the choice.
  type: dict
  returned: success
  sample: {"source": "build", "reason": "registry quay.io cannot be reached from this host", "new": true}
smoke_tests:
  description: The test results of the notebook images, by name.
  type: dict
  returned: success
  sample: {"example.com/a:1": {"version": "5.5.4", "uid": 1000, "gid": 100, "exists": true, "writable": true}}
messages:
  description: The choice, if this run made it, and what is wrong with the notebook images.
  type: list
  elements: str
  returned: success
  sample: ["image example.com/a:1 runs as root; set a USER in it"]
result:
  description:
    - Names and ids of the hub, proxy, notebook and front image, and the source. C(front) is empty when no front is
      wanted.
    - C(images) lists all of them by purpose, for the module C(jupyterhub_old_images). C(needs_pruning) is true when
      that module may have some to remove.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.images import record
from ansible.module_utils.jupyterhub_deploy.images.hub_images import HubImages
from ansible.module_utils.jupyterhub_deploy.images.plan import ImageOptions
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Seconds that Docker may take for an answer: unpacking a large layer on a slow disk.
API_TIMEOUT = 900


def run(module: AnsibleModule) -> dict[str, Any]:
    """Inspect, plan and, unless in check mode, run the steps; return the result."""
    options = ImageOptions(**module.params)
    if module.check_mode:
        images = HubImages(connect_or_none, options, check_mode=True)
        return images.report(images.make_steps())
    # A job outlives an interrupted playbook. The next run waits for it and uses its images, instead of building them a
    # second time.
    progress = Reporter(options.progress_file)
    waiting = "waiting for another run that is installing images on this host"
    with files.locked(record.LOCK, wait=True, on_wait=lambda: progress.say(waiting)):
        images = HubImages(lambda: connect(API_TIMEOUT), options)
        images.remove_leftovers()
        steps = images.make_steps()
        try:
            images.run_steps(steps)
            return images.report(steps)
        except Exception:
            images.put_names_back()
            raise


def main() -> None:
    """Entry point."""
    build = {
        "tag": {"type": "str", "required": True},
        "context": {"type": "str"},
        "context_digest": {"type": "str", "default": ""},
        "args": {"type": "dict", "default": {}},
    }
    image = {
        "purpose": {"type": "str", "required": True, "choices": ["base", "hub", "proxy", "notebook", "front"]},
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
        "smoke_tests_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/image-tests.json"},
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
        "notebook_command": {"type": "list", "elements": "str", "default": []},
        "check_volume_owners": {"type": "bool", "default": True},
        "update": {"type": "bool", "default": True},
        "max_age_days": {"type": "int", "default": 0},
        "updates_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/image-updates.json"},
        "refresh_updates": {"type": "bool", "default": True},
        "archive": {"type": "path"},
        "progress_file": {"type": "path"},
    }
    run_module(spec, run, "pulling and building images")


if __name__ == "__main__":
    main()
