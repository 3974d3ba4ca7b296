"""Test images by running them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER

import jupyterhub_image
from hosts.built_images import NameOf
from hosts.run import name as run_name
from support.factories import images
from support.long_runs import VERSIONS
from support.modules import ModuleError, run

NAME = run_name("smoke-test:1")


class Bench:
    """A Docker client with one image to check."""

    def __init__(self, folder: Path) -> None:
        self.client = docker.APIClient(version="auto")
        self.folder = folder

    def smoke_test(self, name: str = NAME, version: str = "5.5.4", **settings: Any) -> dict[str, Any]:
        return run(
            jupyterhub_image, images=[{"purpose": "notebook", "reference": name}], hub_version=version,
            smoke_tests_file=str(self.folder / "tests.json"), **settings,
        )  # fmt: skip

    def containers(self) -> list[Any]:
        found: list[Any] = self.client.containers(all=True, filters={"ancestor": NAME})
        return found


@pytest.fixture
def bench(local_docker: None, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    with contextlib.suppress(docker.errors.ImageNotFound):
        made.client.remove_image(NAME, force=True)


def test_a_good_image_is_tested_once(bench: Bench) -> None:
    images.make(bench.client, NAME, images.single_user("5.5.4"))

    first = bench.smoke_test()
    assert first["changed"] is False
    assert [step["action"] for step in first["steps"]] == ["smoke_test"]
    assert first["smoke_tests"][NAME] == {
        "program": "/usr/local/bin/jupyterhub-singleuser", "python": "/usr/local/bin/python3", "version": "5.5.4",
        "uid": 1000, "gid": 100, "exists": True, "writable": True, "server_fault": "",
        "versions": {"jupyter_server": "5.5.4", "jupyterlab": "5.5.4"},  # its Python prints the same for each
    }  # fmt: skip
    assert first["messages"] == []
    assert bench.containers() == []
    assert bench.smoke_test()["steps"] == []


def test_new_content_under_the_same_name_is_tested_again(bench: Bench) -> None:
    images.make(bench.client, NAME, images.single_user("5.5.4"))
    bench.smoke_test()
    images.make(bench.client, NAME, images.single_user("5.5.3"))

    assert bench.smoke_test()["smoke_tests"][NAME]["version"] == "5.5.3"


def test_without_a_single_user_server_it_is_refused_every_time(bench: Bench) -> None:
    images.make(bench.client, NAME, {})

    for _ in range(2):
        with pytest.raises(ModuleError, match=f"image {NAME} has no jupyterhub-singleuser"):
            bench.smoke_test()
    assert bench.containers() == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (
            ["/usr/local/bin/python3", "-c"],
            "python3 -c' ended with exit code 0; its last log lines: 5.5.4",
        ),
        (["python3"], "'python3' ended with exit code 0"),
        (["sh", "-c", "echo no room >&2; exit 3"], "exit code 3; its last log lines: no room"),
        (["no-such-program"], "no-such-program"),
    ],
)
def test_an_image_that_starts_no_server_is_refused(bench: Bench, command: list[str], fault: str) -> None:
    images.make(bench.client, NAME, images.single_user("5.5.4"), command=command)

    with pytest.raises(ModuleError, match=f"image {NAME} starts no notebook server: ") as refused:
        bench.smoke_test()
    assert fault in str(refused.value)
    assert "jupyterhub_notebook_command: [jupyterhub-singleuser]" in str(refused.value)
    assert bench.containers() == []
    assert bench.smoke_test(notebook_command=["jupyterhub-singleuser"])["messages"] == []


def test_an_image_of_another_user_than_the_files_is_refused(bench: Bench) -> None:
    hub = run_name("owners")
    labels = {LABEL_HUB: hub, LABEL_USER: "alice"}
    volume = bench.client.create_volume(f"{hub}-user-alice", labels=labels)
    os.chown(volume["Mountpoint"], 1000, 100)
    images.make(bench.client, NAME, images.single_user("5.5.4"), user="1001:100", folder_owner=1001)
    try:
        for check in (False, True):
            with pytest.raises(ModuleError, match="1 of 1 users' volumes belong to user 1000, so their files would be"):
                bench.smoke_test(hub=hub, check=check)
        (warning,) = bench.smoke_test(hub=hub, check_volume_owners=False)["messages"]
        assert "read-only" in warning
        # As in docs/how-to/notebook-image.md.
        command = ["chown", "--recursive", "--no-dereference", "--from=1000", "1001", volume["Mountpoint"]]
        subprocess.run(command, check=True)
        assert bench.smoke_test(hub=hub)["messages"] == []
    finally:
        bench.client.remove_volume(volume["Name"])


def test_another_major_version_is_a_warning_on_each_run(bench: Bench) -> None:
    images.make(bench.client, NAME, images.single_user("5.5.4"))

    for _ in range(2):
        (warning,) = bench.smoke_test(version="6.1.1")["messages"]
        assert f"image {NAME} has JupyterHub 5.5.4, the hub has 6.1.1" in warning


@pytest.mark.parametrize(("owner", "words"), [(0, "may not write to /home/jovyan/work"), (-1, "has no folder")])
def test_a_folder_that_users_cannot_write_to_is_a_warning(bench: Bench, owner: int, words: str) -> None:
    images.make(bench.client, NAME, images.single_user("5.5.4"), folder_owner=owner)

    (warning,) = bench.smoke_test()["messages"]
    assert words in warning


def test_an_image_that_cannot_run_is_refused(bench: Bench) -> None:
    bench.client.import_image_from_data(b"\0" * 10240, repository=NAME.partition(":")[0], tag="1")

    with pytest.raises(ModuleError, match=r"could not be tested: .* it needs sh"):
        bench.smoke_test()
    assert bench.containers() == []


class TestOurOwnImages:
    """The images of our own Dockerfiles."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_notebook_image_fits_its_hub(self, bench: Bench, notebook_image: NameOf, version: str) -> None:
        result = bench.smoke_test(notebook_image(version), version=version)

        (tested,) = result["smoke_tests"].values()
        assert (tested["version"], tested["uid"], tested["gid"], tested["writable"]) == (version, 1000, 100, True)
        assert result["messages"] == []

    def sh(self, bench: Bench, image: str, script: str) -> str:
        """Run a script in an image as its default user, without network and with a read-only root."""
        host = bench.client.create_host_config(read_only=True, network_mode="none")
        made = bench.client.create_container(image, entrypoint=["sh", "-c", script], host_config=host)["Id"]
        try:
            bench.client.start(made)
            assert bench.client.wait(made)["StatusCode"] == 0, bench.client.logs(made)
            return str(bench.client.logs(made).decode())
        finally:
            bench.client.remove_container(made, force=True)

    def test_build_tools_caches_and_certificates_stay_behind(
        self, bench: Bench, hub_image: NameOf, notebook_image: NameOf, proxy_image: str, front_image: str
    ) -> None:
        unwanted = (
            "find / -xdev \\( -name 'ca-bundle.crt' -o -path '/var/cache/apt/*.bin' -o -path '/var/lib/apt/lists/*_*' "
            "-o -path '/root/.cache/*' -o -name 'uv' -type f -o -name 'gcc*' -path '*/bin/*' -o -path '/build*' "
            "-o -name npm -path '*/bin/*' \\) 2>/dev/null || true"
        )
        for image in (hub_image("5.5.4"), notebook_image("5.5.4"), proxy_image, front_image):
            assert self.sh(bench, image, unwanted) == "", image

    def test_front_has_nginx_and_certbot_with_its_plugins(self, bench: Bench, front_image: str) -> None:
        modules = (
            "nginx -V 2>&1 | grep -o -e --with-http_ssl_module -e --with-http_v2_module -e --with-http_realip_module"
        )
        assert len(self.sh(bench, front_image, modules).split()) == 3
        place = "--config-dir /dev/shm/a --work-dir /dev/shm/b --logs-dir /dev/shm/c"
        found = self.sh(bench, front_image, f"TMPDIR=/dev/shm certbot plugins {place} 2>&1")
        for plugin in ("webroot", "dns-rfc2136", "dns-digitalocean", "dns-linode", "dns-ovh"):
            assert f"* {plugin}\n" in found
        # The tag of the image names the version of certbot.
        assert (
            self.sh(bench, front_image, "TMPDIR=/dev/shm certbot --version").split()[-1]
            == front_image.rpartition(":")[2]
        )

    def test_python_is_compiled_and_the_slow_optional_package_is_left_out(
        self, bench: Bench, hub_image: NameOf, notebook_image: NameOf
    ) -> None:
        # Verbose Python says "code object from '….py'" when it had to compile, and "….pyc'" when it had not.
        compiled = "python3 -v -c 'import jupyterhub.app' 2>&1 | grep -E 'code object from .*/opt/.*[.]py.$' || true"
        left_out = "ls -d /opt/*/lib/python3*/site-packages/rfc3987_syntax 2>/dev/null || true"
        for image in (hub_image("5.5.4"), notebook_image("5.5.4")):
            assert self.sh(bench, image, compiled) == ""
            assert self.sh(bench, image, left_out) == ""

    def test_tini_is_process_one_everywhere(
        self, bench: Bench, hub_image: NameOf, notebook_image: NameOf, proxy_image: str, front_image: str
    ) -> None:
        for image in (hub_image("6.1.1"), notebook_image("6.1.1"), proxy_image, front_image):
            assert bench.client.inspect_image(image)["Config"]["Entrypoint"][0] == "tini"

    def test_certificates_and_addresses_are_not_in_the_history(self, bench: Bench, hub_image: NameOf) -> None:
        history = "\n".join(layer["CreatedBy"] for layer in bench.client.history(hub_image("5.5.4")))
        assert "ca-bundle" not in history
        assert "INDEX_URL" not in history
