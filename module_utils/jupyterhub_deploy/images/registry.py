"""Classify the errors of registries, and write error messages for the operator.

Docker reports the cause only as text; it has no better interface. The texts are those of Docker 20.10 to 29 and of
registries (distribution, quay.io, Docker Hub).
"""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.reference import DEFAULT_REGISTRY, Reference

REACHABLE = "reachable"
UNREACHABLE = "unreachable"
UNTRUSTED = "untrusted"
PLAIN_HTTP = "plain http"
REFUSED = "refused"
MISSING = "missing"
LIMITED = "limited"
FAILED = "failed"

# Checked in this order: an untrusted certificate is also a failed connection, a refused login may also say "not found".
KINDS = (
    (PLAIN_HTTP, r"server gave HTTP response to HTTPS client"),
    (UNTRUSTED, r"x509:|certificate (signed by|is not|has expired)|tls: (failed to verify|bad certificate|unknown)"),
    (LIMITED, r"toomanyrequests|too many requests"),
    (
        UNREACHABLE,
        r"no such host|connection (refused|reset)|i/o timeout|network is unreachable|no route to host|handshake timeout"
        r"|context deadline exceeded|Client\.Timeout|request canceled|server misbehaving|name resolution|proxyconnect"
        r"|/v2/\S* (Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?out|Proxy Authentication Required)$"
        r"|unexpected HTTP status: 50[234]|\bEOF$|timed out",
    ),
    (
        REFUSED,
        r"unauthorized|authentication required|no basic auth credentials|denied|incorrect username|status: 40[13]",
    ),
    (MISSING, r"manifest unknown|not found|name unknown|no such image|does not exist|no matching manifest"),
)


def classify(status: int | None, text: str) -> str:
    """Return the kind of failure that an error of Docker means.

    :param status: the HTTP status; ``None`` for an error in the events of a pull.
    :param text: the explanation.
    """
    for kind, pattern in KINDS:
        if re.search(pattern, text.strip(), re.IGNORECASE):
            return kind
    return {401: REFUSED, 403: REFUSED, 404: MISSING, 429: LIMITED}.get(status or 0, FAILED)


def explain(kind: str, name: str, reference: Reference, login: dict[str, str] | None, text: str) -> str:
    """Return the error message: the cause, the image, the registry, and what to do next."""
    registry = reference.registry
    if kind == UNREACHABLE:
        what = f"registry {registry} cannot be reached from this host, so image {name} cannot be pulled"
        after = (
            "check the name, the host's network and proxy (docker_registry_mirrors can name a mirror), or set "
            "jupyterhub_image_source: build to use no registry"
        )
    elif kind == REFUSED and login:
        what = f"registry {registry} refused the login of {login['username']} for image {name}"
        after = (
            f"correct username and password of {registry} in jupyterhub_registry_logins, and check that this account "
            "may pull the image"
        )
    elif kind == REFUSED:
        what = f"registry {registry} wants a login for image {name}, or the image does not exist there"
        after = f"check the image's name, or add {registry} with username and password to jupyterhub_registry_logins"
    elif kind == MISSING:
        what = f"registry {registry} has no image {name}"
        part = "digest" if reference.digest else "tag"
        after = f"check name and {part} in jupyterhub_notebook_image, or in the setting that names this image"
    elif kind == UNTRUSTED:
        what = f"Docker does not trust the certificate of registry {registry}, so image {name} cannot be pulled"
        after = (
            f"put the certificate of its certificate authority into /etc/docker/certs.d/{registry}/ca.crt on the host"
        )
    elif kind == PLAIN_HTTP:
        what = f"registry {registry} speaks plain http, so Docker does not pull image {name} from it"
        after = f"give it a certificate, or add {registry} to docker_insecure_registries"
    elif kind == LIMITED:
        what = f"registry {registry} has limited the number of pulls, so image {name} cannot be pulled"
        mirror = ", or use a mirror (docker_registry_mirrors)" if registry == DEFAULT_REGISTRY else ""
        after = f"try again later, or log in with jupyterhub_registry_logins{mirror}"
    else:
        what = f"image {name} could not be pulled from registry {registry}"
        after = "nothing on the host was changed"
    return f"{what}; {after}. Docker reported: {text.strip()}"


def explain_newer(kind: str, name: str, reference: Reference, login: dict[str, str] | None, text: str) -> str:
    """Return the error message when the policy ``always`` cannot check for a newer version of an image on the host."""
    registry = reference.registry
    rest = "jupyterhub_pull_policy is always; -e jupyterhub_pull_policy=missing uses the image that is on the host"
    if kind == UNREACHABLE:
        what = f"registry {registry} cannot be reached from this host to ask whether it has a newer image {name}"
        after = "nothing was changed, and the hub keeps running; try again when the registry answers"
    elif kind == MISSING or (kind == REFUSED and not login):
        what = f"image {name} is on this host, but registry {registry} has none of that name, or wants a login for it"
        after = (
            "an image that was built or loaded on the host is in no registry: set jupyterhub_pull_policy to missing, "
            f"push the image, or add {registry} to jupyterhub_registry_logins"
        )
    else:
        return f"{explain(kind, name, reference, login, text)} ({rest})"
    return f"{what}; {after} ({rest}). Docker reported: {text.strip()}"


def failure(name: str, reference: Reference, login: dict[str, str] | None, error: Any) -> DeployError:
    """Return the error for an error of the Docker SDK."""
    text = str(getattr(error, "explanation", None) or error)
    kind = classify(getattr(error, "status_code", None), text)
    return DeployError(explain(kind, name, reference, login, text))


def query(client: Any, name: str, login: dict[str, str] | None) -> tuple[str, str]:
    """Query the registry for an image through Docker, without pulling it.

    :returns: the kind and the image's digest, or its explanation when the kind is not :data:`REACHABLE`.
    """
    try:
        answer = client.inspect_distribution(name, auth_config=login)
    except docker_errors.DockerException as error:
        text = str(getattr(error, "explanation", None) or error)
        return classify(getattr(error, "status_code", None), text), text
    except OSError as error:  # errors of requests: Docker itself waited too long
        return UNREACHABLE, f"timed out ({error})"
    return REACHABLE, str(answer["Descriptor"]["digest"])
