"""Names, labels and owners of what the hub makes for a user, on a real engine and with images of every sort.

The images do nothing but sleep: what is looked at is there before a server answers.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from support.signin_hub import NO_PROXY, HubContainer, docker, write_config

TOKEN = secrets.token_hex(16)
WORK = "/home/jovyan/work"
EXTRA = f"""{NO_PROXY}
c.JupyterHub.services = [{{"name": "test", "api_token": "{TOKEN}"}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers"]}}]
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.DockerSpawner.allowed_images = "*"  # so that one hub does for all images
c.JupyterHub.authenticator_class = "dummy"  # Native refuses names that other authenticators have
"""
#: What a notebook image may look like around its mount point: lines of a Dockerfile, and who runs.
IMAGES = {
    "no-directory": ("RUN useradd -u 1000 -g 100 jovyan\nUSER jovyan", "1000:100"),
    "directory-of-root": (f"RUN useradd -u 1000 -g 100 jovyan && mkdir -p {WORK}\nUSER 1000", "1000:100"),
    "directory-of-user": (
        f"RUN useradd -u 1000 -g 100 jovyan && mkdir -p {WORK} && touch {WORK}/from-image && chown -R 1000:100 {WORK}\n"
        "USER jovyan",
        "1000:100",
    ),
    "no-account": ("USER 4321", "4321:0"),
    "named-group": ("RUN groupadd -g 4000 teachers && useradd -u 1500 student\nUSER student:teachers", "1500:4000"),
    "root": ("USER root", "0:0"),
}


class Site:
    """A hub with a socket to the engine, its names all with a prefix of this test's own."""

    def __init__(self, hub_image: str, directory: Path) -> None:
        self.prefix = f"jhd-test-{uuid.uuid4().hex[:8]}"
        self.hub_image = hub_image
        self.built: dict[str, str] = {}
        write_config(directory, EXTRA)
        settings = json.loads((directory / "config/settings.json").read_text(encoding="utf-8"))
        settings |= {"server_prefix": self.prefix, "volume_prefix": f"{self.prefix}-user-"}
        (directory / "config/settings.json").write_text(json.dumps(settings), encoding="utf-8")
        self.hub = HubContainer(hub_image, directory, socket=True)

    def image(self, kind: str) -> str:
        """Build an image of a kind of IMAGES, once."""
        if kind not in self.built:
            lines = f'FROM {self.hub_image}\nUSER root\nENTRYPOINT []\n{IMAGES[kind][0]}\nCMD ["sleep", "600"]\n'
            self.built[kind] = f"{self.prefix}:{kind}"
            docker("build", "--quiet", "--tag", self.built[kind], "-", stdin=lines)
        return self.built[kind]

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the hub's API as an administrator."""
        headers = {"Authorization": f"token {TOKEN}"}
        return requests.request(method, self.hub.url + "api/" + path, headers=headers, timeout=30, **options)

    def request(self, user: str, **options: str) -> requests.Response:
        """Ask for the server of a new `user`."""
        self.api("POST", f"users/{quote(user, safe='')}")
        return self.api("POST", f"users/{quote(user, safe='')}/server", json=options)

    def spawn(self, user: str, kind: str = "no-directory") -> str:
        """Start the server of `user` with an image of a kind of IMAGES; return the container's name when it runs."""
        answer = self.request(user, image=self.image(kind))
        assert answer.status_code in (201, 202), answer.text
        for _ in range(100):
            names = docker(
                "ps", "--filter", f"label=org.jupyterhub.deploy.user={user}", "--format", "{{.Names}}"
            ).stdout.split()
            if names:
                return names[0]
            time.sleep(0.1)
        raise AssertionError(f"no container for {user}:\n{self.hub.logs()}")

    def logged(self, text: str) -> bool:
        """Wait a little for the hub to log `text`."""
        for _ in range(100):
            if text in self.hub.logs():
                return True
            time.sleep(0.1)
        return False

    def stop(self, user: str) -> None:
        """Remove the container, as the engine does when a server ends."""
        name = docker("ps", "--quiet", "--filter", f"label=org.jupyterhub.deploy.user={user}").stdout.split()
        docker("rm", "--force", *name, check=False)

    def remove(self) -> None:
        """Remove the hub, and whatever carries the prefix."""
        self.hub.remove()
        containers = docker("ps", "--all", "--quiet", "--filter", f"name=^{self.prefix}-").stdout.split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        found = docker("volume", "ls", "--quiet", "--filter", f"name=^{self.prefix}-").stdout.split()
        if found:
            docker("volume", "rm", *found)
        for image in self.built.values():
            docker("rmi", "--force", image, check=False)


@pytest.fixture(scope="module")
def site(hub_image: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One hub for the tests of this file."""
    made = Site(hub_image("5.5.4"), tmp_path_factory.mktemp("spawner"))
    try:
        made.hub.start()
        yield made
    finally:
        made.remove()


def inside(container: str, command: str) -> str:
    """Run a shell command as the user that the container runs as."""
    return docker("exec", container, "sh", "-c", command).stdout.strip()


@pytest.mark.parametrize("kind", IMAGES)
def test_a_new_volume_is_writable_whatever_the_image(site: Site, kind: str) -> None:
    container = site.spawn(f"user-{kind}", kind)
    assert inside(container, f"touch {WORK}/mine && stat -c %u:%g {WORK}") == IMAGES[kind][1]
    if kind == "directory-of-user":
        assert inside(container, f"ls {WORK}").split() == ["from-image", "mine"]
    site.stop(f"user-{kind}")


def test_a_volume_that_has_an_owner_keeps_it(site: Site) -> None:
    volume = f"{site.prefix}-user-owned"
    docker("volume", "create", volume)
    setup = "chown 7777:7777 /v && touch /v/theirs && chown 0:0 /v/theirs"
    docker("run", "--rm", "--volume", f"{volume}:/v", site.hub_image, "sh", "-c", setup)
    container = site.spawn("owned")
    assert inside(container, f"stat -c %u:%g {WORK} {WORK}/theirs").split() == ["7777:7777", "0:0"]
    site.stop("owned")


def test_a_volume_of_root_with_files_is_handed_over_without_its_files(site: Site) -> None:
    volume = f"{site.prefix}-user-restored"
    docker("volume", "create", volume)
    # Big enough that Docker is still sending when we have read what we want to know.
    setup = "mkdir -m 700 /v/d && head -c 64M /dev/zero > /v/big && chmod 2750 /v"
    docker("run", "--rm", "--volume", f"{volume}:/v", site.hub_image, "sh", "-c", setup)
    container = site.spawn("restored")
    assert inside(container, f"stat -c %u:%g:%a {WORK} {WORK}/d {WORK}/big").split() == [
        "1000:100:2750", "0:0:700", "0:0:644"
    ]  # fmt: skip
    site.stop("restored")


@pytest.mark.parametrize(
    ("user", "part"),
    [
        ("alice", "alice"),
        ("alice.b@example.com", "alice-2eb-40example-2ecom"),
        ("Großmann_x", "gro-c3-9fmann-5fx"),
        ("github:alice", "github-3aalice"),
        ("x" * 250, "x" * 93 + "---" + "086d4a1c293bde318dc1fec9a21b9d82"),
    ],
)
def test_names_and_labels(site: Site, user: str, part: str) -> None:
    user = user.lower()
    container = site.spawn(user)
    assert container == f"{site.prefix}-{part}"
    state = json.loads(docker("inspect", container).stdout)[0]
    assert [mount["Name"] for mount in state["Mounts"]] == [f"{site.prefix}-user-{part}"]
    labels = {"org.jupyterhub.deploy.hub": "jupyterhub", "org.jupyterhub.deploy.user": user}
    assert state["Config"]["Labels"].items() >= labels.items()
    volume = json.loads(docker("volume", "inspect", f"{site.prefix}-user-{part}").stdout)[0]
    assert volume["Labels"] == labels
    assert state["HostConfig"]["CapDrop"] == ["ALL"]
    assert state["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    site.stop(user)


def test_a_volume_with_another_users_label_is_refused(site: Site) -> None:
    docker("volume", "create", "--label", "org.jupyterhub.deploy.user=mallory", f"{site.prefix}-user-taken")
    site.request("taken", image=site.image("no-directory"))
    assert site.logged("belongs to 'mallory'")


def test_a_missing_image_is_not_pulled_and_said_clearly(site: Site) -> None:
    site.request("early")  # the hub's own image, which HubContainer says is example/notebook:1
    assert site.logged("The notebook image example/notebook:1 is not on this hub's host.")
    assert "pulling" not in site.hub.logs()
