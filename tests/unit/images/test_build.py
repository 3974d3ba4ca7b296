"""What goes into a build, and what is said while it runs."""

from __future__ import annotations

import io
import tarfile

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.build import context, describe, mirror_args


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Step 4/25 : RUN apt-get update  && apt-get install --yes tini\n", "step 4/25, install distribution packages"),
        ("Step 12/25 : RUN /build/tools/bin/uv pip install -r x", "step 12/25, install Python packages"),
        ("Step 17/25 : COPY --from=build /opt/jupyterhub /opt/jupyterhub", "step 17/25, copy files"),
        ("Step 3/25 : ARG DEBIAN_FRONTEND=noninteractive", ""),
        (" ---> 3a1eaab0", ""),
    ],
)
def test_steps_in_words(line, words):
    assert describe(line) == words


PIP = "[global]\nindex-url = https://pip.example.com/simple\nextra-index-url =\n  file:///srv/simple\n  https://more.example.com/\n"


def test_a_hosts_own_indexes_are_used_in_builds():
    found = mirror_args({}, PIP, "fund=false\nregistry = https://npm.example.com/\n")
    assert found == {
        "PIP_INDEX_URL": "https://pip.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example.com/",
        "NPM_CONFIG_REGISTRY": "https://npm.example.com/",
    }


def test_the_environment_wins_and_files_of_the_host_do_not_count():
    environment = {"PIP_INDEX_URL": "https://other.example.com/simple", "npm_config_registry": "file:///srv/npm"}
    assert mirror_args(environment, PIP.replace("https://more.example.com/", ""), "") == {
        "PIP_INDEX_URL": "https://other.example.com/simple"
    }
    assert mirror_args({}, "not an ini file", "") == {}


def archive(path, **files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def test_context_is_one_folder_and_the_certificates(tmp_path):
    deep = "/".join(["directory"] * 12)  # longer than a name in the oldest format of tar
    path = archive(
        tmp_path / "all.tar.gz", hub__Dockerfile=b"FROM x", hub__a__b=b"1", proxy__Dockerfile=b"FROM y",
        **{f"hub__{deep}".replace("/", "__"): b"2"},
    )  # fmt: skip
    (tmp_path / "ca.pem").write_text("certificates")
    with tarfile.open(fileobj=context(path, "hub", str(tmp_path / "ca.pem"))) as tar:
        contents = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    assert contents == {"Dockerfile": b"FROM x", "a/b": b"1", deep: b"2", "ca-bundle.crt": b"certificates"}


def test_a_missing_bundle_is_an_error_in_the_operators_words(tmp_path):
    with pytest.raises(DeployError, match=r"nosuch\.pem cannot be read.*jupyterhub_ca_bundle"):
        context(archive(tmp_path / "a"), "hub", str(tmp_path / "nosuch.pem"))
