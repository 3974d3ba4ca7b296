"""Names of images, as Docker reads them."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.reference import host_of, login_for, parse

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("quay.io/jupyter/minimal-notebook:2026-07-28", ("quay.io", "jupyter/minimal-notebook", "2026-07-28", "")),
        ("jupyter/minimal-notebook", ("docker.io", "jupyter/minimal-notebook", "latest", "")),
        ("index.docker.io/jupyter/minimal-notebook:1", ("docker.io", "jupyter/minimal-notebook", "1", "")),
        ("debian:bookworm-slim", ("docker.io", "debian", "bookworm-slim", "")),
        ("localhost/a", ("localhost", "a", "latest", "")),
        ("registry.example.com:5000/a/b/c:x_Y.z", ("registry.example.com:5000", "a/b/c", "x_Y.z", "")),
        (f"quay.io/a/b@{DIGEST}", ("quay.io", "a/b", "", DIGEST)),
        (f"127.0.0.1:5000/a:tag@{DIGEST}", ("127.0.0.1:5000", "a", "tag", DIGEST)),
    ],
)
def test_parts(name, parts):
    assert tuple(parse(name)) == parts


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Quay.io/Jupyter/notebook", "small letters"),
        ("quay.io/jupyter/minimal notebook", "small letters"),
        ("", "small letters"),
        ("quay.io/a/b:", "a tag has"),
        ("quay.io/a/b:-x", "a tag has"),
        ("quay.io/a/b@sha256:123", "a digest is"),
    ],
)
def test_wrong_names_are_refused_with_the_rule(name, problem):
    with pytest.raises(DeployError, match=problem) as error:
        parse(name)
    assert repr(name) in str(error.value)


def test_what_is_pulled():
    assert parse("debian:12").remote == "debian"
    assert parse("quay.io/a/b:1").remote == "quay.io/a/b"
    assert parse(f"quay.io/a/b:1@{DIGEST}").version == DIGEST


@pytest.mark.parametrize("written", ["quay.io", "https://quay.io", "https://quay.io/v2/", " quay.io "])
def test_registries_are_recognised_however_people_write_them(written):
    assert host_of(written) == "quay.io"


def test_login_belongs_to_one_registry_and_its_port():
    logins = [
        {"registry": "https://index.docker.io/v1/", "username": "hub", "password": "1"},
        {"registry": "registry.example.com:5000", "username": "alice", "password": "2"},
        {"registry": "registry.example.com:5000", "username": "newer", "password": "3"},
    ]
    assert login_for(parse("jupyter/base-notebook"), logins) == {"username": "hub", "password": "1"}
    assert login_for(parse("registry.example.com:5000/a"), logins) == {"username": "newer", "password": "3"}
    assert login_for(parse("registry.example.com/a"), logins) is None
