#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_old_images
short_description: Remove images that a hub no longer uses
description:
  - Notes which images a hub uses now, and removes earlier ones beyond the newest O(keep) of each kind.
  - Removes nothing but what the module C(jupyterhub_image) has pulled or built on this host, as O(record_file)
    remembers. Without that file nothing is removed.
  - Keeps what any container uses, running or stopped, what any hub on the host starts servers from or keeps by its own
    O(keep), and what another image is built on. Where somebody else has given an image another name, only the names
    that this project gave are taken away.
  - An image that the engine does not let go is reported as kept, with the engine's reason.
author: jupyterhub-deploy-ansible
options:
  hub:
    description: Name of the hub.
    type: str
    required: true
  images:
    description: The images that the hub uses now, as C(jupyterhub_image) returns them.
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
        description: Its id; none for one that is not on the host yet (in check mode).
        type: str
  keep:
    description:
      - How many earlier images of each kind stay beside the current ones. V(-1) keeps all.
      - V(0) removes the first stages of builds too, which otherwise make the next build quick.
    type: int
    default: 2
  record_file:
    description: Where it is remembered which images were brought here.
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
  - docker (Python SDK) 5.0 or newer on the target
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
  description: What was removed, or in check mode would be, with the bytes that no other image shared (about).
  type: list
  elements: dict
  returned: success
  sample: [{"id": "sha256:…", "kind": "notebook", "names": ["example.com/a:1"], "reason": "…", "bytes": 48500000}]
kept:
  description:
    - Earlier images that stay, each with the reason.
    - In C(beyond) whether they are older than those that O(keep) keeps, and in C(untagged) the names that were taken
      away, where somebody else has given the image another one.
  type: list
  elements: dict
  returned: success
  sample: [{"id": "sha256:…", "kind": "hub", "names": [], "reason": "container jupyter-alice uses it", "beyond": true}]
freed_bytes:
  description: Sum of the bytes, about.
  type: int
  returned: success
message:
  description: What was removed, and what stays for another reason than O(keep), in words, for the operator.
  type: list
  elements: str
  returned: success
"""

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import LABEL_NOTEBOOK_IMAGE_ID
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, docker_errors, inspect_image
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.images import prune
from ansible.module_utils.jupyterhub_deploy.images.lock import alone_now
from ansible.module_utils.jupyterhub_deploy.module import run_module

# How the engine writes that an image has no name.
NAMELESS = ("<none>:<none>", "<none>@<none>")


class Host:
    """The images of this host and who uses them."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def ids(self) -> set[str]:
        """Return the ids of all images, those in the middle of a build too."""
        return {image["Id"] for image in self.client.images(all=True)}

    def images(self, brought: Iterable[str]) -> dict[str, prune.Found]:
        """Return all images but those in the middle of a build.

        One of ours that lost its name and that somebody has built on is in the middle of a build for the engine.
        """
        every = {image["Id"]: image.get("ParentId") or "" for image in self.client.images(all=True)}
        shown = {image["Id"] for image in self.client.images()}
        found = {}
        for image_id in shown.union(brought).intersection(every):
            details = inspect_image(self.client, image_id)
            if details:  # else it went in this moment
                chain, parent = [], every[image_id]
                while parent:
                    chain.append(parent)
                    parent = every.get(parent, "")
                layers = (details.get("RootFS") or {}).get("Layers") or []
                found[image_id] = prune.Found(names(details), chain, layers)
        return found

    def used(self) -> dict[str, str]:
        """Return the ids of images that containers of any kind need, and why."""
        used: dict[str, str] = {}
        containers = self.client.containers(all=True)
        for container in containers:
            labels = container.get("Labels") or {}
            if labels.get(LABEL_NOTEBOOK_IMAGE_ID):
                used[labels[LABEL_NOTEBOOK_IMAGE_ID]] = f"hub {labels.get(LABEL_HUB, '')} starts servers from it"
        for container in containers:
            name = (container.get("Names") or [container["Id"][:12]])[0].lstrip("/")
            stopped = "" if container.get("State") == "running" else "stopped "
            used[container["ImageID"]] = f"{stopped}container {name} uses it"
        return used

    def sizes(self, image_id: str) -> list[int]:
        """Return the sizes of the steps that an image was made in, lowest first."""
        return [step.get("Size") or 0 for step in reversed(self.client.history(image_id))]

    def remove(self, verdict: prune.Verdict) -> str:
        """Take our names from an image, and remove it if it has no other; return why that could not be done, if so.

        The engine removes an image with its last name, and with it the nameless ones in the middle of its build.
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
            return f"the engine said: {str(error.explanation or error).strip()}"
        return ""


def names(details: dict[str, Any]) -> list[str]:
    """Return tags and digests of an image, from the engine's description of it."""
    every = [*(details.get("RepoTags") or []), *(details.get("RepoDigests") or [])]
    return [name for name in every if name not in NAMELESS]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Note, plan and, unless in check mode, remove; return the module's result."""
    if module.check_mode:
        client = connect_or_none()
        return tidy(Host(client), module.params, check_mode=True) if client else report([], [])
    with alone_now() as free:
        if not free:  # it is not urgent, and the next run comes here again
            return report([], [], "another run is getting images on this host; old ones are left for the next run")
        return tidy(Host(connect()), module.params)


def tidy(host: Host, params: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Do it, for a host with an engine."""
    path, hub = params["record_file"], params["hub"]
    before = prune.load(path)
    record = prune.without(before, prune.known(before) - host.ids())
    record = prune.noted(record, hub, prune.by_kind(params["images"]), params["keep"])
    present = host.images(record["brought"])
    removed, kept, others_own = [], [], set()
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
            others_own.add(verdict.id)
            reason = f"it is also called {', '.join(verdict.others)}"
            kept.append({**shown, "reason": reason, "untagged": verdict.names})
        else:
            removed.append({**shown, "bytes": size})
            del present[verdict.id]
    if not check_mode:
        record = prune.without(record, others_own.union(str(image["id"]) for image in removed))
        if record != before:
            prune.save(path, record)
    return report(removed, kept)


def report(removed: list[dict[str, Any]], kept: list[dict[str, Any]], *messages: str) -> dict[str, Any]:
    """Return the module's result."""

    def called(image: dict[str, Any]) -> str:
        return prune.label(image["id"], image["names"])

    def lines(images: list[dict[str, Any]]) -> list[str]:
        return sorted(f"{image['kind']} {called(image)} ({image['id'][:19]})" for image in images)

    said = [f"removed: {image['kind']} image {called(image)}, about {image['bytes'] / 1e6:.0f} MB" for image in removed]
    said += [
        f"kept: {image['kind']} image {called(image)}: {image['reason']}"
        + ("; the name that we gave it was taken away" if image["untagged"] else "")
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
        "message": [*messages, *said],
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
