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
    image is built on. If somebody else has given an image another name, only this project's names are removed.
  - An image that Docker refuses to remove is reported as kept, with Docker's reason.
author: jupyterhub-deploy-ansible
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
message:
  description: Messages for the operator about images that were removed, or kept for another reason than O(keep).
  type: list
  elements: str
  returned: success
"""

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import LABEL_NOTEBOOK_IMAGE_ID
from ansible.module_utils.jupyterhub_deploy.docker.client import (
    connect,
    connect_or_none,
    docker_errors,
    inspect_image,
    name_of,
)
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.images import prune
from ansible.module_utils.jupyterhub_deploy.images.lock import try_lock
from ansible.module_utils.jupyterhub_deploy.module import run_module

# How Docker shows that an image has no name.
NAMELESS = ("<none>:<none>", "<none>@<none>")


class Host:
    """The images of this host and their users."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def ids(self) -> set[str]:
        """Return the ids of all images, with intermediate images of builds."""
        return {image["Id"] for image in self.client.images(all=True)}

    def images(self, recorded: Iterable[str]) -> dict[str, prune.Found]:
        """Return all images without intermediate images of builds.

        Docker also counts a recorded image as intermediate when it has lost its name and another is built on it.
        """
        every = {image["Id"]: image.get("ParentId") or "" for image in self.client.images(all=True)}
        shown = {image["Id"] for image in self.client.images()}
        found = {}
        for image_id in shown.union(recorded).intersection(every):
            details = inspect_image(self.client, image_id)
            if details:  # else it was removed just now
                chain, parent = [], every[image_id]
                while parent:
                    chain.append(parent)
                    parent = every.get(parent, "")
                layers = (details.get("RootFS") or {}).get("Layers") or []
                found[image_id] = prune.Found(names(details), chain, layers)
        return found

    def used(self) -> dict[str, str]:
        """Return the ids of images that containers need, with the reason."""
        used: dict[str, str] = {}
        containers = self.client.containers(all=True)
        for container in containers:
            labels = container.get("Labels") or {}
            if labels.get(LABEL_NOTEBOOK_IMAGE_ID):
                used[labels[LABEL_NOTEBOOK_IMAGE_ID]] = f"hub {labels.get(LABEL_HUB, '')} starts servers from it"
        for container in containers:
            stopped = "" if container.get("State") == "running" else "stopped "
            used[container["ImageID"]] = f"{stopped}container {name_of(container)} uses it"
        return used

    def sizes(self, image_id: str) -> list[int]:
        """Return the sizes of the build steps of an image, lowest first."""
        return [step.get("Size") or 0 for step in reversed(self.client.history(image_id))]

    def remove(self, verdict: prune.Verdict) -> str:
        """Remove this project's names of an image, and the image if it has no others; return why it was kept, if so.

        Docker removes an image with its last name, and with it the unnamed intermediate images of its build.
        """
        try:
            for name in verdict.names:
                found = inspect_image(self.client, name)
                if found and found["Id"] == verdict.id:
                    self.client.remove_image(name)
            found = inspect_image(self.client, verdict.id)
            if found and not names(found):
                self.client.remove_image(verdict.id)
        except docker_errors.NotFound:
            return ""
        except docker_errors.APIError as error:
            return f"Docker reported: {str(error.explanation or error).strip()}"
        return ""


def names(details: dict[str, Any]) -> list[str]:
    """Return the tags and digests in Docker's description of an image."""
    every = [*(details.get("RepoTags") or []), *(details.get("RepoDigests") or [])]
    return [name for name in every if name not in NAMELESS]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Record, plan and, unless in check mode, remove; return the result."""
    if module.check_mode:
        client = connect_or_none()
        return prune_images(Host(client), module.params, check_mode=True) if client else report([], [])
    with try_lock() as held:
        if not held:  # not urgent: the next run removes them
            return report([], [], "another run is getting images on this host; the next run removes old ones")
        return prune_images(Host(connect()), module.params)


def prune_images(host: Host, params: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Remove the old images of a host with Docker."""
    path, hub = params["record_file"], params["hub"]
    before = prune.load(path)
    record = prune.without(before, prune.recorded_ids(before) - host.ids())
    record = prune.with_current(record, hub, prune.by_kind(params["images"]), params["keep"])
    present = host.images(record["brought"])
    removed, kept, named_by_others = [], [], set()
    for verdict in prune.plan(record, hub, present, host.used()):
        shown = {key: getattr(verdict, key) for key in ("id", "kind", "names", "beyond", "reason")}
        shown["untagged"] = []
        if not verdict.remove:
            kept.append(shown)
            continue
        layers = [found.layers for image_id, found in present.items() if image_id != verdict.id]
        size = prune.freed_bytes(present[verdict.id].layers, host.sizes(verdict.id), layers)
        refused = "" if check_mode else host.remove(verdict)
        if refused:
            kept.append({**shown, "reason": refused})
        elif verdict.others:
            named_by_others.add(verdict.id)
            reason = f"it is also called {', '.join(verdict.others)}"
            kept.append({**shown, "reason": reason, "untagged": verdict.names})
        else:
            removed.append({**shown, "bytes": size})
            del present[verdict.id]
    if not check_mode:
        record = prune.without(record, named_by_others.union(str(image["id"]) for image in removed))
        if record != before:
            prune.save(path, record)
    return report(removed, kept)


def report(removed: list[dict[str, Any]], kept: list[dict[str, Any]], *messages: str) -> dict[str, Any]:
    """Return the result."""

    def label(image: dict[str, Any]) -> str:
        return prune.label(image["id"], image["names"])

    def lines(images: list[dict[str, Any]]) -> list[str]:
        return sorted(f"{image['kind']} {label(image)} ({image['id'][:19]})" for image in images)

    shown = [f"removed: {image['kind']} image {label(image)}, about {image['bytes'] / 1e6:.0f} MB" for image in removed]
    shown += [
        f"kept: {image['kind']} image {label(image)}: {image['reason']}"
        + ("; its name from this project was removed" if image["untagged"] else "")
        for image in kept
        if image["beyond"]
    ]
    untagged = [image for image in kept if image["untagged"]]
    left = [image for image in kept if not image["untagged"]]
    return {
        "changed": bool(removed or untagged),
        "removed": removed,
        "kept": kept,
        "freed_bytes": sum(image["bytes"] for image in removed),
        "message": [*messages, *shown],
        "diff": {"before": {"earlier images": lines(kept + removed)}, "after": {"earlier images": lines(left)}},
    }


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
