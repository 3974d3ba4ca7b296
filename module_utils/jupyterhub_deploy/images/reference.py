"""Parse the names of container images, and find the login for their registry."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Docker's default registry, and its other names.
DEFAULT_REGISTRY = "docker.io"
DEFAULT_REGISTRY_ALIASES = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")

# The grammar of distribution/reference, except for rules that are rarely broken.
PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(NamedTuple):
    """The parts of an image's name; ``tag`` or ``digest`` may be empty, but not both."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def remote(self) -> str:
        """The registry and repository to pull from."""
        if self.registry == DEFAULT_REGISTRY:
            return self.repository
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """The tag or digest to pull; the digest has precedence, as for Docker."""
        return self.digest or self.tag


def parse(reference: str) -> Reference:
    """Parse a reference.

    :param reference: for example ``quay.io/jupyter/minimal-notebook:2026-07-28`` or ``name@sha256:…``.
    :returns: its parts; a name without tag and digest means ``latest``, as for Docker.
    :raises DeployError: Docker would not accept it.
    """
    rest, at, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    # Docker's own rule: the first part is a registry when it has the form of a host name.
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, rest = head, tail
    else:
        registry = DEFAULT_REGISTRY
    if registry in DEFAULT_REGISTRY_ALIASES:
        registry = DEFAULT_REGISTRY
    repository, colon, tag = rest.partition(":")
    problem = ""
    if not PATH.fullmatch(repository):
        problem = "a name has small letters, digits, and single . _ - or / between them"
    elif colon and not TAG.fullmatch(tag):
        problem = "a tag has letters, digits, . _ and -, 128 at most"
    elif at and not DIGEST.fullmatch(digest):
        problem = "a digest is sha256: and 64 hexadecimal digits"
    if problem:
        example = "quay.io/jupyter/minimal-notebook:2026-07-28"
        raise DeployError(f"{reference!r} is not an image name: {problem}; write it like {example}")
    return Reference(registry, repository, tag if colon else "" if at else "latest", digest)


def host_of(registry: str) -> str:
    """Return the name of a registry as in :class:`Reference`, from an entry in a list of logins."""
    host = registry.strip()
    for scheme in ("https://", "http://"):
        if host.startswith(scheme):
            host = host[len(scheme) :]
    host = host.split("/", 1)[0]
    return DEFAULT_REGISTRY if host in DEFAULT_REGISTRY_ALIASES else host


def login_for(reference: Reference, logins: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return username and password for the reference's registry, or ``None``; the last entry has precedence."""
    for login in reversed(logins):
        if host_of(login["registry"]) == reference.registry:
            return {"username": login["username"], "password": login["password"]}
    return None
