"""Filters that check an operator's settings, with the names that the operator uses. Pure Python, no I/O."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Callable

# The limit of bcrypt, which hashes the passwords.
MAXIMUM_PASSWORD_BYTES = 72

# Valid for containers, volumes, networks and host names.
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

# Characters that are valid in NativeAuthenticator and in a path of a URL.
USER_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")

IMAGE_SOURCES = ("auto", "pull", "build")
PULL_POLICIES = ("missing", "always", "never")
SIGNUPS = ("open", "approval", "closed")
USER_STATES = ("present", "disabled", "absent")
UPDATE_PASSWORD = ("on_create", "always")
USER_KEYS = ("name", "state", "admin", "groups", "password", "update_password")
UNDECLARED_ADMINS = ("keep", "demote")
OLD_SERVERS = ("keep", "stop-idle", "stop")
# Servers report the activity of their kernels every five minutes, plus or minus 10% (JUPYTERHUB_ACTIVITY_INTERVAL).
MINIMUM_IDLE_SECONDS = 600


def unknown_settings(names: Iterable[str], known: Iterable[str], renamed: Mapping[str, str]) -> list[str]:
    """Return a message for each setting that does not exist, with its new name or the most similar one.

    :param names: names of variables that are set for a host.
    :param known: names of all settings that begin with ``jupyterhub_``.
    :param renamed: new name of each setting that had another one in an earlier version.
    """
    known, names = sorted(known), set(names)
    problems = [f"{name} is called {renamed[name]} now; rename it" for name in sorted(names & set(renamed))]
    for name in sorted({name for name in names if name.startswith("jupyterhub_")} - set(known) - set(renamed)):
        hint = _suggestion(name, known) or "remove it."
        problems.append(f"{name} is not a setting; {hint} docs/reference/settings.md lists them all")
    return problems


def setting_problems(settings: dict[str, Any], tested_versions: Iterable[str]) -> list[str]:
    """Return a message for each invalid value: which setting, why, and what to write instead.

    :param settings: the settings of role ``jupyterhub``, without the prefix ``jupyterhub_``, as its argument
        specification has them.
    :param tested_versions: versions of JupyterHub that this deployment is tested with.
    """
    checks: list[Callable[[], Iterable[str]]] = [
        lambda: _name(settings["name"]),
        lambda: _port(settings["port"]),
        lambda: _public_url(settings["public_url"]),
        lambda: _one_of("image_source", settings["image_source"], IMAGE_SOURCES),
        lambda: _one_of("pull_policy", settings["pull_policy"], PULL_POLICIES),
        lambda: _keep_images(settings["keep_images"]),
        lambda: _one_of("native_signup", settings["native_signup"], SIGNUPS),
        lambda: _one_of("old_servers", settings["old_servers"], OLD_SERVERS),
        lambda: _idle_seconds(settings["old_servers_idle_seconds"]),
        lambda: _version(str(settings["version"]), list(tested_versions)),
        lambda: _admin_user(str(settings["admin_user"])),
        lambda: _admin_password(settings["admin_password"], settings["native_minimum_password_length"]),
        lambda: _users(settings["users"], settings["native_minimum_password_length"]),
        lambda: _one_of("undeclared_admins", settings["undeclared_admins"], UNDECLARED_ADMINS),
        lambda: _registry_logins(settings["registry_logins"]),
        lambda: _extra_config(settings["extra_config"]),
        lambda: _path("notebook_dir", settings["notebook_dir"]),
        lambda: _path("config_dir", settings["config_dir"]),
    ]
    return [f"jupyterhub_{problem}" for check in checks for problem in check()]


def host_problems(host: dict[str, Any], facts: dict[str, Any], port: int, minimum_free_gib: float) -> list[str]:
    """Return a message for each reason why a hub cannot run on a host.

    :param host: what the module ``jupyterhub_host_info`` returned.
    :param facts: Ansible's facts of the host, the subset ``distribution``.
    :param port: the hub's port.
    :param minimum_free_gib: disk space that must be free for images and users' data, in GiB.
    """
    problems = []
    oldest = {"Debian": (12,), "Ubuntu": (22, 4)}
    distribution, version = facts["distribution"], str(facts["distribution_version"])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if distribution not in oldest or (numbers and numbers < oldest[distribution]):
        problems.append(f"{distribution} {version} is not supported; use Debian 12 or newer, or Ubuntu 22.04 or newer")
    if host["port_holder"]:
        problems.append(
            f"jupyterhub_port {port} is taken by {host['port_holder']}; stop it or choose another jupyterhub_port"
        )
    free = host["disk_free_bytes"] / 2**30
    if free < minimum_free_gib:
        problems.append(
            f"{host['disk_path']} has {free:.1f} GiB free, less than jupyterhub_minimum_free_gib ({minimum_free_gib}); "
            "free disk space (`docker system df` shows what Docker uses) or lower the setting"
        )
    return problems


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _name(value: str) -> Iterable[str]:
    if not NAME.fullmatch(value):
        yield f"name is {value!r}; use at most 40 lower-case letters, digits and dashes, a letter first"
        return
    # The hub `jupyter-alice` would have the name of alice's server at the hub `jupyterhub`, and the data of the hub
    # `lab-user` that of the volume of the user `data` at the hub `lab` (see roles/jupyterhub/vars/main.yml).
    first, *others = value.split("-")
    if "jupyter" in (first, *others) or "user" in others:
        yield f"name is {value!r}, which servers or volumes of another hub's users may have; leave out jupyter and user"


def _port(value: Any) -> Iterable[str]:
    if not str(value).isdigit() or not 1 <= int(value) <= 65535:
        yield f"port is {value!r}; use a number from 1 to 65535"


def _keep_images(value: Any) -> Iterable[str]:
    if not re.fullmatch(r"-1|\d{1,4}", str(value)):
        yield f"keep_images is {value!r}; use the number of earlier images of each kind to keep, or -1 to keep all"


def _public_url(value: str) -> Iterable[str]:
    if value and not re.match(r"https?://[^/\s]+", value):
        yield f"public_url is {value!r}; use a complete URL such as https://hub.example.com/"


def _one_of(name: str, value: Any, choices: Iterable[str]) -> Iterable[str]:
    if value not in choices:
        yield f"{name} is {value!r}; use one of {', '.join(choices)}"


def _idle_seconds(value: Any) -> Iterable[str]:
    if not str(value).isdigit() or int(value) < MINIMUM_IDLE_SECONDS:
        yield (
            f"old_servers_idle_seconds is {value!r}; use a whole number of at least {MINIMUM_IDLE_SECONDS}, because "
            "servers report the activity of their kernels only every five minutes"
        )


def _version(value: str, tested: list[str]) -> Iterable[str]:
    if value not in tested:
        yield f"version is {value}, which this deployment is not tested with; use {' or '.join(tested)}"


def _admin_user(value: str) -> Iterable[str]:
    if not USER_NAME.fullmatch(value):
        yield f"admin_user is {value!r}; use lower-case letters, digits and . _ @ + -, a letter or digit first"


def _admin_password(value: str, minimum: int) -> Iterable[str]:
    if value and len(value) < int(minimum):
        yield (
            f"admin_password has {len(value)} characters, fewer than jupyterhub_native_minimum_password_length "
            f"({minimum}); choose a longer one, or leave it empty to have one generated"
        )
    if len(value.encode()) > MAXIMUM_PASSWORD_BYTES:
        yield f"admin_password has more than {MAXIMUM_PASSWORD_BYTES} bytes; choose a shorter one"


def _users(values: Any, minimum: int) -> Iterable[str]:
    """Check what does not need the hub; the module jupyterhub_users checks names, for example."""
    if not isinstance(values, list) or not all(isinstance(user, dict) and user.get("name") for user in values):
        yield "users is not a list of users with names; write each as {name: alice}"
        return
    names = [str(user["name"]) for user in values]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"users: {name} is declared {names.count(name)} times; combine the entries"
    for user in values:
        name, password = user["name"], str(user.get("password") or "")
        for key in user:
            if key not in USER_KEYS:
                hint = _suggestion(str(key), USER_KEYS) or f"use {', '.join(USER_KEYS)}"
                yield f"users: {name} has {key}, which is not known; {hint}"
        for key, choices in (("state", USER_STATES), ("update_password", UPDATE_PASSWORD)):
            if user.get(key, choices[0]) not in choices:
                yield f"users: {key} of {name} is {user[key]!r}; use one of {', '.join(choices)}"
        if "password" in user and len(password) < int(minimum):
            yield (
                f"users: the password of {name} has {len(password)} characters, fewer than "
                f"jupyterhub_native_minimum_password_length ({minimum}); choose a longer one"
            )
        if len(password.encode()) > MAXIMUM_PASSWORD_BYTES:
            yield f"users: the password of {name} has more than {MAXIMUM_PASSWORD_BYTES} bytes; choose a shorter one"


def _registry_logins(values: Any) -> Iterable[str]:
    for number, login in enumerate(values, start=1):
        missing = [key for key in ("registry", "username", "password") if not login.get(key)]
        if missing:
            yield f"registry_logins: entry {number} lacks {', '.join(missing)}"


def _extra_config(text: str) -> Iterable[str]:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        shown = (getattr(error, "text", None) or "").strip()
        yield (
            f"extra_config is not valid Python{f', line {line}' if line else ''}: {getattr(error, 'msg', error)}"
            + (f", at: {shown}" if shown else "")
        )


def _path(name: str, value: str) -> Iterable[str]:
    if not value.startswith("/"):
        yield f"{name} is {value!r}; use an absolute path"


class FilterModule:
    """The filters, as Ansible loads them."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters by their names in playbooks."""
        return {
            "jupyterhub_unknown_settings": unknown_settings,
            "jupyterhub_setting_problems": setting_problems,
            "jupyterhub_host_problems": host_problems,
        }
