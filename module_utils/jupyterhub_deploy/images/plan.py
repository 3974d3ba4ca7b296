"""Plan the steps for a hub's images, without access to Docker or files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import smoke_test

PULL, BUILD, BOOTSTRAP, SMOKE_TEST, SAVE_CHOICE = "pull", "build", "bootstrap", "smoke_test", "save_choice"

# The label of a built image: the digest of everything that it was built from.
LABEL = "org.jupyterhub.deploy.context"

# Users' servers are started from these images, so they are tested.
SERVER_PURPOSES = ("notebook", "extra")


@dataclass(frozen=True)
class ImageOptions:
    """The options of the module ``jupyterhub_image``, by their names."""

    source: str
    choice_file: str
    smoke_tests_file: str
    hub: str
    keep: int
    record_file: str
    images: list[dict[str, Any]]
    notebooks: list[str]
    pull_policy: str
    registry_logins: list[dict[str, Any]]
    ca_bundle: str
    build_args: dict[str, Any]
    hub_version: str
    notebook_dir: str
    notebook_command: list[str]
    check_volume_owners: bool
    update: bool
    max_age_days: int
    updates_file: str
    refresh_updates: bool
    archive: str | None
    progress_file: str | None


class Image(NamedTuple):
    """An image that the host should have.

    ``how`` is :data:`PULL`, :data:`BUILD` or :data:`BOOTSTRAP`; ``digest`` is computed from everything that it is built
    from, and empty for an image that is pulled.
    """

    purpose: str
    name: str
    how: str
    digest: str
    args: dict[str, str]


class Present(NamedTuple):
    """An image that the host has: its id, the digest in our label, the digests it was pulled by, and its time."""

    id: str
    digest: str
    repo_digests: list[str]
    created: str = ""


class Step(NamedTuple):
    """An action on an image, with its reason."""

    action: str
    purpose: str
    name: str
    reason: str


def fingerprint(*parts: Any) -> str:
    """Return the SHA-256 digest of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def resolve(wanted: list[dict[str, Any]], source: str) -> list[Image]:
    """Return for each image whether it is pulled or built.

    An image with only a ``reference`` is pulled, an image with only a ``build`` is built. Where there are both, the
    source decides.

    :param wanted: the module's option ``images``.
    :param source: ``pull`` or ``build``.
    """
    base = next((_base(image) for image in wanted if image["purpose"] == "base"), None)
    images = [base] if base else []
    for image in wanted:
        if image["purpose"] == "base":
            continue
        reference, build = image.get("reference") or "", image.get("build") or {}
        if reference and (source == PULL or not build):
            images.append(Image(image["purpose"], reference, PULL, "", {}))
        elif build and base:
            args = {key: str(value) for key, value in (build.get("args") or {}).items()}
            digest = fingerprint(build["context_digest"], args, base.digest or base.name)
            images.append(Image(image["purpose"], build["tag"], BUILD, digest, args))
        else:
            raise DeployError(
                f"the {image['purpose']} image has no name to pull, and no Dockerfile with a base image to build it"
            )
    return images


def _base(image: dict[str, Any]) -> Image:
    """Return the image that the others are built on."""
    if image.get("reference"):
        return Image("base", image["reference"], PULL, "", {})
    build = image["build"]
    args = {key: str(value) for key, value in (build.get("args") or {}).items()}
    return Image("base", build["tag"], BOOTSTRAP, fingerprint(args), args)


def undecided(wanted: list[dict[str, Any]]) -> str:
    """Return the reference of the image that ``auto`` pulls or builds, empty when there is none."""
    return next((str(image["reference"]) for image in wanted if image.get("reference") and image.get("build")), "")


def plan(
    images: list[Image],
    present: dict[str, Present],
    test_results: dict[str, Any],
    notebook_dir: str,
    policy: str = "missing",
    upstream: dict[str, str] | None = None,
    command: Sequence[str] = (),
    outdated: str = "",
) -> list[Step]:
    """Return the steps in order: those that fail quickly first, those that take minutes last.

    :param present: the images that the host has, by name.
    :param test_results: stored results, see :mod:`images.smoke_test`.
    :param policy: ``missing``, ``always`` or ``never``: when to pull.
    :param upstream: for ``always``: the digests that the registry has now, by name.
    :param command: of users' servers, when it is not the image's own.
    :param outdated: why all images that are built here have to be built again, with a new base image.
    :raises DeployError: an image is missing and must not be pulled.
    """
    pulls = [
        step
        for image in images
        if image.how == PULL and image.purpose != "base"
        for step in _pull(image, present, policy, upstream or {})
    ]
    builds = [
        Step(BUILD, image.purpose, image.name, reason)
        for image in images
        if image.how == BUILD
        for reason in _stale(image, present, outdated)
    ]
    if builds:
        for base in (image for image in images if image.purpose == "base"):
            if base.how == PULL:
                pulls += _pull(base, present, policy, upstream or {})
            else:
                builds[:0] = [Step(BOOTSTRAP, "base", base.name, reason) for reason in _stale(base, present, outdated)]
    made = {step.name for step in builds}
    fresh = {step.name for step in pulls} | made
    tests = []
    for image in images:
        if image.purpose in SERVER_PURPOSES:
            found = present.get(image.name)
            key = smoke_test.key(found.id, notebook_dir, command) if found else None
            if image.name in fresh or key not in test_results:
                tests.append(Step(SMOKE_TEST, image.purpose, image.name, "has not been tested yet"))
    early = [step for step in tests if step.name not in made]
    late = [step for step in tests if step.name in made]
    return list(dict.fromkeys(pulls + early + builds + late))


def _pull(image: Image, present: dict[str, Present], policy: str, upstream: dict[str, str]) -> list[Step]:
    """Return the step that pulls an image, or an empty list."""
    found = present.get(image.name)
    if policy == "never" and not found:
        raise DeployError(
            f"image {image.name} is not on this host and the pull policy is never; load it (docker load), "
            "or set jupyterhub_pull_policy to missing"
        )
    if not found:
        return [Step(PULL, image.purpose, image.name, "is not on this host")]
    if policy != "always" or "@" in image.name:  # the content of a digest cannot change
        return []
    digest = upstream.get(image.name)
    if not digest:
        return [Step(PULL, image.purpose, image.name, "the registry was not asked for a newer image")]
    if any(known.endswith("@" + digest) for known in found.repo_digests):
        return []
    return [Step(PULL, image.purpose, image.name, "the registry has a different image with this name")]


def _stale(image: Image, present: dict[str, Present], outdated: str) -> list[str]:
    """Return why an image has to be built, or an empty list."""
    found = present.get(image.name)
    if not found:
        return ["is not on this host"]
    if found.digest != image.digest:
        return ["what it is built from has changed"]
    return [outdated] if outdated else []


def outcome(source: str, images: list[Image], ids: dict[str, str | None]) -> dict[str, Any]:
    """Return the result for the next role: names and ids of the images that it uses, and all images.

    The base image is in the list only where something is built on it. ``front`` is empty where no front is wanted.

    :param ids: image ids by name, ``None`` for an image that does not exist yet (in check mode).
    """
    result: dict[str, Any] = {"source": source, "front": "", "front_id": None}
    for image in images:
        if image.purpose in ("hub", "proxy", "notebook", "front"):
            result[image.purpose] = image.name
            result[f"{image.purpose}_id"] = ids.get(image.name)
    built = any(image.how == BUILD for image in images)
    result["images"] = [
        {"purpose": image.purpose, "name": image.name, "id": ids.get(image.name)}
        for image in images
        if image.purpose != "base" or built
    ]
    return result
