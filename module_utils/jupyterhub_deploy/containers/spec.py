"""What a container of the deployment should be, what it is, and what to do about the difference. Pure: no I/O.

A *spec* is a plain dictionary that both sides can be brought to: ``containers.hub_spec`` and ``containers.proxy_spec``
make the wanted one and say what its keys are called in a message; :func:`observed_spec` reads the other from the
engine's description of the container; :func:`differences` compares them.
"""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]  # plain JSON values

# In the operator's words: each key of a spec that both containers have, as it appears in a reason for a restart.
TITLES = {
    "environment": "environment",
    "mounts": "mounts",
    "networks": "networks",
    "ports": "published ports",
    "hardening": "container restrictions",
    "restart_policy": "restart policy",
    "healthcheck": "health check",
}


def hardening(cap_add: list[str]) -> dict[str, Any]:
    """Return the restrictions that all our containers run under.

    :param cap_add: the capabilities that this one needs after all, without ``CAP_``.
    """
    return {
        "cap_drop": ["ALL"],
        "cap_add": sorted(cap_add),
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108  (in the container)
    }


def observed_spec(container: dict[str, Any]) -> Spec:
    """Return what any container shows of its spec, from the engine's description of it (``docker inspect``)."""
    config, host = container["Config"], container["HostConfig"]
    return {
        "image": config["Image"],
        "image_id": container["Image"],
        "environment": dict(entry.partition("=")[::2] for entry in config.get("Env") or []),
        "mounts": sorted(_with_mode(bind) for bind in host.get("Binds") or []),
        "networks": sorted(container["NetworkSettings"]["Networks"]),
        "ports": sorted(
            f"{binding.get('HostIp') or '0.0.0.0'}:{binding['HostPort']}:{port.partition('/')[0]}"  # noqa: S104
            for port, bindings in (host.get("PortBindings") or {}).items()
            for binding in bindings or []
        ),
        "hardening": {
            "cap_drop": host.get("CapDrop") or [],
            # Engines since 20.10 write CAP_SETUID for SETUID.
            "cap_add": sorted(name[4:] if name.startswith("CAP_") else name for name in host.get("CapAdd") or []),
            "security_opt": host.get("SecurityOpt") or [],
            "read_only": bool(host.get("ReadonlyRootfs")),
            "tmpfs": sorted(host.get("Tmpfs") or {}),
        },
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "healthcheck": (config.get("Healthcheck") or {}).get("Test") or [],
    }


def comparable(wanted: Spec, observed: Spec) -> Spec:
    """Return the observed spec without the environment that the image brings itself (PATH and the like)."""
    environment = {name: value for name, value in observed["environment"].items() if name in wanted["environment"]}
    return {**observed, "environment": environment}


def differences(titles: dict[str, str], wanted: Spec, observed: Spec) -> list[str]:
    """Return one sentence for each difference that a running container cannot take up without a restart.

    :param titles: what each key of a spec is called, in the order of the sentences.
    """
    found, observed = [], comparable(wanted, observed)
    for key, title in titles.items():
        want, have = wanted[key], observed[key]
        if want != have:
            found.append(_sentence(title, want, have))
    return found


def plan(what: str, container: dict[str, Any] | None, reasons: list[str], answering: bool) -> tuple[str, list[str]]:
    """Return what to do with a container, and why.

    :param what: what the container is, for the reasons: ``hub`` or ``proxy``.
    :param container: the engine's description of the one that exists, ``None`` when there is none.
    :param reasons: from :func:`differences`.
    :param answering: whether it answers its health check now (it was given time to, if it had only just started).
    :returns: an action with its reasons. ``none``: leave it alone; ``start``: it is what it should be, but stopped;
        ``restart``: it runs as it should, but does not answer; ``replace``: put a new one in its place;
        ``create``: there is none.
    """
    if container is None:
        return "create", [f"there is no {what} container yet"]
    if reasons:
        return "replace", reasons
    if not container["State"]["Running"]:
        return "start", [f"the {what} container is stopped"]
    if not answering:
        return "restart", [f"the {what} does not answer its health check"]
    return "none", []


def _sentence(title: str, want: Any, have: Any) -> str:
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
    """Bring a bind to ``source:target:mode``; the engine leaves the mode out where it is ``rw``."""
    return bind if bind.count(":") > 1 else f"{bind}:rw"


def _short(value: Any) -> str:
    """Return a value as it reads best in a message: sha256 ids as twelve digits."""
    if value is None:
        return "none"
    text = str(value)
    prefix, separator, digits = text.partition("sha256:")
    return f"{prefix}{separator}{digits[:12]}" if separator else text
