"""Decide which images of a host are old. Pure: no I/O."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.images.record import STAGE, Record, earlier, newest


class HostImage(NamedTuple):
    """An image that the host has.

    ``names`` are its tags and digests, ``parents`` the images that it was built on according to Docker, and ``layers``
    the digests of its layers, lowest first.
    """

    names: list[str]
    parents: list[str]
    layers: list[str]


class OldImage(NamedTuple):
    """An earlier image of a hub, whether it is removed, and why.

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


def plan(record: Record, hub: str, present: dict[str, HostImage], used: dict[str, str]) -> list[OldImage]:
    """Return the earlier images of a hub that are on the host, in the order of removal.

    :param record: what ``record.with_current`` returned.
    :param present: the images that the host has, by id, without intermediate images of builds.
    :param used: the reason for each id that must stay: ``container jupyter-alice uses it``.
    """
    stay, wanted = dict(used), set()
    for name, other in record["hubs"].items():
        for image_id in itertools.chain(*other["current"].values()):
            stay.setdefault(image_id, f"hub {name} uses it")
        for kind, ids in earlier(record, name).items():
            for image_id in newest(kind, [known for known in ids if known in present], other["keep"]):
                stay.setdefault(image_id, _reason_to_keep(kind, other["keep"], name))
                if name == hub:
                    wanted.add(image_id)
    kinds = {image_id: kind for kind, ids in earlier(record, hub).items() for image_id in ids if image_id in present}
    stay = _with_bases(stay, set(kinds), present, record)
    found = []
    for image_id, kind in kinds.items():
        names = project_names(present[image_id].names, record["brought"][image_id])
        others = [name for name in present[image_id].names if name not in names]
        named = f"it is also called {', '.join(others)}" if others else f"is older than the {kind} images to keep"
        reason = stay.get(image_id, named)
        found.append(OldImage(image_id, kind, names, others, image_id not in wanted, image_id not in stay, reason))
    # An image is removed before the image that it is built on.
    return sorted(found, key=lambda image: (-len(present[image.id].layers), -len(present[image.id].parents)))


def _with_bases(
    stay: dict[str, str], candidates: set[str], present: dict[str, HostImage], record: Record
) -> dict[str, str]:
    """Return the reasons to keep images, with those of the candidates on which an image that stays is built."""
    going = candidates - set(stay)
    while True:
        staying = [other for other in present if other not in going]
        bases = {
            image_id: f"image {label(other, present[other].names)} is built on it"
            for image_id in going
            for other in reversed(staying)  # the reason is the first of them
            if _built_on(other, image_id, present, record)
        }
        if not bases:
            return stay
        stay, going = {**stay, **bases}, going - set(bases)


def project_names(names: list[str], given: list[str]) -> list[str]:
    """Return the names of an image that it has because this project gave it the names ``given``.

    A pull by tag adds a digest too, which stays when the tag moves to another image.
    """
    repositories = {name.partition("@")[0] if "@" in name else name.rpartition(":")[0] for name in given}
    return [name for name in names if name in given or ("@" in name and name.partition("@")[0] in repositories)]


def label(image_id: str, names: list[str]) -> str:
    """Return the name of an image for messages: its first name, or the beginning of its id."""
    return names[0] if names else image_id[:19]


def _reason_to_keep(kind: str, keep: int, hub: str) -> str:
    if kind.startswith(STAGE):
        return "it speeds up the next build"
    if keep < 0:
        return f"hub {hub} keeps all"
    return f"among the newest {keep} earlier {kind} images of hub {hub}"


def _built_on(other: str, image_id: str, present: dict[str, HostImage], record: Record) -> bool:
    """Return whether an image is built on another.

    Docker knows this only for images that its classic builder built on this host. For images of BuildKit, the layers
    are compared. An image that was pulled may share layers with an earlier one, but does not depend on it.
    """
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

    def shared(other: list[str]) -> int:
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(layers, other)))

    return sum([size for size in sizes if size][max(map(shared, others), default=0) :])
