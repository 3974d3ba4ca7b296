"""Filter that checks names of hub and front, and paths. Pure Python, no I/O."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Valid for containers, volumes, networks, host names, and directories in /etc.
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

# Docker's mounts separate paths by a colon.
UNUSABLE = re.compile(r"[:\x00-\x1f\x7f]")

# Directories that programs of the system use, on a host and in an image; nothing belongs below those of SYSTEM_TREES.
SYSTEM_TREES = {"bin", "boot", "dev", "lib", "lib32", "lib64", "proc", "sbin", "sys"}
SYSTEM_DIRECTORIES = {
    "etc", "home", "opt", "opt/conda", "run", "tmp",
    *(f"etc/{name}" for name in ("apt", "cron.d", "default", "docker", "nginx", "pam.d", "security", "ssh", "ssl",
                                 "ssl/certs", "ssl/private", "systemd", "systemd/system")),
    "usr", *(f"usr/{name}" for name in ("bin", "include", "lib", "libexec", "local", "sbin", "share", "src")),
    *(f"usr/local/{name}" for name in ("bin", "etc", "lib", "sbin", "share")),
    "var", *(f"var/{name}" for name in ("backups", "cache", "lib", "local", "log", "mail", "opt", "run", "spool",
                                        "tmp", "www")),
    *(f"var/lib/{name}" for name in ("apt", "containerd", "docker", "dpkg", "systemd")),
}  # fmt: skip
# Others use these on a host, but an image may have a user's files there.
SHARED = {"media", "mnt", "root", "srv"}
# Directories of this project on a host, besides that of the front.
RECORDS = {
    "/etc/jupyterhub-deploy": "with records of this project",
    "/var/lib/jupyterhub-deploy": "with data of this project",
}


def problems(settings: Mapping[str, Any]) -> Iterable[str]:
    """Yield a message for each invalid name or path: which setting, why, and what to write instead.

    :param settings: the settings of all roles, from the filter ``jupyterhub_typed_settings``. What is missing is not
        checked.
    """
    for name in ("name", "front_name"):
        if name in settings:
            yield from _name(name, settings[name])
    hub, front = settings.get("name"), settings.get("front_name")
    if hub is not None and front in (hub, f"{hub}-proxy", f"{hub}-guard"):
        yield f"front_name is {front!r}, the name of a container of the hub; use another one, such as jupyterhub-front"
    for name, check in PATHS.items():
        # By default the backups use the hub's directory, and one message is enough.
        if name in settings and not (name == "backup_config_dir" and settings[name] == settings.get("config_dir")):
            yield from check(name, settings[name])
    yield from _nested(settings)


def _nested(settings: Mapping[str, Any]) -> Iterable[str]:
    """Check that a directory neither has another one in it nor is in it.

    The front's container could read the hub's secrets, a push would send them to another machine, and the removal of
    one would remove the other.
    """
    config, backups = (settings.get(name) for name in ("config_dir", "backup_dir"))
    config = settings.get("backup_config_dir") if config is None else config
    others = dict(RECORDS)
    if settings.get("front_name") not in (None, settings.get("name")):  # the latter has a message already
        others[f"/etc/{settings['front_name']}"] = "the directory of the front"
    given = [(name, path) for name, path in (("config_dir", config), ("backup_dir", backups)) if path is not None]
    for name, path in given:
        for other, what in others.items():
            if relation := _relation(path, other):
                yield f"{name} is {path!r}, which {relation} {other}, {what}; use a directory for this alone"
        if name == "config_dir":
            others[path] = "which is jupyterhub_config_dir"


def _relation(path: str, other: str) -> str:
    """Return how a directory relates to another one, empty if both are separate, or one has another message."""
    ours, theirs = _parts(path), _parts(other)
    if not (path.startswith("/") and other.startswith("/")) or _is_shared(ours) or _is_shared(theirs):
        return ""
    if ours == theirs:
        return "is"
    if ours[: len(theirs)] == theirs:
        return "is in"
    return "contains" if theirs[: len(ours)] == ours else ""


def _name(name: str, value: str) -> Iterable[str]:
    if not NAME.fullmatch(value):
        yield f"{name} is {value!r}; use at most 40 lower-case letters, digits and dashes, a letter first"
        return
    # The hub `jupyter-alice` would have the name of alice's server at the hub `jupyterhub`, and the data of the hub
    # `lab-user` that of the volume of the user `data` at the hub `lab` (see roles/jupyterhub/vars/main.yml).
    first, *others = value.split("-")
    if "jupyter" in (first, *others) or "user" in others:
        yield (
            f"{name} is {value!r}, which servers or volumes of another hub's users may have; leave out jupyter and user"
        )


def _path(name: str, value: str) -> Iterable[str]:
    if not value.startswith("/"):
        yield f"{name} is {value!r}; use an absolute path"
    elif UNUSABLE.search(value):
        yield f"{name} is {value!r}; use a path without colons and control characters, which Docker cannot mount"


def _own_directory(example: str) -> Callable[[str, str], Iterable[str]]:
    """Return a check of a directory that only root can enter when it is used."""

    def check(name: str, value: str) -> Iterable[str]:
        invalid = list(_path(name, value))
        yield from invalid
        parts = _parts(value)
        if not invalid and _is_shared(parts):
            yield (
                f"{name} is {value!r}, and only root could enter that directory afterwards; use a directory for this "
                f"alone, such as {example}"
            )

    return check


def _notebook_dir(name: str, value: str) -> Iterable[str]:
    invalid = list(_path(name, value))
    yield from invalid
    parts = _parts(value)
    if not invalid and (not parts or _is_of_system(parts)):
        yield (
            f"{name} is {value!r}, where a user's volume would hide programs of the image; use a directory for the "
            "user's files, such as /home/jovyan/work"
        )


def _parts(path: str) -> list[str]:
    """Return the names in an absolute path, without `..`."""
    return [name for name in posixpath.normpath(path).split("/") if name]


def _is_shared(parts: list[str]) -> bool:
    return not parts or _is_of_system(parts) or "/".join(parts) in SHARED


def _is_of_system(parts: list[str]) -> bool:
    return parts[0] in SYSTEM_TREES or "/".join(parts) in SYSTEM_DIRECTORIES


def _ca_bundle(name: str, value: str) -> Iterable[str]:
    if value:
        yield from _path(name, value)


def _fetch_to(name: str, value: str) -> Iterable[str]:
    if value and not value.startswith(("/", "~")):
        yield f"{name} is {value!r}; use an absolute path on the machine that runs Ansible"


PATHS: dict[str, Callable[[str, str], Iterable[str]]] = {
    "notebook_dir": _notebook_dir,
    "config_dir": _own_directory("/etc/jupyterhub"),
    "backup_dir": _own_directory("/var/backups/jupyterhub"),
    "backup_config_dir": _own_directory("/etc/jupyterhub"),
    "backup_metrics_dir": _path,  # may be a directory of node_exporter's
    "ca_bundle": _ca_bundle,
    "backup_fetch_to": _fetch_to,
}


class FilterModule:
    """The filter, as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], list[str]]]:
        """Return the filter by its name in playbooks."""
        return {
            "jupyterhub_name_problems": lambda settings: [f"jupyterhub_{problem}" for problem in problems(settings)]
        }
