"""An update of a package in a mirror: the images are built again, once. With real Docker, archive and apt."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.images import base_archive, updates
from ansible.plugins.loader import action_loader

import jupyterhub_image
from hosts.images import sources
from hosts.run import name as run_name
from support.modules import run

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
BASE, HUB = (run_name(f"updates-{image}:1") for image in ("base", "hub"))
SUITE = "bookworm"
#: In the archive's format; newer than any version that Debian 12 can get.
UPDATE = "0.20.0-1"
CONFIG = """\
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""


class Mirror:
    """A mirror of the archive's updates on this machine, at first without packages, and apt that uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.served = folder, folder / "served"
        self.index = self.served / "dists" / f"{SUITE}-updates" / "main" / "binary-amd64" / "Packages"
        self.index.parent.mkdir(parents=True)
        for name in ("lists", "cache"):
            (folder / name).mkdir()
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(self.served))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        own = f"deb [trusted=yes] http://127.0.0.1:{self.server.server_port} {SUITE}-updates main"
        real = [line for line in sources(SUITE) if f"{SUITE}-updates" not in line]
        (folder / "sources.list").write_text("\n".join([*real, own, ""]), encoding="utf-8")
        (folder / "apt.conf").write_text(CONFIG.format(folder=folder), encoding="utf-8")
        self.write(b"", year=2025)

    def write(self, packages: bytes, year: int) -> None:
        """Publish an index of packages; apt ignores one that is older than the one it has."""
        self.index.write_bytes(packages)
        digest, name = hashlib.sha256(packages).hexdigest(), "main/binary-amd64/Packages"
        release = (
            f"Origin: Debian\nSuite: {SUITE}-updates\nCodename: {SUITE}-updates\nArchitectures: amd64\n"
            f"Components: main\nDate: Wed, 01 Jan {year} 00:00:00 UTC\nSHA256:\n {digest} {len(packages)} {name}\n"
        )
        (self.index.parents[2] / "Release").write_text(release, encoding="utf-8")

    def publish(self) -> None:
        """Publish an update of tini."""
        tree = self.folder / "tini"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: tini\nVersion: {UPDATE}\nArchitecture: amd64\nMaintainer: Nobody <root@example.com>\n"
        (tree / "DEBIAN" / "control").write_text(f"{control}Description: init\n", encoding="utf-8")
        package = self.served / "tini.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True)
        content = package.read_bytes()
        facts = f"Filename: tini.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        self.write(f"{control}{facts}Description: init\n\n".encode(), year=2026)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_docker: None) -> Iterator[Mirror]:
    tmp_path.chmod(0o755)
    made = Mirror(tmp_path)
    monkeypatch.setattr(updates, "LISTS", str(tmp_path / "lists"))
    monkeypatch.setattr(base_archive, "DIRECTORY", str(tmp_path / "base-image"))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    yield made
    made.server.shutdown()
    client = docker.APIClient(version="auto")
    for name in (HUB, BASE):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.remove_image(name, force=True)


def make(folder: Path, check: bool = False, **settings: Any) -> dict[str, Any]:
    """Run the module with a base image and one image on it."""
    action_loader.add_directory(str(ROOT / "action_plugins"))
    plugin: Any = sys.modules[action_loader.get("jupyterhub_image", class_only=True).__module__]
    context = folder / "hub"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN touch /made\n", encoding="utf-8")
    files = plugin.context_files(str(context))
    (folder / "contexts.tar.gz").write_bytes(plugin.archive({"hub": files}))
    hub = {"tag": HUB, "context_digest": plugin.context_digest(files)}
    return run(
        jupyterhub_image, check=check, hub=run_name("updates"), hub_version="5.5.4",
        images=[
            {"purpose": "base", "build": {"tag": BASE, "args": {"suite": SUITE, "packages": "tini"}}},
            {"purpose": "hub", "build": hub},
        ],
        archive=str(folder / "contexts.tar.gz"), smoke_tests_file=str(folder / "tests.json"),
        record_file=str(folder / "images.json"), updates_file=str(folder / "updates.json"), **settings,
    )  # fmt: skip


def done(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(step["action"], step["name"], step["reason"]) for step in result["steps"]]


def version() -> str:
    """Return the version of tini in the image."""
    command = ["docker", "run", "--rm", HUB, "dpkg-query", "--show", "--showformat", "${Version}", "tini"]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def test_an_update_in_the_mirror_builds_the_images_again_once(mirror: Mirror, tmp_path: Path) -> None:
    assert [step[:2] for step in done(make(tmp_path))] == [("bootstrap", BASE), ("build", HUB)]
    first = version()
    assert make(tmp_path)["changed"] is False

    mirror.publish()
    assert make(tmp_path)["changed"] is False, "the lists are refreshed once a day"
    state = json.loads((tmp_path / "updates.json").read_text())
    (tmp_path / "updates.json").write_text(json.dumps({**state, "refreshed": 0}))
    reason = "the distribution has updates for tini"
    (message,) = make(tmp_path, update=False)["messages"]
    assert reason in message
    planned = done(make(tmp_path, check=True))
    assert planned == [("bootstrap", BASE, reason), ("build", HUB, reason)]
    assert version() == first

    assert done(make(tmp_path)) == planned
    assert version() == UPDATE
    for check in (True, False):
        assert make(tmp_path, check=check)["changed"] is False

    old = make(tmp_path, check=True, max_age_days=1)
    assert old["changed"] is False  # it was built just now
