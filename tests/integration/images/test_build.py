"""Build images with the real Docker, from a small Dockerfile on an image of three megabytes."""

from __future__ import annotations

import contextlib
import fcntl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.images import record
from ansible.plugins.loader import action_loader

import jupyterhub_image
from hosts.run import name as run_name
from support.factories import images as tiny_images
from support.modules import ModuleError, run

ROOT = Path(__file__).resolve().parents[3]
BASE, HUB, NOTEBOOK = (run_name(f"build-{image}:1") for image in ("base", "hub", "notebook"))

# As in our own Dockerfiles, the certificates stay in the first stage. The image only has sh, sed and id.
RECIPE = """\
ARG BASE
FROM ${BASE} AS build
COPY ca-bundle.crt words /build/
ARG PIP_INDEX_URL
ARG WORD
USER 0
RUN sed -n 1p /build/words > /made && [ -s /build/ca-bundle.crt ]
LABEL org.jupyterhub.deploy.stage=hub
FROM ${BASE}
COPY --from=build /made /made
"""


class Workshop:
    """Two Dockerfiles, a base image, and a Docker client to build them with."""

    def __init__(self, folder: Path) -> None:
        self.client = docker.APIClient(version="auto")
        self.folder = folder
        self.certificates = folder / "ca.pem"
        self.certificates.write_text("certificates of a site\n")
        for purpose in ("hub", "notebook"):
            (folder / purpose).mkdir()
            (folder / purpose / "Dockerfile").write_text(RECIPE)
            (folder / purpose / "words").write_text("one\n")
        action_loader.add_directory(str(ROOT / "action_plugins"))
        self.plugin: Any = sys.modules[action_loader.get("jupyterhub_image", class_only=True).__module__]

    def make(self, check: bool = False, word: str = "a", **settings: Any) -> dict[str, Any]:
        """Run the module with the arguments that the action plugin would pass."""
        contexts = {purpose: self.plugin.context_files(str(self.folder / purpose)) for purpose in ("hub", "notebook")}
        (self.folder / "contexts.tar.gz").write_bytes(self.plugin.archive(contexts))
        images = [{"purpose": "base", "reference": BASE}] + [
            {
                "purpose": purpose,
                "build": {
                    "tag": tag,
                    "context_digest": self.plugin.context_digest(contexts[purpose]),
                    "args": {"WORD": word},
                },
            }
            for purpose, tag in (("hub", HUB), ("notebook", NOTEBOOK))
        ]
        arguments = {
            "images": images,
            "hub_version": "5.5.4",
            "ca_bundle": str(self.certificates),
            "archive": str(self.folder / "contexts.tar.gz"),
            "smoke_tests_file": str(self.folder / "tests.json"),
            "record_file": str(self.folder / "images.json"),
            "progress_file": str(self.folder / "progress"),
            **settings,
        }
        return run(jupyterhub_image, check=check, **arguments)

    def forget(self) -> None:
        for name in (HUB, NOTEBOOK, BASE):
            with contextlib.suppress(docker.errors.ImageNotFound):
                self.client.remove_image(name, force=True)
        for stage in self.stages():
            self.client.remove_image(stage["Id"], force=True)

    def stages(self) -> list[Any]:
        """Return the dangling build stages of this test."""
        filters = {"dangling": True, "label": "org.jupyterhub.deploy.stage=hub"}
        stages = self.client.images(filters=filters)
        return [stage for stage in stages if any("/build/words" in step["CreatedBy"] for step in self.history(stage))]

    def history(self, image: Any) -> list[Any]:
        steps: list[Any] = self.client.history(image["Id"])
        return steps


@pytest.fixture
def workshop(local_docker: None, tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    made.forget()
    tiny_images.make(made.client, BASE, tiny_images.single_user("5.5.4"))
    yield made
    made.forget()


def done(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["action"], step["name"]) for step in result["steps"]]


def test_images_are_built_only_once(workshop: Workshop) -> None:
    planned = workshop.make(check=True)
    assert done(planned) == [("build", HUB), ("build", NOTEBOOK), ("smoke_test", NOTEBOOK)]
    assert planned["result"]["hub_id"] is None
    assert planned["diff"]["after"][HUB] == "build: is not on this host"

    first = workshop.make()
    assert done(first) == done(planned)
    assert first["result"]["hub_id"] == workshop.client.inspect_image(HUB)["Id"]
    assert "hub image: step 3/" in (workshop.folder / "progress").read_text()
    assert workshop.make()["changed"] is False
    assert workshop.make(check=True)["changed"] is False


def test_a_built_image_is_recorded_with_its_first_stage(workshop: Workshop) -> None:
    first = workshop.make()["result"]["hub_id"]
    (workshop.folder / "hub" / "words").write_text("two\n")
    second = workshop.make()["result"]["hub_id"]

    stored = record.load(str(workshop.folder / "images.json"))
    history = stored["hubs"]["jupyterhub"]["history"]
    assert history["hub"] == [first, second]
    assert HUB in stored["brought"][first]
    assert stored["brought"][second] == [HUB]
    assert history["stage-hub"][-1] == workshop.stages()[0]["Id"]
    assert "base" not in history  # it existed before


def test_rebuilt_when_recipe_file_or_argument_changes_and_only_then(workshop: Workshop) -> None:
    first = workshop.make()["result"]
    (workshop.folder / "hub" / "words").write_text("two\n")
    changed = workshop.make()
    assert done(changed) == [("build", HUB)]
    assert changed["steps"][0]["reason"] == "what it is built from has changed"
    assert changed["result"]["hub_id"] != first["hub_id"]

    assert done(workshop.make(word="b", check=True)) == [("build", HUB), ("build", NOTEBOOK), ("smoke_test", NOTEBOOK)]
    assert workshop.make(build_args={"PIP_INDEX_URL": "https://pip.example.com/simple"})["changed"] is False


def test_certificates_and_addresses_stay_in_the_first_stage(workshop: Workshop) -> None:
    workshop.make(build_args={"PIP_INDEX_URL": "https://pip.example.com/simple"})

    assert "pip.example.com" not in str(workshop.client.history(HUB))
    made = workshop.client.create_container(HUB, ["sh"])["Id"]
    try:
        files = b"".join(workshop.client.export(made))
    finally:
        workshop.client.remove_container(made)
    assert b"certificates of a site" not in files
    assert b"jupyterhub-singleuser" in files


def test_only_the_newest_first_stage_is_kept(workshop: Workshop) -> None:
    for word in ("one", "two", "three"):
        (workshop.folder / "hub" / "words").write_text(word + "\n")
        workshop.make()

    assert len(workshop.stages()) == 1


def test_a_failed_build_reports_step_and_cause_and_keeps_the_old_image(workshop: Workshop) -> None:
    before = workshop.make()["result"]["hub_id"]
    recipe = RECIPE.replace("RUN sed", "RUN apt-get install nothing; echo no such mirror; exit 7; sed")
    (workshop.folder / "hub" / "Dockerfile").write_text(recipe)

    with pytest.raises(
        ModuleError, match=rf"image {HUB} could not be built \(step 7/\d+, install distribution"
    ) as error:
        workshop.make()
    assert "no such mirror" in str(error.value)
    assert workshop.client.inspect_image(HUB)["Id"] == before


def test_a_missing_certificate_bundle_is_reported(workshop: Workshop) -> None:
    with pytest.raises(ModuleError, match=r"nosuch\.pem cannot be read.*jupyterhub_ca_bundle"):
        workshop.make(ca_bundle="/etc/nosuch.pem")


def test_a_second_run_waits_for_the_first(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = workshop.folder / "lock"
    monkeypatch.setattr(record, "LOCK", str(lock))
    progress = workshop.folder / "progress"
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=workshop.make)
        waiting.start()
        deadline = time.monotonic() + 30
        while not (progress.exists() and "waiting for another run" in progress.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(docker.errors.ImageNotFound):
            workshop.client.inspect_image(HUB)
    waiting.join(timeout=60)
    assert workshop.client.inspect_image(HUB)
