"""The same over SSH on Debian 12 and 13, with the images from a private registry: Molecule's whole sequence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.fixtures import BareSite
from hosts.hosts import ROOT, Host
from hosts.registry import Registry
from site_promises import environment, inspect, secrets_of


@pytest.fixture(scope="module")
def filled_registry(bare_site: BareSite, registry: Registry) -> Registry:
    """Return the registry with the images that the bare machine built, pushed from there as a site's CI would."""
    host = bare_site.host
    host.write(f"/etc/docker/certs.d/{registry.server}/ca.crt", registry.certificate)
    host.run(
        ["docker", "login", "--username", registry.username, "--password-stdin", registry.server],
        stdin=registry.password,
    )
    images = {
        "hub": inspect(host, "jupyterhub")["Config"]["Image"],
        "proxy": inspect(host, "jupyterhub-proxy")["Config"]["Image"],
        "notebook": environment(host, "jupyterhub")["DOCKER_NOTEBOOK_IMAGE"],
    }
    for purpose, image in images.items():
        target = f"{registry.server}/{purpose}:test"
        host.run(f"docker tag {image} {target} && docker push --quiet {target} && docker rmi {target}")
    return registry


@pytest.fixture(scope="module")
def molecule_environment(
    filled_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return the environment for Molecule; the servers are gone afterwards, even when it was stopped half-way."""
    environ = {
        **os.environ,
        "JHD_REGISTRY": filled_registry.server,
        "JHD_REGISTRY_USER": filled_registry.username,
        "JHD_REGISTRY_PASSWORD": filled_registry.password,
        "JHD_TEST_OWNER": str(os.getpid()),
        "ANSIBLE_HOME": str(tmp_path_factory.mktemp("ansible")),
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
    }
    yield environ
    subprocess.run(["molecule", "destroy"], cwd=ROOT, env=environ, check=False, capture_output=True)


def test_whole_sequence(filled_registry: Registry, molecule_environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "molecule.log"
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            ["molecule", "test", "--destroy=never"],
            cwd=ROOT, env=molecule_environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            check=False, timeout=2400,
        ).returncode  # fmt: skip
    output = log.read_text(encoding="utf-8", errors="replace")
    assert code == 0, f"{log} ends:\n{output[-8000:]}"
    assert filled_registry.password not in output
    for server in ("debian12", "debian13"):
        for file, secret in secrets_of(Host.find(f"molecule-{server}")).items():
            assert secret not in output, f"{file} of {server} is in Molecule's output"
