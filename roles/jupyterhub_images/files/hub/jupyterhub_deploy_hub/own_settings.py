"""The deployment's own settings in jupyterhub_config.py, and what jupyterhub_extra_config does to them. Pure.

An assignment replaces a whole value: ``c.Authenticator.admin_users = {"alice"}`` would remove the administrator of the
deployment. So `merge` adds the deployment's own entries again to dictionaries and sets, when the configuration loads.
`problems` finds settings that the rest of the deployment depends on and that cannot be merged; the check refuses them.
"""

from __future__ import annotations

import contextlib
import copy
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from . import container_settings, signin
from .names import CULLER_SERVICE, DEPLOY_SERVICE

#: c.<section>.<trait>, and why it cannot be changed there.
Problem = tuple[str, str, str]

_REMOVE = "remove the line"
_ADDRESS = f"the deployment looks for the hub at its own address (port 8081 of the container, below /hub/); {_REMOVE}"
_PATH = (
    f"the deployment's proxy and its checks use the hub without a path; {_REMOVE}; see docs/how-to/address-and-port.md"
)
_LISTENS = (
    f"the front listens for the hub, at jupyterhub_bind_address, and uses it without a path; {_REMOVE}; see "
    "docs/how-to/address-and-port.md"
)
_HTTPS = "the front serves HTTPS; set jupyterhub_https instead, see docs/how-to/https.md"
_PROXY = f"the hub could not reach the deployment's proxy; {_REMOVE}"
_NAMES = f"the deployment finds users' servers and volumes by its own names; {_REMOVE}"
#: Settings that the rest of the deployment depends on, by their section or the setting that names their class.
_FIXED: dict[str, dict[str, str]] = {
    "JupyterHub": {
        "db_url": f"backups, restores and the deletion of users only know the deployment's own database; {_REMOVE}",
        "cookie_secret": f"backups only know the deployment's own cookie secret; {_REMOVE}",
        "cookie_secret_file": f"backups only know the deployment's own cookie secret; {_REMOVE}",
        "cleanup_servers": f"each update of the hub would stop the servers of all users; {_REMOVE}",
        "proxy_class": f"the deployment runs configurable-http-proxy in its own container; {_REMOVE}",
        "public_url": "set jupyterhub_public_url instead",
        "hub_ip": _ADDRESS,
        "hub_connect_ip": _ADDRESS,
        "hub_port": _ADDRESS,
        "hub_connect_port": _ADDRESS,
        "hub_bind_url": _ADDRESS,
        "hub_connect_url": _ADDRESS,
        "hub_prefix": _ADDRESS,
        "hub_routespec": _ADDRESS,
        "internal_ssl": _ADDRESS,
        "base_url": _PATH,
        "ip": _LISTENS,
        "bind_url": _LISTENS,
        "ssl_key": _HTTPS,
        "ssl_cert": _HTTPS,
        "subdomain_host": "set jupyterhub_subdomains instead",
        # Old names of settings of the proxy and the authenticator.
        "proxy_api_ip": _PROXY,
        "proxy_api_port": _PROXY,
        "proxy_auth_token": _PROXY,
        "admin_users": "JupyterHub ignores it beside the administrator of the deployment; set "
        "c.Authenticator.admin_users instead",
        "active_server_limit": "set jupyterhub_server_limit instead",
        "concurrent_spawn_limit": "set jupyterhub_concurrent_starts instead",
    },
    "CryptKeeper": {
        "keys": "what is encrypted with the deployment's own keys could not be read any more; add a key to the file "
        "secrets/crypt_key instead",
    },
    "ConfigurableHTTPProxy": {
        "should_start": f"the deployment runs the proxy in its own container; {_REMOVE}",
        "api_url": _PROXY,
        "auth_token": _PROXY,
    },
    "spawner_class": {
        "hub_name": _NAMES,
        "prefix": _NAMES,
        "name_template": _NAMES,
        "escape": _NAMES,
        "format_volume_name": _NAMES,
        "network_name": f"the hub and the servers could not reach each other; {_REMOVE}",
        "ip": f"the hub could not reach the servers; {_REMOVE}",
        "hub_connect_url": f"the servers could not reach the hub; {_REMOVE}",
        "cgroup_parent": "set jupyterhub_total_memory_limit instead",
        "use_internal_ip": f"the hub could not reach the servers, whose ports Docker would publish; {_REMOVE}",
        "remove": f"a stopped server would start again with its old image; {_REMOVE}",
        "image": "set jupyterhub_notebook_image instead, which installs and tests the image",
        "cmd": "set jupyterhub_notebook_command instead, which the test of the image runs",
        "notebook_dir": "set jupyterhub_notebook_dir instead",
    },
    "authenticator_class": {
        "authenticators": "set jupyterhub_authenticators instead",
    },
}
#: dockerspawner's old names of settings, which replace the values of the new ones.
_OLD_NAMES = {
    "container_image": "image",
    "container_name_template": "name_template",
    "container_prefix": "prefix",
    "remove_containers": "remove",
}
#: Values without an effect, which are common in other deployments' configurations.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "hub_port": (8081,),
    "hub_prefix": ("/hub/", "/hub"),
    "hub_routespec": ("/",),
    "hub_bind_url": ("",),
    "hub_connect_url": ("",),
    "internal_ssl": (False,),
    "use_internal_ip": (True,),
    "base_url": ("/", ""),
    "ssl_key": ("",),
    "ssl_cert": ("",),
    "admin_users": (set(), []),
    "cgroup_parent": ("",),
}
_OTHERS = {
    "JupyterHub": ["JupyterHub"],
    "CryptKeeper": ["CryptKeeper"],
    "ConfigurableHTTPProxy": ["ConfigurableHTTPProxy", "Proxy"],
}
#: What the class of a setting has to be, and what to do about another one.
_CLASSES = {
    "spawner_class": "is not a subclass of jupyterhub_deploy_hub.spawner.HubSpawner, so servers would lose their "
    "hardening, labels and volumes; derive your class from it",
    "authenticator_class": "replaces the authenticators of jupyterhub_authenticators; set that instead",
}
#: Lists to which the deployment's own entries are added again, after those of the operator.
_LISTS = ("template_paths", "trusted_downstream_ips")


def keep(c: Any, entries: list[Any], services: list[dict[str, Any]], roles: list[dict[str, Any]]) -> Callable[[], None]:
    """Return a function that adds the deployment's own entries to `c` again, after the operator's text.

    `entries` are the authenticators in settings.json.
    """
    ours = copied(c)

    def restore() -> None:
        signin.refuse_for_all(c, entries)
        merge(c, ours)
        c.JupyterHub.services = [*c.JupyterHub.services, *services]
        c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, *roles]

    return restore


def copied(c: Any) -> dict[str, dict[str, Any]]:
    """Return a copy of the dictionaries, sets and lists in `c` that `merge` may need."""
    return {
        section: {
            trait: copy.copy(value)
            for trait, value in values.items()
            if value and (isinstance(value, (dict, set)) or trait in _LISTS)
        }
        for section, values in c.items()
    }


def merge(c: Any, ours: Mapping[str, Mapping[str, Any]]) -> None:
    """Add `ours` (from `copied`) again to what the operator's text assigned in `c`."""
    for section, values in ours.items():
        for trait, own in values.items():
            for name in [section, *_overriding(c, section, trait)]:
                theirs = c[name].get(trait)
                if isinstance(theirs, (dict, set, list, tuple)):
                    c[name][trait] = _merged(trait, own, theirs)


def _merged(trait: str, own: Any, theirs: Any) -> Any:
    if isinstance(own, set):
        return {*own, *theirs}
    if isinstance(own, list):
        return [*theirs, *(entry for entry in own if entry not in theirs)]
    if not isinstance(theirs, dict):
        return theirs  # the check reports the wrong type
    if trait == "volumes":  # another volume at the mount point of ours replaces it
        targets = {_target(volume) for volume in theirs.values()}
        own = {name: volume for name, volume in own.items() if _target(volume) not in targets}
        return {**own, **theirs}
    inner = {
        key: {**value, **theirs[key]}
        for key, value in own.items()
        if isinstance(value, dict) and isinstance(theirs.get(key), dict)
    }
    return {**own, **theirs, **inner}


def _target(volume: Any) -> str:
    return str(volume.get("bind") if isinstance(volume, dict) else volume).rstrip("/")


def _overriding(c: Any, section: str, trait: str) -> list[str]:
    """Return the sections with `trait` that have precedence over `section`: those of its subclasses."""
    others = [name for name, values in c.items() if name != section and isinstance(values, dict) and trait in values]
    for setting in _CLASSES if others else ():
        names = _sections(c, setting)
        if section in names:
            return [name for name in names[: names.index(section)] if name in others]
    return []


def _sections(c: Any, setting: str) -> list[str]:
    """Return the sections that the class of a setting reads, the one with precedence first."""
    return list(dict.fromkeys(base.__name__ for base in getattr(_class(c, setting), "__mro__", ())))


def _class(c: Any, setting: str) -> Any:
    """Return the class that ``c.JupyterHub.<setting>`` names, None if there is no such class."""
    value = c.get("JupyterHub", {}).get(setting)
    if not isinstance(value, str):
        return value
    with contextlib.suppress(Exception):  # the check reports it
        return signin.load(value, f"jupyterhub.{setting.removesuffix('_class')}s")
    return None


def problems(ours: Any, c: Any) -> Iterator[Problem]:
    """Yield the settings of the deployment that the configuration `c` has lost.

    `ours` is the configuration before the operator's text.
    """
    for setting, text in _CLASSES.items():
        found = _class(c, setting)
        if found is not None and not _is_subclass(found, _class(ours, setting)):
            yield "JupyterHub", setting, f"{getattr(found, '__name__', found)} {text}"
    for family, fixed in _FIXED.items():
        sections = _sections(c, family) if family in _CLASSES else _OTHERS[family]
        for section in sections:
            for trait, value in c.get(section, {}).items():
                if _same(value, ours.get(section, {}).get(trait)):
                    continue
                first = next(name for name in sections if trait in c.get(name, {}))
                name = _OLD_NAMES.get(trait, trait)
                if name in fixed:
                    if not _same(value, _effective(ours, sections, name)) and not _is_harmless(name, value):
                        yield section, trait, fixed[name]
                elif first != section and trait in ours.get(first, {}):
                    text = f"has no effect, because the deployment sets c.{first}.{trait}; write c.{first}.{trait}"
                    yield section, trait, text
    spawner = _class(c, "spawner_class")
    if spawner is not None:
        yield from container_settings.problems(c, spawner)
    for trait in ("services", "load_roles"):
        names = [entry.get("name") for entry in c.get("JupyterHub", {}).get(trait, []) if isinstance(entry, dict)]
        for name in (DEPLOY_SERVICE, CULLER_SERVICE):
            if names.count(name) > 1:
                yield "JupyterHub", trait, f"the name {name} is that of the deployment's own entry; choose another name"


def _is_subclass(found: Any, wanted: Any) -> bool:
    """Return whether a class has the other one, from another execution of the configuration, as a base."""
    return (wanted.__module__, wanted.__name__) in [(base.__module__, base.__name__) for base in found.__mro__]


def _effective(c: Any, sections: list[str], trait: str) -> Any:
    return next((c[name][trait] for name in sections if trait in c.get(name, {})), None)


def _is_harmless(trait: str, value: Any) -> bool:
    """Return whether a value changes nothing, and nobody expects it to. A port and a public name do not matter."""
    if trait == "ip":
        return not _is_one_address(str(value))
    if trait == "bind_url":
        url = urlsplit(str(value))
        return url.path in ("", "/") and not _is_one_address(url.hostname or "")
    return value in _HARMLESS.get(trait, ())


def _is_one_address(host: str) -> bool:
    """Return whether a server that listens there is reached at one address of the host only."""
    try:
        return host == "localhost" or not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name, "*" or nothing


def _same(value: Any, own: Any) -> bool:
    """Return whether two values are equal; classes from two executions of the configuration are, by their names."""
    if isinstance(value, str) and isinstance(own, str):
        return value.rstrip("/") == own.rstrip("/")  # URLs
    return bool(value == own) or repr(value) == repr(own)
