#!/usr/bin/python
"""Ansible module: remove images that a hub no longer uses."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_old_images
short_description: Remove images that a hub no longer uses
description:
  - Records the images that a hub uses now, and removes earlier ones except the newest O(keep) of each kind.
  - Removes only images that the module C(jupyterhub_image) has pulled or built on this host, according to
    O(record_file). Without that file nothing is removed.
  - Keeps images that a running or stopped container uses, that another hub on the host uses or keeps, and that another
    image is built on. If an image also has a name that this project did not give it, only this project's names are
    removed.
  - An image that Docker refuses to remove is reported as kept, with Docker's reason.
options:
  hub:
    description: Name of the hub.
    type: str
    required: true
  images:
    description: The images that the hub uses now, from the result of C(jupyterhub_image).
    type: list
    elements: dict
    required: true
    suboptions:
      purpose:
        description: The kind of image.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      id:
        description: Its id; null when it is not on the host yet (in check mode).
        type: str
  keep:
    description:
      - How many earlier images of each kind to keep. V(-1) keeps all.
      - V(0) removes the first stages of builds too, which otherwise speed up the next build.
    type: int
    default: 2
  record_file:
    description: File that records the images that this project pulled or built on this host.
    type: path
    default: /var/lib/jupyterhub-deploy/images.json
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the host
"""

EXAMPLES = r"""
- name: Remove images that the hub no longer uses
  jupyterhub_old_images:
    hub: jupyterhub
    images: "{{ jupyterhub_images_result.images }}"
    keep: 2
"""

RETURN = r"""
removed:
  description: The images that were removed, or in check mode would be, with the freed bytes (approximate).
  type: list
  elements: dict
  returned: success
  sample: [{"id": "sha256:…", "kind": "notebook", "names": ["example.com/a:1"], "reason": "…", "bytes": 48500000}]
kept:
  description:
    - Earlier images that are kept, each with the reason.
    - C(beyond) is true when the image is older than those that O(keep) keeps. C(untagged) lists the removed names of
      an image to which somebody else has given another one.
  type: list
  elements: dict
  returned: success
  sample: [{"id": "sha256:…", "kind": "hub", "names": [], "reason": "container jupyter-alice uses it", "beyond": true}]
freed_bytes:
  description: Sum of the freed bytes (approximate).
  type: int
  returned: success
messages:
  description: A line for each image that was removed, or that is kept for another reason than O(keep).
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.images import prune, record
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Record, plan and, unless in check mode, remove; return the result."""
    options = prune.PruneOptions(**module.params)
    if module.check_mode:
        client = connect_or_none()
        return prune.prune(prune.Host(client), options, check_mode=True) if client else prune.report([], [])
    try:
        with files.locked(record.LOCK):
            return prune.prune(prune.Host(connect()), options, check_mode=False)
    except files.LockedError:  # not urgent
        reason = "another run is installing images on this host, so no old ones were removed; the next run removes them"
        return prune.report([], [], f"{reason}, you need to do nothing")


def main() -> None:
    """Entry point."""
    image = {
        "purpose": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "id": {"type": "str"},
    }
    spec: dict[str, Any] = {
        "hub": {"type": "str", "required": True},
        "images": {"type": "list", "elements": "dict", "required": True, "options": image},
        "keep": {"type": "int", "default": 2},
        "record_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/images.json"},
    }
    run_module(spec, run, "removing old images")


if __name__ == "__main__":
    main()
