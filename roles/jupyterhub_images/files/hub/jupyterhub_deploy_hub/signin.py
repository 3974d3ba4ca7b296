"""Turn the list ``authenticators`` in settings.json into JupyterHub's configuration.

An entry is ``"native"``, or a dictionary: ``name``, ``class`` (a registered name or a dotted path), ``label``,
``prefix`` of user names, ``users`` (the provider's name to the hub's) and ``traits``. Secret values are in the file of
secrets.
"""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

NATIVE = "native"
#: Settings that must not be given to all authenticators at once: they would open one by what was meant for another.
_NOT_FOR_ALL = ("admin_users", "allow_all", "allowed_users", "allow_existing_users", "username_map")


def configure(c: Any, settings: dict[str, Any], admin: str, secrets_file: Path) -> None:
    """Configure `c` for the authenticators in `settings`; `admin` is the name of the native administrator."""
    entries = settings["authenticators"]
    if entries == [NATIVE]:
        # Only authorised native accounts can sign in. Set for c.Authenticator, so that jupyterhub_extra_config can add
        # to it.
        c.JupyterHub.authenticator_class = "jupyterhub_deploy_hub.native.HubNative"
        c.Authenticator.admin_users = {admin}
        c.Authenticator.allow_all = True
        return
    secrets = read_secrets(secrets_file)
    parts = [(_as_dict(entry), authenticator_class(entry, len(entries) > 1)) for entry in entries]
    for entry, cls in parts:
        # Two of one class (two GitLabs) need separate settings.
        if [other.__name__ for _, other in parts].count(cls.__name__) > 1:
            cls.__name__ = f"{cls.__name__}_{entry['name']}"
        values: dict[str, Any] = (
            {"admin_users": {admin}, "allow_all": True} if entry["name"] == NATIVE else dict(entry["traits"])
        )
        # OAuthenticator's default. JupyterHub's default accepts all users in the hub's database when allowed_users is
        # set: also a user who was removed from the list, or one with the name of another provider's user.
        values.setdefault("allow_existing_users", False)
        if "login_service" in cls.class_trait_names(config=True):
            values.setdefault("login_service", entry["label"])
        if "oauth_callback_url" in cls.class_trait_names(config=True) and settings["public_url"]:
            path = "oauth_callback" if len(entries) == 1 else f"{entry['name']}/oauth_callback"
            values.setdefault("oauth_callback_url", f"{settings['public_url'].rstrip('/')}/hub/{path}")
        for trait, value in {**values, **secrets.get(entry["name"], {})}.items():
            c[cls.__name__][trait] = value
    if NATIVE not in entries:
        c.JupyterHub.template_vars = {"native_accounts": False}
    if len(parts) == 1:
        c.JupyterHub.authenticator_class = parts[0][1]
    else:
        _configure_multi(c, parts)


def authenticator_class(entry: Any, one_of_several: bool) -> Any:
    """Return the class for an entry. Raises ValueError if the image lacks it."""
    cls: Any
    if entry == NATIVE:
        from .native import HubNative

        cls = HubNative
    else:
        from .oauth import with_clear_errors

        cls = with_clear_errors(load(entry["class"]))
    if one_of_several:
        from .multi import part

        entry = _as_dict(entry)
        return part(cls, entry["prefix"], entry["label"], entry["users"])
    if entry == NATIVE:
        return cls
    from .single import single

    return single(cls, entry["label"], entry["users"])


def preload(entries: list[Any]) -> None:
    """Import the classes of `entries` while another hub still serves. Errors show when the configuration loads."""
    for entry in entries:
        with contextlib.suppress(Exception):
            authenticator_class(entry, len(entries) > 1)


def _as_dict(entry: Any) -> dict[str, Any]:
    return {"name": NATIVE, "label": "a password", "prefix": "", "users": {}} if entry == NATIVE else entry


def _configure_multi(c: Any, parts: list[Any]) -> None:
    from .multi import HubMulti

    c.JupyterHub.authenticator_class = HubMulti
    for _, cls in parts:
        for trait, nothing in (("admin_users", set()), ("allow_all", False), ("allowed_users", set())):
            # Set for each, so that a value for all of them has no effect.
            if trait in cls.class_trait_names(config=True) and trait not in c[cls.__name__]:
                c[cls.__name__][trait] = nothing
    c.HubMulti.authenticators = [
        {"authenticator_class": cls, "url_prefix": "" if entry["name"] == NATIVE else f"/{entry['name']}"}
        for entry, cls in parts
    ]
    c.HubMulti.any_allow_config = True
    # The hub creates these administrators at its first start.
    c.HubMulti.admin_users = {
        entry["users"].get(name, f"{entry['prefix']}{name}")
        for entry, cls in parts
        for name in c[cls.__name__].admin_users
    }


def administrators(c: Any) -> set[str]:
    """Return the administrators in the configuration `c`, by their names at the hub.

    With several authenticators, each has its own list with the names at its provider.
    """
    if "HubMulti" not in c:
        return {str(name) for section in c.values() for name in _names(section)}
    found = {str(name) for name in _names(c.HubMulti)}
    for part in c.HubMulti.authenticators:
        cls = part["authenticator_class"]
        names = {str(name) for base in cls.__mro__ for name in _names(c.get(base.__name__, {}))}
        found |= {cls.users.get(name, f"{cls.prefix}{name}") for name in names}
    return found


def provider_prefix(c: Any, name: str) -> str | None:
    """Return the prefix of a user who signs in at one of several providers, None for a native user."""
    for part in c.HubMulti.authenticators if "HubMulti" in c else []:
        cls = part["authenticator_class"]
        if name in cls.users.values():
            return ""
        if cls.prefix and name.startswith(cls.prefix):
            return str(cls.prefix)
    return None


def _names(section: Any) -> Any:
    named = section.get("admin_users") if hasattr(section, "get") else None
    return named if isinstance(named, (set, list, tuple)) else ()


def refuse_for_all(c: Any, entries: list[Any]) -> None:
    """Reject settings for all authenticators that were meant for one. Raises ValueError."""
    if len(entries) < 2:
        return
    for trait in _NOT_FOR_ALL:
        if trait in c.Authenticator:
            raise ValueError(
                f"c.Authenticator.{trait} would apply to every authenticator; set it for one, for example as "
                f"c.GitHubOAuthenticator.{trait} or c.HubNative.{trait}"
            )


def load(name: str, group: str = "jupyterhub.authenticators") -> Any:
    """Return a class by its registered name (``github``) or dotted path. Raises ValueError."""
    from traitlets.utils.importstring import import_item

    for found in entry_points(group=group):
        if found.name.lower() == name.lower():
            return found.load()
    try:
        return import_item(name)
    except ImportError as error:
        raise ValueError(
            f"the hub image has no authenticator {name} ({error}); if a package is missing, add it with its version to "
            "jupyterhub_hub_extra_requirements"
        ) from error


def read_secrets(path: Path) -> dict[str, Any]:
    """Return entry name to trait to value, as the module ``jupyterhub_hub`` wrote it; nothing without a file."""
    if not path.exists():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8"))["values"])


def read_entries(settings_file: Path) -> list[Any]:
    """Return the entries in settings.json; only native accounts without such a file."""
    if not settings_file.exists():
        return [NATIVE]
    return list(json.loads(settings_file.read_text(encoding="utf-8")).get("authenticators", [NATIVE]))
