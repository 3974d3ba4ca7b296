"""Remove old images with Docker. ``images.old_images`` decides which they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_image, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_NOTEBOOK_IMAGE_ID
from ansible.module_utils.jupyterhub_deploy.images import old_images, record
from ansible.module_utils.jupyterhub_deploy.images.old_images import HostImage, OldImage, label

# How Docker shows that an image has no name.
NAMELESS = ("<none>:<none>", "<none>@<none>")


@dataclass(frozen=True)
class PruneOptions:
    """The options of the module ``jupyterhub_old_images``, by their names."""

    hub: str
    images: list[dict[str, Any]]
    keep: int
    record_file: str


class Host:
    """The images of this host and their users."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def ids(self) -> set[str]:
        """Return the ids of all images, with intermediate images of builds."""
        return {image["Id"] for image in self.client.images(all=True)}

    def images(self, recorded: Iterable[str]) -> dict[str, HostImage]:
        """Return all images without intermediate images of builds.

        Docker also counts a recorded image as intermediate when it has lost its name and another is built on it.
        """
        every = {image["Id"]: image.get("ParentId") or "" for image in self.client.images(all=True)}
        shown = {image["Id"] for image in self.client.images()}
        found = {}
        for image_id in shown.union(recorded).intersection(every):
            details = inspect_image(self.client, image_id)
            if details:  # else it was removed just now
                parents, parent = [], every[image_id]
                while parent:
                    parents.append(parent)
                    parent = every.get(parent, "")
                layers = (details.get("RootFS") or {}).get("Layers") or []
                found[image_id] = HostImage(names(details), parents, layers)
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

    def remove(self, image: OldImage) -> str:
        """Remove this project's names of an image, and the image if it has no others; return why it was kept, if so.

        Docker removes an image with its last name, and with it the unnamed intermediate images of its build.
        """
        try:
            for name in image.names:
                found = inspect_image(self.client, name)
                if found and found["Id"] == image.id:
                    self.client.remove_image(name)
            found = inspect_image(self.client, image.id)
            if found and not names(found):
                self.client.remove_image(image.id)
        except docker_errors.NotFound:
            return ""
        except docker_errors.APIError as error:
            return f"Docker reported: {str(error.explanation or error).strip()}"
        return ""


def names(details: dict[str, Any]) -> list[str]:
    """Return the tags and digests in Docker's description of an image."""
    every = [*(details.get("RepoTags") or []), *(details.get("RepoDigests") or [])]
    return [name for name in every if name not in NAMELESS]


def prune(host: Host, options: PruneOptions, check_mode: bool) -> dict[str, Any]:
    """Remove the old images of a hub, and update the record; return the module's result."""
    before = record.load(options.record_file)
    after = record.without(before, record.image_ids(before) - host.ids())
    after = record.with_current(after, options.hub, record.by_kind(options.images), options.keep)
    present = host.images(after["brought"])
    removed: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for image in old_images.plan(after, options.hub, present, host.used()):
        layers = [other.layers for other_id, other in present.items() if other_id != image.id]
        size = old_images.freed_bytes(present[image.id].layers, host.sizes(image.id), layers) if image.remove else 0
        refused = "" if check_mode or not image.remove else host.remove(image)
        gone = image.remove and not refused
        shown = {key: getattr(image, key) for key in ("id", "kind", "names", "beyond")}
        shown.update(reason=refused or image.reason, untagged=image.names if gone and image.others else [])
        if gone and not image.others:
            removed.append({**shown, "bytes": size})
            del present[image.id]
        else:
            kept.append(shown)
    after = record.without(after, {image["id"] for image in removed + kept if image["untagged"] or "bytes" in image})
    if after != before and not check_mode:
        record.save(options.record_file, after)
    return report(removed, kept)


def report(removed: list[dict[str, Any]], kept: list[dict[str, Any]], *messages: str) -> dict[str, Any]:
    """Return the result of the module."""

    def lines(images: list[dict[str, Any]]) -> list[str]:
        return sorted(f"{image['kind']} {label(image['id'], image['names'])} ({image['id'][:19]})" for image in images)

    shown = [
        f"removed: {image['kind']} image {label(image['id'], image['names'])}, about {image['bytes'] / 1e6:.0f} MB"
        for image in removed
    ]
    shown += [
        f"kept: {image['kind']} image {label(image['id'], image['names'])}: {image['reason']}"
        + ("; its name from this project was removed" if image["untagged"] else "")
        for image in kept
        if image["beyond"]
    ]
    left = [image for image in kept if not image["untagged"]]
    return {
        "changed": len(left) < len(kept + removed),
        "removed": removed,
        "kept": kept,
        "freed_bytes": sum(image["bytes"] for image in removed),
        "messages": [*messages, *shown],
        "diff": {"before": {"earlier images": lines(kept + removed)}, "after": {"earlier images": lines(left)}},
    }
