"""Filters that check an operator's settings, with the names that the operator uses. Pure Python, no I/O."""

from __future__ import annotations

import ast
import difflib
import ipaddress
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Callable
from urllib.parse import urlsplit

# The limit of bcrypt, which hashes the passwords.
MAXIMUM_PASSWORD_BYTES = 72

# The least similarity of a misspelt name with another prefix: `jupyter_hub_port` has 0.97, `jupyter_port` 0.89.
MISSPELT = 0.93

# A host name with a dot, not an address: the last part has a letter (RFC 1123, section 2.1).
DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)

# Characters that are valid in NativeAuthenticator and in a path of a URL.
USER_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")

# Of the host name of a hub with an origin for each user. DNS allows 253 characters, and a user's label has up to 63.
HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
LONGEST_HOST = 253 - 64

# The host of a registry, with its port if it has one.
REGISTRY = re.compile(r"([A-Za-z0-9]+([.-][A-Za-z0-9]+|-{2,}[A-Za-z0-9]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
REGISTRY_WANTED = "use the registry's host, with its port if it has one, such as registry.example.com:5000"

# The hub's service that the playbooks use (``hub/api.py`` of the modules has the same).
SERVICE = "deploy"

# The smallest and the largest value of numbers.
LIMITS: dict[str, tuple[int, float]] = {
    "docker_start_timeout": (1, math.inf),
    "port": (1, 65535),
    "http_port": (1, 65535),
    "https_port": (1, 65535),
    "hsts_seconds": (0, math.inf),
    "native_minimum_password_length": (0, MAXIMUM_PASSWORD_BYTES),
    "native_failed_logins": (0, math.inf),
    "native_lockout_seconds": (0, math.inf),
    "native_failed_logins_per_address": (0, math.inf),
    "native_signups_per_address": (0, math.inf),
    "token_max_days": (0, 36500),  # the hub adds it to the present date, and dates end with the year 9999
    "health_timeout": (1, math.inf),
    "minimum_free_gib": (0, math.inf),
    "image_max_age_days": (0, 36500),
    "backup_parallel": (1, math.inf),
    "backup_health_timeout": (1, math.inf),
    "backup_late_hours": (0, math.inf),
    "backup_push_port": (1, 65535),
}
# Servers report the activity of their kernels every five minutes, plus or minus 10% (JUPYTERHUB_ACTIVITY_INTERVAL).
MINIMUM_IDLE_SECONDS = 600


def unknown_settings(names: Iterable[str], known: Iterable[str], renamed: Mapping[str, str]) -> list[str]:
    """Return a message for each setting that does not exist, with its new name or the most similar one.

    A variable that does not begin with ``jupyterhub_`` can be the operator's own, unless it is nearly the same.

    :param names: names of variables that are set for a host.
    :param known: names of all settings.
    :param renamed: new name of each setting that had another one in an earlier version.
    """
    known, names = sorted(known), set(names)
    problems = [f"{name} is called {renamed[name]} now; rename it" for name in sorted(names & set(renamed))]
    for name in sorted(names - set(known) - set(renamed)):
        ours = name.startswith("jupyterhub_")
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75 if ours else MISSPELT)
        if not (ours or near):
            continue
        hint = f"did you mean {near[0]}?" if near else "remove it."
        problems.append(f"{name} is not a setting; {hint} docs/reference/settings.md lists them all")
    return problems


def setting_problems(settings: Mapping[str, Any], tested_versions: Iterable[str]) -> list[str]:
    """Return a message for each invalid value: which setting, why, and what to write instead.

    :param settings: the settings of all roles, from the filter ``jupyterhub_typed_settings``. What is missing is not
        checked.
    :param tested_versions: versions of JupyterHub that this deployment is tested with.
    """
    tested = list(tested_versions)
    checks: list[tuple[Callable[..., Iterable[str]], tuple[str, ...]]] = [
        (_bind_address, ("bind_address",)),
        (_public_url, ("public_url",)),
        (_domain, ("https", "domain")),
        (_url_of_domain, ("https", "domain", "public_url")),
        (_front_ports, ("https", "http_port", "https_port")),
        (_own_certificate, ("https", "tls_certificate", "tls_key")),
        (_trusted_proxies, ("https", "trusted_proxies")),
        (_allowed_networks, ("allowed_networks",)),
        (_subdomains, ("subdomains", "public_url")),
        (_http_proxy, ("http_proxy",)),
        (lambda url: _provider_url("github", url), ("github_url",)),
        (lambda url: _provider_url("gitlab", url), ("gitlab_url",)),
        (_keep_images, ("keep_images",)),
        (_idle_seconds, ("old_servers_idle_seconds",)),
        (lambda version: _version(version, tested), ("version",)),
        (_admin_user, ("admin_user",)),
        (_admin_password, ("admin_password", "native_minimum_password_length")),
        (_users, ("users", "native_minimum_password_length")),
        (_contradictory_users, ("users", "admin_user")),
        (_extra_config, ("extra_config",)),
        (_backup_keep, ("backup_keep",)),
        (_registry_logins, ("registry_logins",)),
        (lambda url: _package_url("docker_repository_url", url), ("docker_repository_url",)),
        (lambda url: _package_url("docker_repository_key_url", url), ("docker_repository_key_url",)),
        (_registry_mirrors, ("docker_registry_mirrors",)),
        (_insecure_registries, ("docker_insecure_registries",)),
    ]
    found = [problem for name in LIMITS if name in settings for problem in _limits(name, settings[name])]
    for check, names in checks:
        if all(name in settings for name in names):
            found += check(*(settings[name] for name in names))
    return [problem if problem.startswith("docker_") else f"jupyterhub_{problem}" for problem in found]


def host_problems(host: dict[str, Any], facts: dict[str, Any], minimum_free_gib: float) -> list[str]:
    """Return a message for each reason why a hub cannot run on a host.

    :param host: what the module ``jupyterhub_host_info`` returned.
    :param facts: Ansible's facts of the host, the subset ``distribution``.
    :param minimum_free_gib: disk space that must be free for images and users' data, in GiB.
    """
    problems = list(host["setting_problems"])
    oldest = {"Debian": (12,), "Ubuntu": (22, 4)}
    distribution, version = facts["distribution"], str(facts["distribution_version"])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if distribution not in oldest or (numbers and numbers < oldest[distribution]):
        problems.append(f"{distribution} {version} is not supported; use Debian 12 or newer, or Ubuntu 22.04 or newer")
    problems += host["name_problems"]
    if host["data_problem"]:
        problems.append(host["data_problem"])
    free = host["disk_free_bytes"] / 2**30
    if free < float(minimum_free_gib):  # a string when given by -e
        problems.append(
            f"{host['disk_path']} has {free:.1f} GiB free, less than jupyterhub_minimum_free_gib ({minimum_free_gib}); "
            "free disk space (`docker system df` shows what Docker uses) or lower the setting"
        )
    return problems


def _limits(name: str, value: float) -> Iterable[str]:
    least, most = LIMITS[name]
    if not least <= value <= most:
        wanted = f"a number from {least} to {most}" if most < math.inf else f"a number of at least {least}"
        yield f"{name} is {value}; use {wanted}"


def _bind_address(value: str) -> Iterable[str]:
    """Check that it is an IPv4 address at which a program can listen, or 0.0.0.0."""
    try:
        address = ipaddress.IPv4Address(value)
        is_valid = not (address.is_multicast or address.is_reserved)
    except ValueError:
        is_valid = False
    if not is_valid:
        yield (
            f"bind_address is {value!r}; use an IPv4 address of the host, such as 127.0.0.1, or 0.0.0.0 for all of them"
        )


def _public_url(value: str) -> Iterable[str]:
    url = re.fullmatch(r"(https?://[^/\s?#@]+)/?(\S*)", value)
    wanted = "use a complete URL such as https://hub.example.com/"
    if value and (not url or "@" in value):
        yield f"public_url is {value!r}; {wanted}"
    elif url and url[2]:
        yield f"public_url is {value!r}, and a URL with a path is not supported; use {url[1]}/"
    elif url:
        try:
            parts = urlsplit(value)
            _ = parts.port  # an error if it is not a valid number
            if not parts.hostname:
                yield f"public_url is {value!r}, which has no host name; {wanted}"
        except ValueError as error:
            yield f"public_url is {value!r} ({error}); {wanted}"


def _domain(https: str, value: str) -> Iterable[str]:
    """Check the host name, which becomes a part of nginx's configuration."""
    wanted = "the host name of the hub in the users' browsers, such as hub.example.com"
    if https != "none" and not value:
        yield f"domain is empty, but jupyterhub_https: {https} needs it: use {wanted}"
    elif value and (len(value) > 253 or not DOMAIN.fullmatch(value)):
        yield f"domain is {value!r}; use {wanted}, in lower-case letters"


def _url_of_domain(https: str, domain: str, public_url: str) -> Iterable[str]:
    """Check that the hub leads browsers to the name that the front serves, over HTTPS."""
    url = re.match(r"(https?)://([^/:]+)", public_url)
    if https == "none" or not DOMAIN.fullmatch(domain) or (public_url and not url):
        return  # nothing to compare, or a problem of `_domain` or `_public_url`
    wanted = f"leave it out, or use https://{domain}/"
    if not url or url[2] != domain:
        yield f"public_url is {public_url!r}, which is not at jupyterhub_domain ({domain}); {wanted}"
    elif url[1] != "https":
        # The hub marks its cookies as Secure by this URL.
        yield f"public_url is {public_url!r}, but jupyterhub_https: {https} means https:// for users; {wanted}"


def _front_ports(https: str, http_port: int, https_port: int) -> Iterable[str]:
    if https in ("acme", "own") and http_port == https_port:
        yield f"https: {https} needs a different number for each of jupyterhub_http_port and jupyterhub_https_port"


def _own_certificate(https: str, certificate: str, key: str) -> Iterable[str]:
    for name, value in (("tls_certificate", certificate), ("tls_key", key)):
        if https == "own" and not value:
            yield f"{name} is empty, but jupyterhub_https: own needs it: use a path on the host, or PEM text"
        elif value and not value.startswith("/") and "-----BEGIN " not in value:
            yield f"{name} is neither an absolute path nor PEM text; docs/how-to/https.md shows both"


def _trusted_proxies(https: str, values: list[str]) -> Iterable[str]:
    if https == "behind" and not values:
        yield (
            "trusted_proxies is empty, but jupyterhub_https: behind needs it: list the addresses from which the other "
            "proxy connects, such as 127.0.0.1"
        )
    for value in values:
        try:
            # Without the name of an interface, and without a netmask, which nginx does not accept.
            network = ipaddress.ip_network(value if re.fullmatch(r"[^%/]+(/[0-9]+)?", value) else "")
        except ValueError:
            yield f"trusted_proxies has {value!r}; use addresses or networks, such as 192.0.2.10 or 192.0.2.0/28"
            continue
        if network.prefixlen == 0:
            yield (
                f"trusted_proxies has {value!r}, so that everybody could choose the address that the hub sees; list "
                "only those of the other proxy, such as 192.0.2.10"
            )


def _allowed_networks(values: list[str]) -> Iterable[str]:
    for value in values:
        try:
            network = ipaddress.ip_network(value if "%" not in value else "")
        except ValueError:
            yield f"allowed_networks has {value!r}; use addresses or networks, such as 192.168.5.9 or 10.20.0.0/16"
            continue
        if network.prefixlen == 0:
            yield f"allowed_networks has {value!r}, which allows everything; use jupyterhub_isolation: peers for that"


def _subdomains(value: bool, public_url: str) -> Iterable[str]:
    """Check that users can have host names below the hub's. Other problems of the URL are those of `_public_url`."""
    if not value:
        return
    needed = "subdomains needs jupyterhub_public_url with the host name of the hub, such as https://hub.example.com/"
    try:
        host = urlsplit(public_url).hostname or ""
    except ValueError:  # half an IPv6 address
        host = ""
    if not host:
        yield f"{needed}; jupyterhub_public_url has none"
    elif ":" in host or re.fullmatch(r"[0-9.]+", host):
        yield f"{needed}; {host} is an IP address, which has no names below it"
    elif "." not in host:
        # Browsers do not share the hub's cookies with the names below it.
        yield f"{needed}; {host} has no domain"
    elif len(host) > LONGEST_HOST or not all(HOST_LABEL.fullmatch(label) for label in host.split(".")):
        yield f"{needed}; {host} is not a valid host name"


def _http_proxy(value: str) -> Iterable[str]:
    if value and not (re.fullmatch(r"http://[^/\s?#@]+/?", value) and _has_host(value)):
        # A password would be in the environment of the hub's container.
        yield f"http_proxy is {value!r}; use a URL without a user name, such as http://proxy.example.com:3128"


def _provider_url(provider: str, value: str) -> Iterable[str]:
    if value and not (re.fullmatch(r"https?://[^/\s]+(/\S*)?", value) and _has_host(value)):
        yield f"{provider}_url is {value!r}; use a complete URL such as https://{provider}.example.com"


def _has_host(url: str) -> bool:
    """Return whether a URL has a host name, and a valid port if any."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _keep_images(value: int) -> Iterable[str]:
    if value < -1:
        yield f"keep_images is {value}; use the number of earlier images of each kind to keep, or -1 to keep all"


def _idle_seconds(value: int) -> Iterable[str]:
    if value < MINIMUM_IDLE_SECONDS:
        yield (
            f"old_servers_idle_seconds is {value}; use a whole number of at least {MINIMUM_IDLE_SECONDS}, because "
            "servers report the activity of their kernels only every five minutes"
        )


def _version(value: str, tested: list[str]) -> Iterable[str]:
    if value not in tested:
        yield f"version is {value}, which this deployment is not tested with; use {' or '.join(tested)}"


def _admin_user(value: str) -> Iterable[str]:
    if not USER_NAME.fullmatch(value):
        yield f"admin_user is {value!r}; use lower-case letters, digits and . _ @ + -, a letter or digit first"


def _admin_password(value: str, minimum: int) -> Iterable[str]:
    if value and len(value) < minimum:
        yield (
            f"admin_password has {len(value)} characters, fewer than jupyterhub_native_minimum_password_length "
            f"({minimum}); choose a longer one, or leave it empty to have one generated"
        )
    if len(value.encode()) > MAXIMUM_PASSWORD_BYTES:
        yield f"admin_password has more than {MAXIMUM_PASSWORD_BYTES} bytes; choose a shorter one"


def _users(values: list[dict[str, Any]], minimum: int) -> Iterable[str]:
    """Check what does not need the hub; the module jupyterhub_users checks names, for example."""
    names = [user["name"] for user in values]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"users: {name} is declared {names.count(name)} times; combine the entries"
    for user in values:
        name, password = user["name"], user.get("password", "")
        if "password" in user and len(password) < minimum:
            yield (
                f"users: the password of {name} has {len(password)} characters, fewer than "
                f"jupyterhub_native_minimum_password_length ({minimum}); choose a longer one"
            )
        if len(password.encode()) > MAXIMUM_PASSWORD_BYTES:
            yield f"users: the password of {name} has more than {MAXIMUM_PASSWORD_BYTES} bytes; choose a shorter one"


def _contradictory_users(values: list[dict[str, Any]], admin: str) -> Iterable[str]:
    """Check what the module jupyterhub_users would refuse only when the hub has been replaced."""
    spellings: dict[str, set[str]] = {}
    for user in values:
        name, state = _spelling(user["name"]), user.get("state", "present")
        spellings.setdefault(name, set()).add(user["name"])
        if name == _spelling(admin):
            if state != "present" or not user.get("admin") or "password" in user:
                yield (
                    f"users: {name} is jupyterhub_admin_user, always an administrator with jupyterhub_admin_password; "
                    "declare only groups and admin: true"
                )
            continue
        if name == SERVICE:
            yield f"users: {name} is the name of a service of the hub, which could not delete this user; choose another"
        wrong = [key for key in ("admin", "password") if user.get(key, False) is not False]
        if state != "present" and wrong:
            yield f"users: {name} is declared {state}; remove {' and '.join(wrong)}"
    for names in spellings.values():
        if len(names) > 1:
            yield f"users: {', '.join(sorted(names))} are the same user; combine the entries"


def _spelling(name: str) -> str:
    """Return a name as the hub has it (``names.normalise`` in the hub's image)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower()).strip()


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


def _backup_keep(values: dict[str, int]) -> Iterable[str]:
    for rule, number in values.items():
        if number < 0:
            yield f"backup_keep: {rule} is {number}; use the number of backups to keep, or 0"


def _registry_logins(values: list[dict[str, str]]) -> Iterable[str]:
    """Check the hosts; a URL of a registry is accepted, as it is by ``docker login``."""
    for value in values:
        if not _is_registry(value["registry"].partition("://")[2].partition("/")[0] or value["registry"]):
            yield f"registry_logins has {value['registry']!r}; {REGISTRY_WANTED}, or docker.io for Docker Hub"


def _package_url(name: str, value: str) -> Iterable[str]:
    """Check a URL that becomes a line of apt's configuration; apt has more methods than http, such as ``file``."""
    scheme = re.fullmatch(r"([a-z][a-z0-9+.-]*):/\S+", value)
    if not scheme or (scheme[1] in ("http", "https") and not _has_host(value)):
        yield f"{name} is {value!r}; use a complete URL such as https://mirror.example.com/linux/debian"


def _registry_mirrors(values: list[str]) -> Iterable[str]:
    """Check the URLs. Docker 24.0.8 and newer accept a path; an older Docker refuses it itself."""
    for value in values:
        if not (re.fullmatch(r"https?://[^\s?#@]+", value) and _has_host(value)):
            yield f"docker_registry_mirrors has {value!r}; use complete URLs such as https://mirror.example.com"


def _insecure_registries(values: list[str]) -> Iterable[str]:
    for value in values:
        try:
            ipaddress.ip_network(value if re.fullmatch(r"[^%/]+/[0-9]+", value) else "", strict=False)
        except ValueError:
            if not _is_registry(re.sub("^https?://", "", value)):
                yield f"docker_insecure_registries has {value!r}; {REGISTRY_WANTED}, or a network such as 10.0.0.0/8"


def _is_registry(host: str) -> bool:
    """Return whether a text is the host of a registry, with a valid port if any."""
    host = host.strip()
    return bool(REGISTRY.fullmatch(host)) and _has_host(f"https://{host}")


class FilterModule:
    """The filters, as Ansible loads them."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters by their names in playbooks."""
        return {
            "jupyterhub_unknown_settings": unknown_settings,
            "jupyterhub_setting_problems": setting_problems,
            "jupyterhub_host_problems": host_problems,
        }
