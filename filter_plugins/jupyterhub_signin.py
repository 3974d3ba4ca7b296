"""Filters that check an operator's authenticators and convert them into the hub's settings.

Pure Python, no I/O. Each is ``native``, ``github``, ``gitlab``, or a dictionary with a class and its traits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Callable

NATIVE = "native"
# The providers by name; `traits` maps a setting to the trait of the provider's class.
PROVIDERS: dict[str, dict[str, Any]] = {
    "github": {
        "label": "GitHub",
        "traits": {"url": "github_url", "allowed_organizations": "allowed_organizations"},
        "groups": ("allowed_organizations",),
        # The pattern of each list's members, and how to write them.
        "members": {
            "allowed_organizations": (
                r"[^\s:/]+(:[^\s:/]+)?",
                "write an organisation as its address has it (example-course), a team as example-staff:teachers",
            ),
        },
        "scope": [],
        "scope_for_groups": ["read:org"],  # without it GitHub shows only public members
    },
    "gitlab": {
        "label": "GitLab",
        "traits": {
            "url": "gitlab_url",
            "allowed_groups": "allowed_gitlab_groups",
            "allowed_projects": "allowed_project_ids",
        },
        "groups": ("allowed_groups", "allowed_projects"),
        "members": {
            "allowed_groups": (
                r"[^\s:/]+(/[^\s:/]+)*",
                "write a group as its path (faculty), a subgroup as faculty/lab",
            ),
        },
        "scope": ["read_user"],
        "scope_for_groups": ["read_api"],  # includes read_user
    },
}
ENTRY_KEYS = ("name", "class", "label", "prefix", "users", "traits", "secrets")
# A part of URLs and of user names.
ENTRY_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
# The hub's own pages, whose URLs an authenticator must not use.
PAGES = {
    "accept-share", "activate", "admin", "api", "authorize", "change-password", "confirm", "discard", "error",
    "health", "home", "login", "logo", "logout", "metrics", "native", "oauth_callback", "oauth_login", "security",
    "signup", "spawn", "spawn-pending", "static", "stop", "token", "user",
}  # fmt: skip
# Classes that have no administrators but those of their traits. The code of another class may decide who is one.
KNOWN_CLASSES = re.compile(
    r"(local-)?(auth0|azuread|bitbucket|cilogon|generic-oauth|github|gitlab|globus|google|mediawiki|openshift)"
    r"|dummy|ldap|pam|(jupyterhub|oauthenticator|ldapauthenticator)\..+",
    re.IGNORECASE,
)
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+")


def entries(settings: Mapping[str, Any]) -> list[Any]:
    """Return what settings.json has under ``authenticators``: ``"native"``, or a dictionary without any secret value.

    :param settings: the settings of role ``jupyterhub``, without the prefix ``jupyterhub_``.
    """
    return [_entry(way, settings) for way in settings["authenticators"]]


def secret_values(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the secret traits of each authenticator by its name, empty when there are none."""
    found: dict[str, dict[str, Any]] = {}
    for way in settings["authenticators"]:
        if isinstance(way, Mapping):
            if way.get("secrets"):
                found[str(way["name"])] = dict(way["secrets"])
        elif way in PROVIDERS:
            found[way] = {"client_secret": settings[f"{way}_client_secret"]}
    return found


def _entry(way: Any, settings: Mapping[str, Any]) -> Any:
    if way == NATIVE:
        return NATIVE
    if not isinstance(way, Mapping):
        way = {
            "name": way,
            "class": way,
            "label": PROVIDERS[way]["label"],
            "users": settings[f"{way}_users"],
            "traits": _provider_traits(way, settings),
        }
    return {
        "name": way["name"],
        "class": way["class"],
        "label": way.get("label") or way["name"],
        "prefix": f"{way['name']}:" if way.get("prefix") is None else way["prefix"],
        "users": dict(way.get("users") or {}),
        "traits": dict(way.get("traits") or {}),
    }


def _provider_traits(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    provider = PROVIDERS[name]
    grouped = any(settings[f"{name}_{key}"] for key in provider["groups"])
    traits = {
        "client_id": settings[f"{name}_client_id"],
        "scope": provider["scope_for_groups" if grouped else "scope"],
        "allow_all": settings[f"{name}_allow_all"],
        # The hub uses lower case, and both providers ignore case.
        "allowed_users": sorted(str(user).lower() for user in settings[f"{name}_allowed_users"]),
        "admin_users": sorted(str(user).lower() for user in settings[f"{name}_admin_users"]),
    }
    for key, trait in provider["traits"].items():
        value = settings[f"{name}_{key}"]
        if value:
            traits[trait] = value.rstrip("/") if key == "url" else sorted(str(item) for item in value)
    return traits


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Return a message for each setting that keeps users out, or that would let others in. No message has a secret.

    :param settings: the settings of all roles, from the filter ``jupyterhub_typed_settings``. What is missing is not
        checked.
    """
    ways = settings.get("authenticators", [NATIVE])
    if not ways:
        return ["authenticators is empty; use a list such as [native]"]
    found = [problem for way in ways for problem in _way(way, settings)]
    names = [str(way.get("name")) if isinstance(way, Mapping) else str(way) for way in ways]
    found += [f"authenticators has {name} twice; give each its own name" for name in _duplicates(names)]
    complete = all(name in settings for name in ("authenticators", "users", "extra_config", *_names_of_settings(ways)))
    if not found and complete and len(ways) > 1:
        found += _prefixes(settings)
    if not found and complete:
        found += _no_administrator(settings)
    requirements = settings.get("hub_extra_requirements", [])
    for name in ("hub_extra_requirements", "images_hub_extra_requirements", "images_front_extra_requirements"):
        for requirement in settings.get(name, []):
            # The second one has the packages of the first, unless it is set.
            inherited = name.startswith("images_hub") and requirement in requirements
            if not inherited and not REQUIREMENT.fullmatch(requirement):
                found.append(f"{name} has {requirement!r}; pin each package, as in example-package==1.2.3")
    if requirements and settings.get("hub_image"):
        found.append(
            "hub_extra_requirements has no effect on jupyterhub_hub_image, which is ready-made; build the packages "
            "into that image, or leave one of the two settings out"
        )
    return found


def _names_of_settings(ways: Iterable[Any]) -> list[str]:
    """Return the names of the settings that providers among the authenticators use."""
    names: list[str] = []
    for way in ways:
        if isinstance(way, str) and way in PROVIDERS:
            keys = ("client_id", "client_secret", "allow_all", "allowed_users", "admin_users", "users")
            names += [f"{way}_{key}" for key in (*keys, *PROVIDERS[way]["traits"])]
    return names


def _way(way: Any, settings: Mapping[str, Any]) -> Iterable[str]:
    if isinstance(way, Mapping):
        yield from _dictionary(way)
    elif isinstance(way, str) and way in PROVIDERS:
        yield from _provider(way, settings)
    elif way != NATIVE:
        yield (
            f"authenticators has {way!r}, which is not known; use {', '.join([NATIVE, *PROVIDERS])}, or a dictionary "
            "with name, class and traits (docs/how-to/sign-in-other.md)"
        )


def _dictionary(way: Mapping[str, Any]) -> Iterable[str]:
    name = way.get("name")
    if not isinstance(name, str) or not ENTRY_NAME.fullmatch(name) or name in PAGES:
        yield (
            f"authenticators has an entry with the name {name!r}; use at most 20 lower-case letters, digits and "
            "dashes, a letter first, and not a page of the hub"
        )
        name = "?"
    if not isinstance(way.get("class"), str) or not way["class"]:
        yield (
            f"authenticators: {name} lacks class; write the authenticator's name or path, such as generic-oauth or "
            "oauthenticator.google.GoogleOAuthenticator"
        )
    for key in sorted(str(key) for key in set(way) - set(ENTRY_KEYS)):
        yield f"authenticators: {name} has {key}, which is not known; use {', '.join(ENTRY_KEYS)}"
    for key in ("label", "prefix"):
        if way.get(key) is not None and not isinstance(way[key], str):
            yield f"authenticators: {key} of {name} must be a string; put it in quotes"
    for key in ("traits", "secrets", "users"):
        if way.get(key) is not None and not isinstance(way[key], Mapping):
            yield f"authenticators: {key} of {name} must be a dictionary"
    if isinstance(way.get("users"), Mapping):
        yield from _joined(f"authenticators: users of {name}", way["users"])
    if isinstance(way.get("secrets"), Mapping):
        for trait, value in way["secrets"].items():
            if not value:
                yield f"authenticators: the secret {trait} of {name} is empty; keep it in ansible-vault"
            elif isinstance(value, (int, float)):
                yield f"authenticators: the secret {trait} of {name} is not a string; put it in quotes"
    if isinstance(way.get("traits"), Mapping):
        for trait in sorted(str(trait) for trait in way["traits"] if re.search("secret|password", str(trait))):
            yield f"authenticators: {trait} of {name} would be shown in diffs; move it from traits to secrets"


def _provider(name: str, settings: Mapping[str, Any]) -> Iterable[str]:
    label, groups = PROVIDERS[name]["label"], PROVIDERS[name]["groups"]
    for key in ("client_id", "client_secret"):
        if settings.get(f"{name}_{key}") == "":
            yield f"{name}_{key} is empty; docs/how-to/sign-in-{name}.md explains where {label} shows it"
    yield from _names(name, settings)
    yield from _joined(f"{name}_users", settings.get(f"{name}_users", {}))
    if settings.get("public_url") == "":
        yield f"public_url is empty, but {label} needs it: use the URL in the users' browsers"
    allowing = ["allowed_users", *groups, "admin_users"]
    if not any(settings.get(f"{name}_{key}", True) for key in ("allow_all", *allowing)):
        choices = ", ".join(f"jupyterhub_{name}_{key}" for key in allowing[:-1])
        yield (
            f"authenticators has {name}, but nobody can sign in with it: set {choices}, or jupyterhub_{name}_allow_all "
            f"for everyone with an account at {label}"
        )


def _names(name: str, settings: Mapping[str, Any]) -> Iterable[str]:
    label, members = PROVIDERS[name]["label"], PROVIDERS[name]["members"]
    users = dict.fromkeys(("allowed_users", "admin_users"), (r"[^\s:/]+", f"write names as they are at {label}"))
    for key, (pattern, remedy) in {**users, **members}.items():
        for value in settings.get(f"{name}_{key}", []):
            if not re.fullmatch(pattern, value):
                yield f"{name}_{key} has {value!r}; {remedy}"


def _joined(setting: str, users: Mapping[Any, Any]) -> Iterable[str]:
    """Check names that join a provider's users to the hub's: a number in YAML is perhaps not what was written."""
    for theirs, ours in users.items():
        if not (isinstance(theirs, str) and isinstance(ours, str) and theirs.strip() and ours.strip()):
            yield f"{setting} has {theirs!r}: {ours!r}; write two names, in quotes: YAML reads 0123 as 83"


def _prefixes(settings: Mapping[str, Any]) -> Iterable[str]:
    ways = [way if way == NATIVE else _entry(way, settings) for way in settings["authenticators"]]
    prefixes = ["" if way == NATIVE else str(way["prefix"]) for way in ways]
    for prefix in _duplicates(prefixes):
        yield (
            f"authenticators: two have the prefix {prefix!r}, so one user could get the files of another; leave prefix "
            "out, or join single users by users"
        )
    for prefix in prefixes:
        if prefix and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*:", prefix):
            yield f"authenticators: the prefix {prefix!r} must end with a colon, which native names cannot have"


def _no_administrator(settings: Mapping[str, Any]) -> Iterable[str]:
    """Check that there is an administrator, where the settings show it."""
    ways = settings["authenticators"]
    # The operator's Python may name administrators in several ways.
    if "admin" not in settings["extra_config"] and not any(_may_have_administrator(way, settings) for way in ways):
        first = ways[0]
        setting = f"admin_users in the traits of {first['name']}" if isinstance(first, Mapping) else ""
        yield (
            "authenticators lacks native, so jupyterhub_admin_user cannot sign in and there would not be an "
            f"administrator; set {setting or f'jupyterhub_{first}_admin_users'}"
        )
    if NATIVE not in ways:
        for user in settings["users"]:
            if user.get("password") or user.get("state") == "disabled":
                yield (
                    f"users: {user['name']} has a password or is disabled, but authenticators lacks native; set "
                    "who can sign in by the provider's settings, such as jupyterhub_github_allowed_users"
                )


def _may_have_administrator(way: Any, settings: Mapping[str, Any]) -> bool:
    if not isinstance(way, Mapping):
        return way == NATIVE or bool(settings[f"{way}_admin_users"])
    traits = {**(way.get("traits") or {}), **(way.get("secrets") or {})}  # admin_users, admin_groups and so on
    named = any(value for trait, value in traits.items() if "admin" in str(trait))
    return named or not KNOWN_CLASSES.fullmatch(way["class"])


def _duplicates(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


class FilterModule:
    """The filters, as Ansible loads them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names in playbooks."""
        return {
            "jupyterhub_signin_entries": entries,
            "jupyterhub_signin_secrets": secret_values,
            "jupyterhub_signin_labels": lambda settings: [
                entry if entry == NATIVE else entry["label"] for entry in entries(settings)
            ],
            "jupyterhub_signin_problems": lambda settings: [f"jupyterhub_{problem}" for problem in problems(settings)],
        }
