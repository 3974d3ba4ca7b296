"""The record of the images that this project pulled or built on a host; no others are ever removed.

It also lists, for each hub and kind of image, the current images and the order in which the hub used them:

    {"brought": {"sha256:…": ["quay.io/jupyter/minimal-notebook:2026-07-28"]},
     "hubs": {"jupyterhub": {"keep": 2, "current": {"notebook": ["sha256:…"]}, "history": {"notebook": ["sha256:…"]}}}}

A kind is a purpose of the module ``jupyterhub_image``, or ``stage-`` and a purpose: the first stage of a build, whose
layers only the next build reuses.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.images.reference import DEFAULT_REGISTRY, parse

Record = dict[str, Any]

EMPTY: Record = {"brought": {}, "hubs": {}}

STAGE = "stage-"

# The lock on the images and the record: one run at a time pulls, builds or removes images on a host. In /run, because a
# reboot ends all jobs that hold it.
LOCK = "/run/jupyterhub-deploy-images.lock"


def load(path: str) -> Record:
    """Return the record; empty when the file is missing or damaged, so that nothing is removed."""
    try:
        found = json.loads(files.read_text(path) or "null")
    except (OSError, ValueError):
        found = None
    return found if _is_valid(found) else copy.deepcopy(EMPTY)


def _is_valid(record: Any) -> bool:
    """Return whether a record has the structure that this version writes."""

    def lists(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(items, list) and all(isinstance(item, str) for item in items) for items in value.values()
        )

    return (
        isinstance(record, dict)
        and lists(record.get("brought"))
        and isinstance(record.get("hubs"), dict)
        and all(
            isinstance(hub, dict)
            and isinstance(hub.get("keep"), int)
            and lists(hub.get("current"))
            and lists(hub.get("history"))
            for hub in record["hubs"].values()
        )
    )


def save(path: str, record: Record) -> None:
    """Write the record."""
    files.write_atomically(path, json.dumps(record, indent=1, sort_keys=True), 0o644, parents=True)


def canonical(name: str) -> str:
    """Return a name as Docker shows it among the tags or digests of an image.

    :raises DeployError: the name is invalid.
    """
    reference = parse(name)
    repository = reference.remote
    if reference.registry == DEFAULT_REGISTRY and repository.count("/") == 1:
        repository = repository[len("library/") :] if repository.startswith("library/") else repository
    return f"{repository}@{reference.digest}" if reference.digest else f"{repository}:{reference.tag}"


def by_kind(images: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the known ids by purpose, from a list of ``{purpose, name, id}``."""
    found: dict[str, list[str]] = {}
    for image in images:
        if image["id"] and image["id"] not in found.setdefault(image["purpose"], []):
            found[image["purpose"]].append(image["id"])
    return found


def with_image(record: Record, hub: str, kind: str, image_id: str, name: str = "") -> Record:
    """Return the record with an image that was pulled or built for a hub, and its name if it has one."""
    after = copy.deepcopy(record)
    names = after["brought"].setdefault(image_id, [])
    if name and canonical(name) not in names:
        names.append(canonical(name))
    history = _hub(after, hub)["history"].setdefault(kind, [])
    history[:] = [known for known in history if known != image_id] + [image_id]
    return after


def with_current(record: Record, hub: str, current: dict[str, list[str]], keep: int) -> Record:
    """Return the record with the current images of a hub, which become its newest.

    :param current: ids by kind.
    :param keep: how many earlier images of each kind the hub keeps; -1 for all.
    """
    after = copy.deepcopy(record)
    mine = _hub(after, hub)
    mine["keep"], mine["current"] = keep, {kind: sorted(ids) for kind, ids in current.items() if ids}
    for kind, ids in mine["current"].items():
        mine["history"][kind] = [known for known in mine["history"].get(kind, []) if known not in ids] + ids
    return after


def _hub(record: Record, hub: str) -> dict[str, Any]:
    found: dict[str, Any] = record["hubs"].setdefault(hub, {"keep": -1, "current": {}, "history": {}})
    return found


def without(record: Record, gone: set[str]) -> Record:
    """Return the record without images that are no longer on the host."""
    after = copy.deepcopy(record)
    for image_id in gone:
        after["brought"].pop(image_id, None)
    for ids in _lists(after):
        ids[:] = [image_id for image_id in ids if image_id not in gone]
    return after


def image_ids(record: Record) -> set[str]:
    """Return the ids of all images in a record."""
    return set(record["brought"]).union(*_lists(record))


def _lists(record: Record) -> list[list[str]]:
    return [ids for hub in record["hubs"].values() for ids in [*hub["history"].values(), *hub["current"].values()]]


def earlier(record: Record, hub: str) -> dict[str, list[str]]:
    """Return, by kind, the images of a hub that this project pulled or built and that are not current; oldest first."""
    mine = record["hubs"].get(hub) or {"current": {}, "history": {}}
    current = {image_id for ids in mine["current"].values() for image_id in ids}
    return {
        kind: [image_id for image_id in ids if image_id in record["brought"] and image_id not in current]
        for kind, ids in mine["history"].items()
    }


def newest(kind: str, ids: list[str], keep: int) -> list[str]:
    """Return the newest of the earlier images of a kind: those to keep."""
    if keep < 0:
        return ids
    if kind.startswith(STAGE):
        keep = min(keep, 1)  # a build reuses only the layers of the newest stage
    return ids[max(0, len(ids) - keep) :]


def needs_pruning(record: Record, hub: str, current: dict[str, list[str]], keep: int) -> bool:
    """Return whether the record changes or images may be removed; otherwise Docker need not be asked."""
    after = with_current(record, hub, current, keep)
    return after != record or any(len(newest(kind, ids, keep)) < len(ids) for kind, ids in earlier(after, hub).items())
