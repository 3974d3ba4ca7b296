"""Pulling from a real registry with TLS and a password: successful pulls, and each kind of failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.images import record

from hosts.registry import Registry
from hosts.run import name as run_name
from support.factories import images as tiny_images
from support.factories.registry import CERTIFICATES, Shelf, trusted
from support.modules import ModuleError

ROOT = Path(__file__).resolve().parents[3]
ABSENT = run_name("nosuch")


@pytest.fixture(scope="module")
def stocked(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(registry, docker.APIClient(version="auto"), tmp_path_factory.mktemp("stock"))
    with trusted(registry):
        shelf.push("course/other:1", "5.2.0")
        shelf.push("course/notebook:1", "5.5.4")
        yield shelf
        shelf.forget()


@pytest.fixture
def shelf(stocked: Shelf, tmp_path: Path) -> Iterator[Shelf]:
    stocked.folder = tmp_path
    stocked.forget()
    yield stocked
    stocked.forget()


class TestPull:
    def test_by_tag_with_a_login_and_then_nothing(self, shelf: Shelf) -> None:
        name = shelf.name("course/notebook:1")

        assert shelf.get(name, check=True)["changed"] is True
        assert shelf.ids() == {}
        first = shelf.get(name)
        assert [step["action"] for step in first["steps"]] == ["pull", "smoke_test"]
        assert first["result"]["notebook"] == name
        assert first["result"]["notebook_id"] == shelf.ids()[name]
        assert first["smoke_tests"][name]["version"] == "5.5.4"
        assert first["smoke_tests"][name]["writable"] is True

        second = shelf.get(name)
        assert second["changed"] is False
        assert second["steps"] == []

    def test_by_digest(self, shelf: Shelf) -> None:
        name = f"{shelf.name('course/notebook')}@{shelf.digest}"

        assert shelf.get(name)["changed"] is True
        assert name in shelf.ids()
        assert shelf.get(name)["changed"] is False

    def test_multiple_images(self, shelf: Shelf) -> None:
        names = [shelf.name("course/notebook:1"), shelf.name("course/other:1")]

        result = shelf.get(*names)
        assert {name: tested["version"] for name, tested in result["smoke_tests"].items()} == {
            names[0]: "5.5.4", names[1]: "5.2.0",
        }  # fmt: skip
        assert set(names) <= set(shelf.ids())

    def test_an_image_on_the_host_is_used_without_asking_the_registry(self, shelf: Shelf) -> None:
        name = shelf.name("course/notebook:1")
        shelf.get(name)

        wrong = {**shelf.login, "password": "wrong"}
        assert shelf.get(name, registry_logins=[wrong])["changed"] is False
        assert shelf.get(name, pull_policy="never")["changed"] is False

    def test_always_pulls_an_image_that_was_pushed_again(self, shelf: Shelf) -> None:
        repository = shelf.name("course/moving")
        old = shelf.push("course/moving:1", "5.5.3")
        old_digest = shelf.digest
        shelf.get(f"{repository}@{old_digest}")
        new = shelf.push("course/moving:1", "5.5.4")
        shelf.get(f"{repository}@{old_digest}")
        shelf.client.tag(shelf.ids()[f"{repository}@{old_digest}"], repository, "1")

        assert shelf.get(f"{repository}:1")["changed"] is False
        assert shelf.get(f"{repository}:1", pull_policy="always", check=True)["changed"] is True
        assert shelf.ids()[f"{repository}:1"] == old
        assert shelf.get(f"{repository}:1", pull_policy="always")["steps"][0]["action"] == "pull"
        assert shelf.ids()[f"{repository}:1"] == new
        assert shelf.get(f"{repository}:1", pull_policy="always")["changed"] is False

    def test_pulled_images_are_recorded_and_existing_ones_are_not(self, shelf: Shelf) -> None:
        name, other = shelf.name("course/notebook:1"), shelf.name("course/other:1")
        assert shelf.get(name, check=True)["result"]["images"] == [{"purpose": "notebook", "name": name, "id": None}]
        shelf.get(name, hub="lab")
        shelf.get(name, other, hub="jupyterhub")

        stored = record.load(str(shelf.folder / "images"))
        ids = {known: id_ for known, id_ in shelf.ids().items() if "@" not in known}
        assert stored["brought"] == {ids[name]: [name], ids[other]: [other]}
        assert stored["hubs"]["lab"]["history"] == {"notebook": [ids[name]]}
        assert stored["hubs"]["jupyterhub"]["history"] == {"extra": [ids[other]]}

    def test_old_images_are_searched_only_if_there_may_be_some(self, shelf: Shelf) -> None:
        name, file = shelf.name("course/notebook:1"), str(shelf.folder / "images")
        result = shelf.get(name, keep=2)["result"]
        assert result["needs_pruning"] is True
        current = record.by_kind(result["images"])
        record.save(file, record.with_current(record.load(file), "jupyterhub", current, 2))
        assert shelf.get(name, keep=2, check=True)["result"]["needs_pruning"] is False
        assert shelf.get(name, keep=0, check=True)["result"]["needs_pruning"] is True

    def test_the_login_is_not_stored(self, shelf: Shelf) -> None:
        kept = Path.home() / ".docker" / "config.json"
        before = kept.read_text() if kept.exists() else None
        shelf.get(shelf.name("course/notebook:1"))

        assert (kept.read_text() if kept.exists() else None) == before
        assert all(shelf.registry.password not in file.read_text() for file in shelf.folder.iterdir())


class TestFailures:
    def test_wrong_password(self, shelf: Shelf) -> None:
        name, wrong = shelf.name("course/notebook:1"), {**shelf.login, "password": "wrong-password"}
        text = shelf.refusal(name, registry_logins=[wrong])

        assert f"registry {shelf.registry.server} refused the login of alice for image {name}" in text
        assert "jupyterhub_registry_logins" in text
        assert "wrong-password" not in text

    def test_no_login(self, shelf: Shelf) -> None:
        text = shelf.refusal(shelf.name("course/notebook:1"), registry_logins=[])

        assert f"registry {shelf.registry.server} wants a login for image" in text

    def test_missing_image(self, shelf: Shelf) -> None:
        for name in (shelf.name("course/notebook:nosuch"), shelf.name("course/nosuch:1")):
            text = shelf.refusal(name)
            assert f"registry {shelf.registry.server} has no image {name}" in text
            assert "jupyterhub_notebook_image" in text

    def test_unreachable_registry(self, shelf: Shelf) -> None:
        closed = shelf.registry.server.replace(":5000", ":5999")
        text = shelf.refusal(f"{closed}/course/notebook:1")

        assert f"registry {closed} cannot be reached from this host" in text
        assert "jupyterhub_image_source: build" in text
        assert "cannot be reached" in shelf.refusal("nosuch.example.com/course/notebook:1")

    def test_untrusted_certificate(self, shelf: Shelf) -> None:
        certificate = CERTIFICATES / shelf.registry.server / "ca.crt"
        certificate.rename(certificate.with_suffix(".away"))
        try:
            text = shelf.refusal(shelf.name("course/notebook:1"))
        finally:
            certificate.with_suffix(".away").rename(certificate)

        assert "does not trust the certificate" in text
        assert str(certificate) in text

    def test_plain_http(self, shelf: Shelf) -> None:
        shelf.registry.host.run(
            "sed -e 's/:5000/:5001/' -e 's/, tls: {.*}}/}/' /srv/registry/config.yml > /srv/registry/plain.yml && "
            "(nohup docker-registry serve /srv/registry/plain.yml > /srv/registry/plain.log 2>&1 &) && sleep 1"
        )
        plain = shelf.registry.server.replace(":5000", ":5001")
        text = shelf.refusal(f"{plain}/course/notebook:1")

        assert f"registry {plain} speaks plain http" in text
        assert "docker_insecure_registries" in text

    def test_never_pulls_nothing(self, shelf: Shelf) -> None:
        assert "the pull policy is never" in shelf.refusal(shelf.name("course/notebook:1"), pull_policy="never")


class TestAlways:
    """The policy `always` when the registry cannot be asked for a newer image: the image on the host is kept."""

    def refusal(self, shelf: Shelf, name: str) -> str:
        text = shelf.refusal(name, pull_policy="always")
        assert "-e jupyterhub_pull_policy=missing" in text
        assert shelf.get(name, pull_policy="missing")["result"]["notebook"] == name
        return text

    def test_a_registry_that_is_down(self, shelf: Shelf) -> None:
        here = shelf.name("course/notebook:1")
        shelf.get(here)
        down = here.replace(":5000", ":5999")
        shelf.client.tag(here, *down.rsplit(":", 1))
        try:
            text = self.refusal(shelf, down)
        finally:
            shelf.client.remove_image(down)
        assert f"registry {shelf.registry.server.replace(':5000', ':5999')} cannot be reached from this host" in text
        assert f"whether it has a newer image {down}" in text
        assert "nothing was changed, and the hub keeps running" in text

    def test_an_image_that_was_built_on_the_host(self, shelf: Shelf) -> None:
        mine = shelf.name("course/mine:1")
        tiny_images.make(shelf.client, mine, tiny_images.single_user("5.5.4"))
        text = self.refusal(shelf, mine)
        assert f"registry {shelf.registry.server} has no image {mine}" in text or "has none of that name" in text

    def test_the_registry_is_not_asked_for_a_digest(self, shelf: Shelf) -> None:
        shelf.get(shelf.name("course/notebook:1"))
        name = next(name for name in shelf.ids() if "@" in name)
        wrong = {**shelf.login, "password": "wrong"}
        assert shelf.get(name, pull_policy="always", registry_logins=[wrong])["changed"] is False


class TestAuto:
    """The choice of `auto`, for an image that has both a name and a Dockerfile."""

    def images(self, reference: str) -> list[dict[str, Any]]:
        return [
            {"purpose": "base", "build": {"tag": f"{ABSENT}:base", "args": {"suite": "bookworm", "packages": "tini"}}},
            {"purpose": "notebook", "reference": reference, "build": {"tag": f"{ABSENT}:1", "context_digest": "x"}},
        ]

    def test_a_reachable_registry_is_used_and_the_choice_is_stored(self, shelf: Shelf) -> None:
        images = self.images(shelf.name("course/notebook:1"))
        first = shelf.get("", images=images, source="auto")
        assert first["choice"] == {
            "source": "pull", "reason": f"registry {shelf.registry.server} answers", "new": True,
        }  # fmt: skip
        assert first["messages"] == [
            f"the notebook image is pulled: registry {shelf.registry.server} answers; to choose again, remove "
            f"{shelf.folder / 'choice'}"
        ]
        assert (shelf.folder / "choice").read_text() == "pull\n"
        assert shelf.get("", images=images, source="auto")["messages"] == []

        images = self.images("nosuch.example.com/notebook:1")
        with pytest.raises(ModuleError, match="cannot be reached"):
            shelf.get("", images=images, source="auto")

    def test_an_image_is_built_only_if_the_registry_is_unreachable(self, shelf: Shelf) -> None:
        images = self.images("nosuch.example.com/notebook:1")
        planned = shelf.get("", images=images, source="auto", check=True)

        assert planned["choice"]["source"] == "build"
        assert "registry nosuch.example.com cannot be reached" in planned["choice"]["reason"]
        assert [step["action"] for step in planned["steps"]] == ["bootstrap", "build", "smoke_test", "save_choice"]
        assert planned["result"]["notebook"] == f"{ABSENT}:1"
        assert planned["result"]["notebook_id"] is None
        assert not (shelf.folder / "choice").exists()

    def test_an_earlier_choice_is_kept(self, shelf: Shelf) -> None:
        (shelf.folder / "choice").write_text("build\n")
        planned = shelf.get("", images=self.images(shelf.name("course/notebook:1")), source="auto", check=True)

        assert planned["choice"]["source"] == "build"
        assert planned["choice"]["new"] is False

    def test_a_wrong_password_or_a_missing_image_is_an_error_and_not_a_reason_to_build(self, shelf: Shelf) -> None:
        images = self.images(shelf.name("course/notebook:1"))
        wrong = {**shelf.login, "password": "wrong"}
        assert "refused the login" in shelf.refusal("", images=images, source="auto", registry_logins=[wrong])
        images = self.images(shelf.name("course/notebook:nosuch"))
        assert "has no image" in shelf.refusal("", images=images, source="auto")


def test_role_shows_its_progress_and_no_password(shelf: Shelf, tmp_path: Path) -> None:
    """Run the role with ansible-playbook: it shows its progress, leaves no files, and the second run is silent."""
    home = tmp_path / "home"
    settings = {
        "jupyterhub_images_for": "jhd-test",
        "jupyterhub_images_hub": shelf.name("course/other:1"),
        "jupyterhub_images_proxy": shelf.name("course/other:1"),
        "jupyterhub_images_notebook": shelf.name("course/notebook:1"),
        "jupyterhub_images_registry_logins": [shelf.login],
        "ansible_python_interpreter": sys.executable,  # it has the docker SDK
        "ansible_remote_tmp": str(tmp_path / "remote"),
        "ansible_async_dir": str(tmp_path / "async"),
    }
    tasks = [
        {"ansible.builtin.setup": {"gather_subset": ["!all", "!min", "distribution"]}},
        {"ansible.builtin.include_role": {"name": "jupyterhub_images"}},
        {"ansible.builtin.debug": {"var": "jupyterhub_images_result"}},
    ]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": settings, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))

    def run_playbook() -> str:
        done = subprocess.run(
            ["ansible-playbook", "-vvv", "-i", "localhost,", "play.yml"],
            cwd=tmp_path, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={
                **os.environ, "ANSIBLE_LIBRARY": f"{ROOT}/library", "ANSIBLE_MODULE_UTILS": f"{ROOT}/module_utils",
                "ANSIBLE_ACTION_PLUGINS": f"{ROOT}/action_plugins", "ANSIBLE_ROLES_PATH": f"{ROOT}/roles",
                "ANSIBLE_HOME": str(home), "ANSIBLE_NOCOLOR": "1",
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert shelf.registry.password not in done.stdout
        return done.stdout

    first = run_playbook()
    assert f"\n    pull {shelf.name('course/notebook:1')}: " in first
    assert f"\n    notebook image: test {shelf.name('course/notebook:1')}" in first
    assert not list((tmp_path / "async").iterdir())
    # Ansible's wrapper of the job removes its folder shortly after it has reported the end of the job.
    deadline = time.monotonic() + 30
    while (left := list((tmp_path / "remote").glob("ansible-tmp*"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    second = run_playbook()
    assert "changed=0" in second
    assert "    pull " not in second
