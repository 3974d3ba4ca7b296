"""Which images are pulled, built or kept."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import smoke_test
from ansible.module_utils.jupyterhub_deploy.images.plan import Image, Present, outcome, plan, resolve, undecided

FOLDER = "/home/jovyan/work"
BASE: dict[str, Any] = {"purpose": "base", "build": {"tag": "base:x", "args": {"suite": "x", "packages": "tini"}}}
HUB: dict[str, Any] = {"purpose": "hub", "build": {"tag": "hub:1", "context_digest": "h", "args": {"V": 1}}}
NOTEBOOK = {"purpose": "notebook", "reference": "quay.io/n:1", "build": {"tag": "n:built", "context_digest": "n"}}
WANTED = [BASE, HUB, NOTEBOOK]


def present(images, **ids):
    """Return the images of a host that has all of them, up to date."""
    return {image.name: Present(ids.get(image.purpose, image.purpose + "-id"), image.digest, []) for image in images}


def stored_results(*ids):
    return {smoke_test.key(id_, FOLDER): {} for id_ in ids}


def actions(steps):
    return [(step.action, step.name) for step in steps]


def test_source_decides_where_there_is_a_choice():
    assert [image.how for image in resolve(WANTED, "pull")] == ["bootstrap", "build", "pull"]
    assert [image.name for image in resolve(WANTED, "build")] == ["base:x", "hub:1", "n:built"]


def test_a_named_image_is_pulled_whatever_the_source():
    own = {"purpose": "notebook", "reference": "registry.example.com/own:1", "build": None}
    assert resolve([BASE, own], "build")[1] == Image("notebook", "registry.example.com/own:1", "pull", "", {})
    assert undecided([BASE, HUB, own]) == ""
    assert undecided(WANTED) == "quay.io/n:1"


def test_the_digest_depends_on_dockerfile_arguments_and_base():
    def digests(wanted):
        return [image.digest for image in resolve(wanted, "build")]

    first = digests(WANTED)
    other_base = {**BASE, "build": {**BASE["build"], "args": {"suite": "y", "packages": "tini"}}}
    assert all(a != b for a, b in zip(first, digests([other_base, HUB, NOTEBOOK])))
    other_hub = {**HUB, "build": {**HUB["build"], "args": {"V": 2}}}
    assert [a == b for a, b in zip(first, digests([BASE, other_hub, NOTEBOOK]))] == [True, False, True]
    pulled_base = {"purpose": "base", "reference": "debian:1", "build": BASE["build"]}
    assert digests([pulled_base, HUB, NOTEBOOK])[1] != first[1]


def test_an_image_without_name_and_dockerfile_is_refused():
    with pytest.raises(DeployError, match="hub image"):
        resolve([{"purpose": "hub", "reference": "", "build": None}], "pull")


def test_an_empty_host_pulls_and_tests_first_and_builds_last():
    images = resolve(WANTED, "pull")
    assert actions(plan(images, {}, {}, FOLDER)) == [
        ("pull", "quay.io/n:1"),
        ("smoke_test", "quay.io/n:1"),
        ("bootstrap", "base:x"),
        ("build", "hub:1"),
    ]


def test_a_built_notebook_is_tested_after_the_build():
    images = resolve(WANTED, "build")
    assert actions(plan(images, {}, {}, FOLDER))[-2:] == [("build", "n:built"), ("smoke_test", "n:built")]


def test_nothing_to_do_when_all_is_there():
    for source in ("pull", "build"):
        images = resolve(WANTED, source)
        assert plan(images, present(images), stored_results("notebook-id"), FOLDER) == []


def test_the_base_is_made_only_when_something_is_built_on_it():
    images = resolve(WANTED, "pull")
    there = present(images)
    del there["base:x"]
    assert plan(images, there, stored_results("notebook-id"), FOLDER) == []
    del there["hub:1"]
    assert actions(plan(images, there, stored_results("notebook-id"), FOLDER)) == [
        ("bootstrap", "base:x"),
        ("build", "hub:1"),
    ]


def test_a_changed_dockerfile_is_built_again_with_the_reason():
    images = resolve(WANTED, "pull")
    there = {**present(images), "hub:1": Present("hub-id", "older", [])}
    (step,) = plan(images, there, stored_results("notebook-id"), FOLDER)
    assert (step.action, step.name, step.reason) == ("build", "hub:1", "what it is built from has changed")


def test_new_content_is_tested_again():
    images = resolve(WANTED, "pull")
    assert actions(plan(images, present(images, notebook="new"), stored_results("old"), FOLDER)) == [
        ("smoke_test", "quay.io/n:1")
    ]
    assert actions(plan(images, present(images, notebook="old"), stored_results("old"), "/srv")) == [
        ("smoke_test", "quay.io/n:1")
    ]


class TestPolicy:
    images = (Image("notebook", "quay.io/n:1", "pull", "", {}),)

    def steps(self, policy, found, upstream=""):
        return actions(
            plan(
                list(self.images),
                {"quay.io/n:1": found},
                stored_results("id"),
                FOLDER,
                policy,
                {"quay.io/n:1": upstream},
            )
        )

    def test_missing_does_not_ask_the_registry_about_images_on_the_host(self):
        assert self.steps("missing", Present("id", "", ["quay.io/n@sha256:a"]), "sha256:b") == []

    def test_always_pulls_changed_images(self):
        found = Present("id", "", ["quay.io/n@sha256:a"])
        assert self.steps("always", found, "sha256:a") == []
        assert self.steps("always", found, "sha256:b")[0] == ("pull", "quay.io/n:1")

    def test_always_does_not_pull_a_digest_again(self):
        name = "quay.io/n@sha256:" + "a" * 64
        images = [Image("notebook", name, "pull", "", {})]
        assert plan(images, {name: Present("id", "", [])}, stored_results("id"), FOLDER, "always", {}) == []

    def test_always_does_not_pull_built_images(self):
        images = resolve(WANTED, "build")
        assert plan(images, present(images), stored_results("notebook-id"), FOLDER, "always", {}) == []

    def test_always_pulls_a_named_base_only_when_something_is_built_on_it(self):
        images = resolve([{"purpose": "base", "reference": "debian:1"}, HUB], "pull")
        there = present(images)
        assert plan(images, there, {}, FOLDER, "always", {}) == []
        del there["hub:1"]
        assert actions(plan(images, there, {}, FOLDER, "always", {})) == [("pull", "debian:1"), ("build", "hub:1")]
        assert actions(plan(images, there, {}, FOLDER, "missing", {})) == [("build", "hub:1")]

    def test_never_refuses_missing_images(self):
        with pytest.raises(DeployError, match=r"quay\.io/n:1 is not on this host and the pull policy is never"):
            plan(list(self.images), {}, {}, FOLDER, "never")


def test_outcome_names_what_the_next_role_needs():
    images = resolve(WANTED, "build")
    assert outcome("build", images, {"hub:1": "sha256:1"}) == {
        "source": "build", "front": "", "front_id": None,
        "hub": "hub:1", "hub_id": "sha256:1", "notebook": "n:built", "notebook_id": None,
        "images": [
            {"purpose": "base", "name": "base:x", "id": None},
            {"purpose": "hub", "name": "hub:1", "id": "sha256:1"},
            {"purpose": "notebook", "name": "n:built", "id": None},
        ],
    }  # fmt: skip


def test_outcome_names_the_front_where_one_is_wanted():
    front = {"purpose": "front", "build": {"tag": "front:1", "context_digest": "f"}}
    found = outcome("build", resolve([*WANTED, front], "build"), {"front:1": "sha256:2"})
    assert (found["front"], found["front_id"]) == ("front:1", "sha256:2")
    assert found["images"][-1] == {"purpose": "front", "name": "front:1", "id": "sha256:2"}


def test_a_base_that_nothing_is_built_on_is_not_in_use():
    images = resolve([BASE, {"purpose": "hub", "reference": "hub:1"}], "pull")
    assert [image["purpose"] for image in outcome("pull", images, {})["images"]] == ["hub"]


def test_all_built_images_are_built_again_on_a_new_base_when_they_are_outdated():
    reason = "the distribution has updates for openssl"
    images = resolve(WANTED, "build")
    steps = plan(images, present(images), stored_results("notebook-id"), FOLDER, outdated=reason)
    assert actions(steps) == [
        ("bootstrap", "base:x"), ("build", "hub:1"), ("build", "n:built"), ("smoke_test", "n:built"),
    ]  # fmt: skip
    assert {step.reason for step in steps[:3]} == {reason}
    pulled = resolve(WANTED, "pull")
    steps = plan(pulled, present(pulled), stored_results("notebook-id"), FOLDER, outdated=reason)
    assert actions(steps) == [("bootstrap", "base:x"), ("build", "hub:1")]
