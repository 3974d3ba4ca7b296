"""What a registry's answer means, and how to say it to an operator.

The engine passes on what went wrong as text; there is no better interface. The texts are those of Docker 20.10 to 29
and of the registries behind it (distribution, quay.io, Docker Hub).
"""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.reference import Reference

REACHABLE = "reachable"
UNREACHABLE = "unreachable"
UNTRUSTED = "untrusted"
PLAIN_HTTP = "plain http"
REFUSED = "refused"
MISSING = "missing"
LIMITED = "limited"
FAILED = "failed"

# Asked in this order: an untrusted certificate is also a failed connection, a refused login may also say "not found".
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
    """Return the kind of failure behind an answer of the engine.

    :param status: the engine's HTTP status; ``None`` for an error inside a stream of progress.
    :param text: its explanation.
    """
    for kind, pattern in KINDS:
        if re.search(pattern, text.strip(), re.IGNORECASE):
            return kind
    return {401: REFUSED, 403: REFUSED, 404: MISSING, 429: LIMITED}.get(status or 0, FAILED)


def explain(kind: str, name: str, reference: Reference, login: dict[str, str] | None, text: str) -> str:
    """Return one clear error: what, which image, which registry, what next."""
    registry = reference.registry
    if kind == UNREACHABLE:
        what = f"registry {registry} cannot be reached from this host, so image {name} cannot be pulled"
        after = (
            "check the name, the host's network and proxy (docker_registry_mirrors may name a mirror of yours), or set "
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
        what = f"the engine does not trust the certificate of registry {registry}, so image {name} cannot be pulled"
        after = f"put the certificate of its authority into /etc/docker/certs.d/{registry}/ca.crt on the host"
    elif kind == PLAIN_HTTP:
        what = f"registry {registry} speaks plain http, so the engine does not pull image {name} from it"
        after = f"give it a certificate, or add {registry} to docker_insecure_registries"
    elif kind == LIMITED:
        what = f"registry {registry} has limited the number of pulls and gave no image {name}"
        after = "try again later, log in with jupyterhub_registry_logins, or use a mirror (docker_registry_mirrors)"
    else:
        what = f"image {name} could not be pulled from registry {registry}"
        after = "the registry's own words say why; nothing on the host was changed"
    return f"{what}; {after}. The engine said: {text.strip()}"


def explain_newer(kind: str, name: str, reference: Reference, login: dict[str, str] | None, text: str) -> str:
    """As :func:`explain`, for an image that is on the host and that the policy ``always`` asks for newer content of."""
    registry = reference.registry
    rest = "jupyterhub_pull_policy is always; -e jupyterhub_pull_policy=missing goes on with the image that is here"
    if kind == UNREACHABLE:
        what = f"registry {registry} cannot be reached from this host to ask whether it has a newer image {name}"
        after = "nothing was changed, and what runs goes on; try again when the registry answers"
    elif kind == MISSING or (kind == REFUSED and not login):
        what = f"image {name} is on this host, but registry {registry} has none of that name, or wants a login for it"
        after = (
            "an image that was built or loaded here is in no registry: set jupyterhub_pull_policy to missing, push "
            f"the image, or add {registry} to jupyterhub_registry_logins"
        )
    else:
        return f"{explain(kind, name, reference, login, text)} ({rest})"
    return f"{what}; {after} ({rest}). The engine said: {text.strip()}"


def failure(name: str, reference: Reference, login: dict[str, str] | None, error: Any) -> DeployError:
    """Return our error for one of the SDK's."""
    text = str(getattr(error, "explanation", None) or error)
    kind = classify(getattr(error, "status_code", None), text)
    return DeployError(explain(kind, name, reference, login, text))


def ask(client: Any, name: str, reference: Reference, login: dict[str, str] | None) -> tuple[str, str]:
    """Ask the engine, and through it the registry, for an image without pulling it.

    :returns: a kind, :data:`REACHABLE` when all is well, with the image's digest or the explanation.
    """
    try:
        answer = client.inspect_distribution(name, auth_config=login)
    except docker_errors.DockerException as error:
        text = str(getattr(error, "explanation", None) or error)
        return classify(getattr(error, "status_code", None), text), text
    except OSError as error:  # requests' own errors: the engine itself waited for too long
        return UNREACHABLE, f"timed out ({error})"
    return REACHABLE, str(answer["Descriptor"]["digest"])
