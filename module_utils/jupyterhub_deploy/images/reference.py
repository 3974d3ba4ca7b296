"""Names of container images: taking them apart, and finding the login that belongs to them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# What Docker assumes when a name has no registry, and the other names that the same registry goes by.
DEFAULT_REGISTRY = "docker.io"
DEFAULT_REGISTRY_ALIASES = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")

# The grammar of distribution/reference, as far as an operator can get it wrong.
PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(NamedTuple):
    """An image's name in its parts; of ``tag`` and ``digest`` one may be empty, never both."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def remote(self) -> str:
        """What the engine is asked to pull from: registry and repository."""
        if self.registry == DEFAULT_REGISTRY:
            return self.repository
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """The tag or digest to pull; the digest wins, as it does for Docker."""
        return self.digest or self.tag


def parse(reference: str) -> Reference:
    """Take a reference apart.

    :param reference: for example ``quay.io/jupyter/minimal-notebook:2026-07-28`` or ``name@sha256:…``.
    :returns: its parts; a name without tag and digest means ``latest``, as it does for Docker.
    :raises DeployError: when Docker would not accept it.
    """
    rest, at, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    # Docker's own rule: the first part is a registry when it looks like a host.
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
        raise DeployError(f"{reference!r} is no image's name: {problem}; write it like {example}")
    return Reference(registry, repository, tag if colon else "" if at else "latest", digest)


def host_of(registry: str) -> str:
    """Return a registry as :class:`Reference` names it, from what people write into a list of logins."""
    host = registry.strip()
    for scheme in ("https://", "http://"):
        if host.startswith(scheme):
            host = host[len(scheme) :]
    host = host.split("/", 1)[0]
    return DEFAULT_REGISTRY if host in DEFAULT_REGISTRY_ALIASES else host


def login_for(reference: Reference, logins: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return username and password for the reference's registry, or ``None``; the last one given wins."""
    for login in reversed(logins):
        if host_of(login["registry"]) == reference.registry:
            return {"username": login["username"], "password": login["password"]}
    return None
