"""Decide which images of a host are old. The only I/O is the record file.

A *record* on the host lists the images that this project pulled or built there (no others are ever removed) and, for
each hub and kind of image, the current images and the order in which it used them:

    {"brought": {"sha256:…": ["quay.io/jupyter/minimal-notebook:2026-07-28"]},
     "hubs": {"jupyterhub": {"keep": 2, "current": {"notebook": ["sha256:…"]}, "history": {"notebook": ["sha256:…"]}}}}

A kind is a purpose of the module ``jupyterhub_image``, or ``stage-`` and a purpose: the first stage of a build, whose
layers only the next build reuses.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.images.reference import DEFAULT_REGISTRY, parse

Record = dict[str, Any]

EMPTY: Record = {"brought": {}, "hubs": {}}

STAGE = "stage-"


class Found(NamedTuple):
    """An image that the host has.

    ``names`` are its tags and digests, ``parents`` the images that it was built on according to Docker, and ``layers``
    the digests of its layers, lowest first.
    """

    names: list[str]
    parents: list[str]
    layers: list[str]


class Verdict(NamedTuple):
    """Whether an earlier image is removed, and why.

    ``names`` were given by this project, ``others`` by somebody else: an image to remove that has others only loses
    ``names``. ``beyond`` is true when it is older than the images that the operator wants to keep.
    """

    id: str
    kind: str
    names: list[str]
    others: list[str]
    beyond: bool
    remove: bool
    reason: str


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


def load(path: str) -> Record:
    """Return the record; empty when the file is missing or damaged, so that nothing is removed."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        return found if _is_valid(found) else copy.deepcopy(EMPTY)
    except (OSError, ValueError):
        return copy.deepcopy(EMPTY)


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
    """Write the record atomically."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    files.write_atomically(path, json.dumps(record, indent=1, sort_keys=True), 0o644)


def _hub(record: Record, hub: str) -> dict[str, Any]:
    found: dict[str, Any] = record["hubs"].setdefault(hub, {"keep": -1, "current": {}, "history": {}})
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


def recorded_ids(record: Record) -> set[str]:
    """Return the ids of all images in a record."""
    listed = [ids for hub in record["hubs"].values() for ids in [*hub["history"].values(), *hub["current"].values()]]
    return set(record["brought"]).union(*listed)


def without(record: Record, gone: set[str]) -> Record:
    """Return the record without images that are no longer on the host."""
    after = copy.deepcopy(record)
    for image_id in gone:
        after["brought"].pop(image_id, None)
    for hub in after["hubs"].values():
        for ids in [*hub["history"].values(), *hub["current"].values()]:
            ids[:] = [image_id for image_id in ids if image_id not in gone]
    return after


def _earlier(record: Record, hub: str) -> dict[str, list[str]]:
    """Return, by kind, the images of a hub that this project pulled or built and that are not current; oldest first."""
    mine = record["hubs"].get(hub) or {"current": {}, "history": {}}
    current = {image_id for ids in mine["current"].values() for image_id in ids}
    return {
        kind: [image_id for image_id in ids if image_id in record["brought"] and image_id not in current]
        for kind, ids in mine["history"].items()
    }


def _newest(kind: str, ids: list[str], keep: int) -> list[str]:
    """Return the newest of the earlier images, which are kept."""
    if keep < 0:
        return ids
    if kind.startswith(STAGE):
        keep = min(keep, 1)  # a build reuses only the layers of the newest stage
    return ids[len(ids) - keep :] if keep < len(ids) else ids


def needs_pruning(record: Record, hub: str, current: dict[str, list[str]], keep: int) -> bool:
    """Return whether the record changes or images may be removed; otherwise Docker need not be asked."""
    after = with_current(record, hub, current, keep)
    return after != record or any(
        len(_newest(kind, ids, keep)) < len(ids) for kind, ids in _earlier(after, hub).items()
    )


def plan(record: Record, hub: str, present: dict[str, Found], used: dict[str, str]) -> list[Verdict]:
    """Return the verdict on each earlier image of a hub that is on the host, in the order of removal.

    :param record: what :func:`with_current` returned.
    :param present: the images that the host has, by id, without intermediate images of builds.
    :param used: the reason for each id that must stay: ``container jupyter-alice uses it``.
    """
    stay, wanted = dict(used), set()
    for name, other in record["hubs"].items():
        for ids in other["current"].values():
            for image_id in ids:
                stay.setdefault(image_id, f"hub {name} uses it")
        for kind, ids in _earlier(record, name).items():
            for image_id in _newest(kind, _present(ids, present), other["keep"]):
                stay.setdefault(image_id, _reason_to_keep(kind, other["keep"], name))
                if name == hub:
                    wanted.add(image_id)
    mine = {image_id: kind for kind, ids in _earlier(record, hub).items() for image_id in _present(ids, present)}
    going = [image_id for image_id in mine if image_id not in stay]
    blocked: dict[str, str] = {"": ""}
    while blocked:
        staying = [other for other in present if other not in going]
        blocked = {
            image_id: next((other for other in staying if _built_on(other, image_id, present, record)), "")
            for image_id in going
        }
        blocked = {image_id: other for image_id, other in blocked.items() if other}
        going = [image_id for image_id in going if image_id not in blocked]
        for image_id, other in blocked.items():
            stay[image_id] = f"image {label(other, present[other].names)} is built on it"
    verdicts = []
    for image_id, kind in mine.items():
        names = project_names(present[image_id].names, record["brought"][image_id])
        reason = stay.get(image_id, f"is older than the {kind} images to keep")
        others = [name for name in present[image_id].names if name not in names]
        verdicts.append(Verdict(image_id, kind, names, others, image_id not in wanted, image_id in going, reason))
    # An image is removed before the image that it is built on.
    return sorted(verdicts, key=lambda verdict: (-len(present[verdict.id].layers), -len(present[verdict.id].parents)))


def project_names(names: list[str], given: list[str]) -> list[str]:
    """Return the names of an image that it has because this project gave it the names ``given``.

    A pull by tag adds a digest too, which stays when the tag moves to another image.
    """
    repositories = {name.partition("@")[0] if "@" in name else name.rpartition(":")[0] for name in given}
    return [name for name in names if name in given or ("@" in name and name.partition("@")[0] in repositories)]


def label(image_id: str, names: list[str]) -> str:
    """Return the name of an image for messages: its first name, or the beginning of its id."""
    return names[0] if names else image_id[:19]


def _present(ids: list[str], present: dict[str, Found]) -> list[str]:
    return [image_id for image_id in ids if image_id in present]


def _reason_to_keep(kind: str, keep: int, hub: str) -> str:
    if kind.startswith(STAGE):
        return "it speeds up the next build"
    if keep < 0:
        return f"hub {hub} keeps all"
    return f"among the newest {keep} earlier {kind} images of hub {hub}"


def _built_on(other: str, image_id: str, present: dict[str, Found], record: Record) -> bool:
    """Return whether an image is built on another.

    Docker knows this only for images that its classic builder built on this host. For images of BuildKit, the layers
    are compared. An image that was pulled may share layers with an earlier one, but does not depend on it.
    """
    if other == image_id:
        return False
    if image_id in present[other].parents:
        return True
    layers = present[image_id].layers
    return other not in record["brought"] and bool(layers) and present[other].layers[: len(layers)] == layers


def freed_bytes(layers: list[str], sizes: list[int], others: list[list[str]]) -> int:
    """Return about how many bytes the removal of an image frees: those of layers that no other image has.

    :param sizes: from Docker's history of the image, lowest first; steps without a layer have size 0, and so may a
        layer.
    :param others: the layers of the images that are kept.
    """
    shared = max((_common(layers, other) for other in others), default=0)
    return sum([size for size in sizes if size][shared:])


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other):
        if left != right:
            break
        count += 1
    return count
