"""New content is pushed under the tag that a site uses: the effect of `site.yml` with each pull policy.

A separate hub in this machine's Docker, its notebook image in a private registry. The images have three megabytes and
no JupyterLab in them: no server is started here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.images import record

from hosts.registry import Registry
from hosts.run import IMAGES_RECORD as RECORD
from hosts.run import name as run_name
from support.factories import images
from support.factories.registry import trusted
from support.local_site import LocalSite

NAME = run_name("pushed")
REPOSITORY = "course/pushed"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Author:
    """A user who pushes images to the registry; the images of the site, in the same Docker, are not changed."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry, self.client = registry, docker.APIClient(version="auto")
        self.image = f"{registry.server}/{REPOSITORY}:1"
        self.certificate = folder / "registry.pem"
        self.certificate.write_text(registry.certificate, encoding="utf-8")

    def push(self, word: str) -> str:
        """Push an image and return its id; it is removed from the host."""
        scratch = self.image.removesuffix(":1") + ":scratch"
        made = images.make(self.client, scratch, {**images.single_user("5.5.4"), "word": word})
        auth = {"username": self.registry.username, "password": self.registry.password}
        for event in self.client.push(scratch, stream=True, decode=True, auth_config=auth):
            assert "error" not in event, event
        self.client.remove_image(scratch)
        # The tag only changes in the registry.
        manifest = self.ask("GET", "scratch", headers={"Accept": MANIFEST})
        self.ask("PUT", "1", headers={"Content-Type": MANIFEST}, data=manifest)
        return made

    def ask(self, method: str, tag: str, **options: Any) -> bytes:
        session = requests.Session()
        session.trust_env = False  # neither a proxy nor a certificate bundle of the environment
        answer = session.request(
            method, f"https://{self.registry.server}/v2/{REPOSITORY}/manifests/{tag}", timeout=10,
            auth=(self.registry.username, self.registry.password), verify=str(self.certificate), **options,
        )  # fmt: skip
        answer.raise_for_status()
        return answer.content

    def here(self, image_id: str) -> bool:
        return any(image["Id"] == image_id for image in self.client.images(all=True))


@pytest.fixture
def author(registry: Registry, tmp_path: Path) -> Iterator[Author]:
    with trusted(registry):
        yield Author(registry, tmp_path)


@pytest.fixture
def site(author: Author, built_images: Callable[[str], dict[str, Any]]) -> Iterator[LocalSite]:
    built_images("5.5.4")
    registry = author.registry
    login = {"registry": registry.server, "username": registry.username, "password": registry.password}
    made = LocalSite(
        NAME, jupyterhub_notebook_image=author.image, jupyterhub_registry_logins=[login], jupyterhub_keep_images=0
    )
    yield made
    made.destroy()
    for image in author.client.images():
        if any(REPOSITORY in name for name in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]):
            with contextlib.suppress(docker.errors.APIError):
                author.client.remove_image(image["Id"], force=True)


def hub(site: LocalSite) -> tuple[str, str]:
    """Return the id and start time of the hub's container."""
    container = site.container()
    return container["Id"], container["State"]["StartedAt"]


@pytest.mark.long
def test_a_tag_that_is_pushed_again(author: Author, site: LocalSite) -> None:
    first = author.push("one")
    site.run()
    assert author.client.inspect_image(author.image)["Id"] == first
    before = hub(site)

    second = author.push("two")
    unasked = site.run("--tags", "hub")
    assert unasked.recap["changed"] == 0
    assert hub(site) == before
    assert re.search(r"TASK \[jupyterhub : Remove old images\] \*+\nskipping:", unasked.output), "it cost a module call"

    alice = author.client.create_container(first, ["sh"], name=f"{NAME}-jupyter-alice")["Id"]
    followed = site.run("--tags", "hub", jupyterhub_pull_policy="always")
    assert f"notebook image content changed: {first[:19]} → {second[:19]}" in followed.output
    assert hub(site)[0] != before[0]
    assert author.client.inspect_image(author.image)["Id"] == second
    assert f"stopped container {NAME}-jupyter-alice uses it" in followed.output
    assert author.here(first)

    after = hub(site)
    again = site.run("--tags", "hub", jupyterhub_pull_policy="always")
    assert again.recap["changed"] == 0
    assert hub(site) == after

    author.client.remove_container(alice)
    tidied = site.run("--tags", "hub", jupyterhub_pull_policy="always")
    assert tidied.recap["changed"] == 1
    assert "removed: notebook image" in tidied.output
    assert not author.here(first)
    assert hub(site) == after
    assert first not in json.dumps(record.load(str(RECORD)))

    # Monday morning: the registry is down.
    down = author.image.replace(":5000", ":5999")
    author.client.tag(second, down.removesuffix(":1"), "1")
    stopped = site.run("--tags", "hub", fails=True, jupyterhub_pull_policy="always", jupyterhub_notebook_image=down)
    author.client.remove_image(down)
    assert stopped.recap["changed"] == 0
    message = " ".join(stopped.output.split())
    assert f"registry {author.registry.server.replace(':5000', ':5999')} cannot be reached from this host" in message
    assert "-e jupyterhub_pull_policy=missing" in message
    assert hub(site) == after
