"""Remove old images from the real Docker: which are removed, and each reason to keep one."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.images import prune, record

import jupyterhub_old_images
from hosts.run import name as run_name
from support.factories import images as tiny_images
from support.modules import run

PREFIX = run_name("old")
NAME, HUB, OTHER = f"{PREFIX}-notebook:1", f"{PREFIX}-a", f"{PREFIX}-b"


class Shop:
    """A hub whose notebook image is replaced several times under one name. Docker is real, no hub runs."""

    def __init__(self, folder: Path) -> None:
        self.client = docker.APIClient(version="auto")
        self.file = str(folder / "images.json")
        self.made: list[str] = []

    def make(self, word: str, name: str = NAME) -> str:
        """Make an image that this project has not pulled or built."""
        scratch = f"{PREFIX}-scratch:1"
        made = tiny_images.make(self.client, scratch, {"word": f"{word} {PREFIX}"})  # no layer of another run's
        repository, _, tag = name.rpartition(":")
        self.client.tag(made, repository, tag)
        self.client.remove_image(scratch)
        self.made.append(made)
        return made

    def bring(self, word: str, name: str = NAME, hub: str = HUB, kind: str = "notebook") -> str:
        """Make an image, and record it as pulled or built by a run."""
        made = self.make(word, name)
        record.save(self.file, record.with_image(record.load(self.file), hub, kind, made, name))
        return made

    def tidy(self, current: str, keep: int = 0, hub: str = HUB, check: bool = False, **more: str) -> dict[str, Any]:
        """Run the module for a hub with its current image, and current images of other kinds."""
        images = [{"purpose": kind, "name": NAME, "id": id_} for kind, id_ in {"notebook": current, **more}.items()]
        return run(
            jupyterhub_old_images, hub=hub, images=images, keep=keep, record_file=self.file, check=check, diff=True
        )

    def here(self) -> list[str]:
        """Return the images of this test that still exist."""
        there = {image["Id"] for image in self.client.images(all=True)}
        return [made for made in self.made if made in there]

    def names(self, image_id: str) -> list[str]:
        names: list[str] = self.client.inspect_image(image_id)["RepoTags"]
        return names

    @contextlib.contextmanager
    def container(self, image_id: str, **options: Any) -> Iterator[str]:
        """Create a container of an image, without starting it."""
        name = f"{PREFIX}-container"
        made = self.client.create_container(image_id, ["sh"], name=name, **options)["Id"]
        try:
            yield name
        finally:
            self.client.remove_container(made)

    def forget(self) -> None:
        for image in self.client.images(all=True):
            if image["Id"] in self.made or any(name.startswith(PREFIX) for name in image["RepoTags"] or []):
                with contextlib.suppress(docker.errors.APIError):
                    self.client.remove_image(image["Id"], force=True)


@pytest.fixture
def shop(local_docker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # A separate lock, because other processes use the images of this machine.
    monkeypatch.setattr(record, "LOCK", str(tmp_path / "lock"))
    made = Shop(tmp_path)
    made.forget()
    yield made
    made.forget()


def ids(images: list[dict[str, Any]]) -> set[str]:
    return {image["id"] for image in images}


def reason(result: dict[str, Any], image_id: str) -> str:
    return str(next(image["reason"] for image in result["kept"] if image["id"] == image_id))


def test_earlier_images_of_the_same_tag_are_removed_except_the_newest(shop: Shop) -> None:
    one, two, three = (shop.bring(word) for word in ("one", "two", "three"))

    planned = shop.tidy(three, keep=1, check=True)
    assert shop.here() == [one, two, three]
    assert planned["changed"] is True
    assert ids(planned["removed"]) == {one}

    done = shop.tidy(three, keep=1)
    assert shop.here() == [two, three]
    assert (done["removed"], done["kept"]) == (planned["removed"], planned["kept"])
    assert done["diff"] == planned["diff"]
    assert len(done["diff"]["before"]["earlier images"]) == 2
    assert 1_000_000 < done["freed_bytes"] < 10_000_000
    assert done["messages"] == [f"removed: notebook image {one[:19]}, about 3 MB"]

    second = shop.tidy(three, keep=1)
    assert second["changed"] is False
    assert ids(second["kept"]) == {two}
    assert not record.needs_pruning(record.load(shop.file), HUB, {"notebook": [three]}, 1)


def test_an_earlier_name_is_removed_with_its_image(shop: Shop) -> None:
    one = shop.bring("one", f"{PREFIX}-before:1")
    two = shop.bring("two")
    result = shop.tidy(two)
    assert result["removed"][0]["names"] == [f"{PREFIX}-before:1"]
    assert shop.here() == [two]
    assert one not in record.load(shop.file)["brought"]


def test_an_image_with_a_name_of_somebody_else_only_loses_our_name(shop: Shop) -> None:
    one = shop.bring("one", f"{PREFIX}-before:1")
    shop.client.tag(one, f"{PREFIX}-mine", "1")
    two = shop.bring("two")
    planned, result = shop.tidy(two, check=True), shop.tidy(two)
    assert shop.names(one) == [f"{PREFIX}-mine:1"]
    assert reason(result, one) == f"it is also called {PREFIX}-mine:1"
    assert result["kept"][0]["untagged"] == [f"{PREFIX}-before:1"]
    assert planned == result
    assert result["changed"] is True
    assert shop.tidy(two)["changed"] is False


def test_the_image_of_a_stopped_container_is_kept_until_the_container_is_removed(shop: Shop) -> None:
    one, two = shop.bring("one"), shop.bring("two")
    with shop.container(one) as name:
        result = shop.tidy(two)
        assert result["changed"] is False
        assert reason(result, one) == f"stopped container {name} uses it"
        assert result["messages"] == [f"kept: notebook image {one[:19]}: stopped container {name} uses it"]
        assert shop.here() == [one, two]
    assert ids(shop.tidy(two)["removed"]) == {one}


def test_the_image_from_which_a_hub_starts_servers_is_kept(shop: Shop) -> None:
    one, two = shop.bring("one"), shop.bring("two")
    labels = {"org.jupyterhub.deploy.hub": OTHER, "org.jupyterhub.deploy.notebook-image-id": one}
    with shop.container(two, labels=labels):
        assert reason(shop.tidy(two), one) == f"hub {OTHER} starts servers from it"


def test_all_images_of_another_hub_are_kept(shop: Shop) -> None:
    one, two, three, four = (shop.bring(word) for word in ("one", "two", "three", "four"))
    shop.tidy(one, hub=OTHER, extra=two, keep=2)
    result = shop.tidy(four)
    assert ids(result["removed"]) == {three}
    assert reason(result, one) == reason(result, two) == f"hub {OTHER} uses it"


def test_images_that_are_not_recorded_are_never_removed(shop: Shop) -> None:
    foreign = shop.make("foreign")
    named = shop.make("named", f"{PREFIX}-foreign:1")
    shop.tidy(foreign)
    ours = shop.bring("ours")
    result = shop.tidy(ours)
    assert (result["removed"], result["kept"]) == ([], [])
    assert shop.here() == [foreign, named, ours]


def test_without_the_record_nothing_is_removed(shop: Shop) -> None:
    one, two = shop.bring("one"), shop.bring("two")
    Path(shop.file).write_text("{torn", encoding="utf-8")
    assert shop.tidy(two)["changed"] is False
    three = shop.bring("three")
    assert shop.tidy(three)["changed"] is False
    assert shop.here() == [one, two, three]


def test_an_image_is_kept_with_the_intermediate_images_that_somebody_built_on_it(shop: Shop, tmp_path: Path) -> None:
    one, two = shop.bring("one"), shop.bring("two")
    recipe = tmp_path / "Dockerfile"
    recipe.write_text(f"FROM {one}\nLABEL a=b\nLABEL c=d\n")
    with recipe.open("rb") as file:
        list(shop.client.build(fileobj=file, tag=f"{PREFIX}-mine:1", rm=True))
    result = shop.tidy(two)
    assert result["changed"] is False
    assert reason(result, one) == f"image {PREFIX}-mine:1 is built on it"


def test_an_image_that_docker_refuses_to_remove_is_reported_as_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container is created between the inspection and the removal."""
    one, two = shop.bring("one"), shop.bring("two")
    monkeypatch.setattr(prune.Host, "used", lambda self: {})
    with shop.container(one):
        result = shop.tidy(two)
    assert result["changed"] is False
    assert reason(result, one).startswith("Docker reported: conflict")
    assert shop.here() == [one, two]
    assert one in record.load(shop.file)["brought"]


def test_old_images_are_kept_while_another_run_gets_images(shop: Shop) -> None:
    one, two = shop.bring("one"), shop.bring("two")
    with open(record.LOCK, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = shop.tidy(two)
    assert result["changed"] is False
    assert "another run is installing images" in result["messages"][0]
    assert shop.here() == [one, two]
    assert ids(shop.tidy(two)["removed"]) == {one}
