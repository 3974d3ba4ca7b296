"""The specification of a container, wanted and observed, and what to do about the differences. Pure: no I/O.

A *spec* is a plain dictionary. ``containers.hub_spec`` and ``containers.proxy`` build the wanted one and name its keys
for messages; :func:`observed_spec` reads the other from Docker's description of the container; :func:`differences`
compares them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of
from ansible.module_utils.jupyterhub_deploy.text import short_id

Spec = dict[str, Any]  # plain JSON values

# What the keys that every spec has are called in a message.
TITLES = {
    "environment": "environment",
    "mounts": "mounts",
    "networks": "networks",
    "ports": "published ports",
    "hardening": "container restrictions",
    "restart_policy": "restart policy",
    "healthcheck": "health check",
}


_TMPFS_MODE = "mode=1777"


class Difference(NamedTuple):
    """A difference between two specs: the key of the spec, and a message for the operator."""

    key: str
    message: str


def hardening(cap_add: list[str]) -> dict[str, Any]:
    """Return the restrictions that all our containers run under.

    :param cap_add: the capabilities that this container keeps, without ``CAP_``.
    """
    return {
        "cap_drop": ["ALL"],
        "cap_add": sorted(cap_add),
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108  (in the container)
    }


def tmpfs_options(tmpfs: list[str]) -> dict[str, str]:
    """Return Docker's options by path, for entries like ``/tmp`` or ``/tmp,size=64m``."""
    found = {}
    for entry in tmpfs:
        path, separator, options = entry.partition(",")
        found[path] = f"{_TMPFS_MODE}{separator}{options}"
    return found


def observed_spec(container: dict[str, Any]) -> Spec:
    """Return the spec of a container that exists, from Docker's description of it (``docker inspect``)."""
    config, host = container["Config"], container["HostConfig"]
    return {
        "image": config["Image"],
        "image_id": container["Image"],
        "environment": environment_of(container),
        "mounts": sorted(_with_mode(bind) for bind in host.get("Binds") or []),
        "networks": sorted(container["NetworkSettings"]["Networks"]),
        "ports": sorted(
            f"{binding.get('HostIp') or '0.0.0.0'}:{binding['HostPort']}:{port.partition('/')[0]}"  # noqa: S104
            for port, bindings in (host.get("PortBindings") or {}).items()
            for binding in bindings or []
        ),
        "hardening": {
            "cap_drop": host.get("CapDrop") or [],
            # Docker since 20.10 writes CAP_SETUID for SETUID.
            "cap_add": sorted(name[4:] if name.startswith("CAP_") else name for name in host.get("CapAdd") or []),
            "security_opt": host.get("SecurityOpt") or [],
            "read_only": bool(host.get("ReadonlyRootfs")),
            "tmpfs": sorted(
                f"{path}{options.removeprefix(_TMPFS_MODE)}" for path, options in (host.get("Tmpfs") or {}).items()
            ),
        },
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "healthcheck": (config.get("Healthcheck") or {}).get("Test") or [],
    }


def comparable(wanted: Spec, observed: Spec) -> Spec:
    """Return the observed spec without the variables that the image itself sets (PATH and the like).

    A wanted variable that is empty is the same as a missing one.
    """
    present = observed["environment"]
    environment = {
        name: present.get(name, "") for name, value in wanted["environment"].items() if name in present or not value
    }
    return {**observed, "environment": environment}


def differences(titles: dict[str, str], wanted: Spec, observed: Spec) -> list[Difference]:
    """Return the differences that need a new container.

    :param titles: what each key of a spec is called in a message, in the order of the messages.
    """
    observed = comparable(wanted, observed)
    return [
        Difference(key, _message(title, wanted[key], observed[key]))
        for key, title in titles.items()
        if wanted[key] != observed[key]
    ]


def plan(what: str, container: dict[str, Any] | None, reasons: list[str], serving: bool) -> tuple[str, list[str]]:
    """Return what to do with a container, and why.

    :param what: what the container is, for the reasons: ``hub`` or ``proxy``.
    :param container: Docker's description of the existing one, ``None`` when there is none.
    :param reasons: the messages of :func:`differences`.
    :param serving: whether it answers its health checks.
    :returns: an action with its reasons. ``none``: nothing to do; ``start``: it matches its spec, but is stopped;
        ``restart``: it matches and runs, but does not answer; ``replace``: it differs; ``create``: it does not exist.
    """
    if container is None:
        return "create", [f"the {what} container does not exist yet"]
    if reasons:
        return "replace", reasons
    if not container["State"]["Running"]:
        return "start", [f"the {what} container is stopped"]
    if not serving:
        return "restart", [f"the {what} does not answer its health check"]
    return "none", []


def shown(what: str, action: str, reasons: list[str], check: bool) -> list[str]:
    """Return the messages for the operator about an action of :func:`plan`, in check mode before it."""
    return [f"created the {what} container"] if action == "create" and not check else reasons


def _message(title: str, want: Any, have: Any) -> str:
    if isinstance(want, dict):
        names = sorted(name for name in {*want, *have} if want.get(name) != have.get(name))
        return f"{title} changed: {', '.join(names)}"
    if isinstance(want, list):
        added = [item for item in want if item not in have]
        removed = [item for item in have if item not in want]
        changes = [f"+{item}" for item in added] + [f"-{item}" for item in removed]
        return f"{title} changed: {', '.join(changes)}"
    return f"{title} changed: {_short(have)} → {_short(want)}"


def _with_mode(bind: str) -> str:
    """Return a bind as ``source:target:mode``; Docker leaves the mode out where it is ``rw``."""
    return bind if bind.count(":") > 1 else f"{bind}:rw"


def _short(value: Any) -> str:
    return "none" if value is None else short_id(str(value))
