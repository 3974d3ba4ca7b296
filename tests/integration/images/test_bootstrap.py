"""The base image, built with mmdebstrap on real Docker from the sources of a Debian cloud image."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.images import apt_sources, base_archive, bootstrap
from ansible.module_utils.jupyterhub_deploy.images.plan import BOOTSTRAP, Image
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

from hosts.images import sources
from hosts.run import name as run_name

NAME, SUITE = run_name("bootstrap:1"), "bookworm"
CONFIG = """\
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{folder}/sources.list.d";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
"""


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_docker: None) -> Path:
    """apt with lists of mirrors, as in Debian's cloud images, instead of this machine's sources."""
    for name in ("sources.list.d", "lists", "cache", "mirrors"):
        (tmp_path / name).mkdir()
    stanzas = []
    for line in sources(SUITE):
        _, uri, suite, components = line.split()
        mirrors = tmp_path / "mirrors" / f"{suite}.list"
        mirrors.write_text(f"{uri}\n")
        stanzas.append(
            f"Types: deb deb-src\nURIs: mirror+file://{mirrors}\nSuites: {suite}\nComponents: {components}\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        )
    (tmp_path / "sources.list.d" / "debian.sources").write_text("\n".join(stanzas))
    (tmp_path / "apt.conf").write_text(CONFIG.format(folder=tmp_path))
    tmp_path.chmod(0o755)
    monkeypatch.setattr(base_archive, "DIRECTORY", str(tmp_path / "base-image"))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto", timeout=300)
    yield client
    subprocess.run(["docker", "rmi", NAME], capture_output=True, check=False)


@pytest.mark.long
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_host_with_lists_of_mirrors_builds_a_base_image(
    cloud: Path, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_memory: bool
) -> None:
    subprocess.run(["apt-get", "update", "-qq", "-o", "APT::Sandbox::User=root"], check=True)
    if not in_memory:
        monkeypatch.setattr(bootstrap, "in_memory", lambda directory: [])
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.setattr(bootstrap, "WORK_DIR", str(directory))
    image = Image("base", NAME, BOOTSTRAP, "", {"suite": SUITE, "packages": "tini"})

    made = bootstrap.bootstrap(client, image, Reporter(None), threading.Event())

    run = [
        "docker",
        "run",
        "--rm",
        NAME,
        "sh",
        "-c",
        "cat /etc/apt/sources.list && tini --version && ls /usr/share/doc",
    ]
    output = subprocess.run(run, check=True, text=True, stdout=subprocess.PIPE).stdout
    assert "mirror+file" not in output
    assert output.count("/debian-archive-keyring.gpg] http") == 3
    assert "tini version" in output
    assert made == client.inspect_image(NAME)["Id"]
    assert os.listdir(directory) == []


@pytest.mark.long
def test_an_archive_that_was_built_before_is_imported(
    cloud: Path, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["apt-get", "update", "-qq", "-o", "APT::Sandbox::User=root"], check=True)
    with tempfile.TemporaryDirectory(dir=bootstrap.WORK_DIR) as directory:
        monkeypatch.setattr(base_archive, "DIRECTORY", directory)
        args = {"suite": SUITE, "packages": "tini"}
        image = Image("base", NAME, BOOTSTRAP, "digest", args)
        assert base_archive.start("digest", lambda folder: bootstrap.make_command(folder, args))
        monkeypatch.setattr(bootstrap, "_run", lambda *_: pytest.fail("was built a second time"))

        bootstrap.bootstrap(client, image, Reporter(None), threading.Event())

        assert not os.path.exists(directory)
        os.mkdir(directory)  # for the context manager
    subprocess.run(["docker", "run", "--rm", NAME, "tini", "--version"], check=True)


def test_a_host_that_has_another_name_for_its_release(cloud: Path) -> None:
    """``Suites: oldstable`` is ``bookworm`` when this is written."""
    update = ["apt-get", "update", "-qq", "-o", "APT::Sandbox::User=root"]
    subprocess.run(update, check=True)
    expected = apt_sources.archive_sources(apt_sources.index_targets(), SUITE)

    names = ["apt-get", "indextargets", "--format", "$(RELEASE) $(SUITE)", "Created-By: Packages"]
    found = subprocess.run(names, check=True, text=True, stdout=subprocess.PIPE).stdout
    file = cloud / "sources.list.d" / "debian.sources"
    text = file.read_text()
    for suite, alias in {tuple(line.split()) for line in found.splitlines()}:
        assert suite != alias
        text = text.replace(f"Suites: {suite}\n", f"Suites: {alias}\n")
    file.write_text(text)
    subprocess.run(update, check=True)

    assert apt_sources.archive_sources(apt_sources.index_targets(), SUITE) == expected
    assert len(expected) == 3


def test_a_host_without_package_lists_is_told_to_update(cloud: Path, client: docker.APIClient) -> None:
    image = Image("base", NAME, BOOTSTRAP, "", {"suite": SUITE, "packages": "tini"})

    with pytest.raises(bootstrap.DeployError, match=r"no package list of the suite bookworm .* run apt-get update"):
        bootstrap.bootstrap(client, image, Reporter(None), threading.Event())
