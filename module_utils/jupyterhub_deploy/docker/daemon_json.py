"""Merge, check and compare the options in ``daemon.json``. Pure functions, no I/O.

Options have three sources, by precedence:

1. the settings of the role that the operator sets;
2. options that somebody else (an operator, a package, another tool) wrote into the file;
3. the defaults of the role.

Options of somebody else are never removed silently. To recognise them, the role records the options that it wrote last
(``applied``): a value in the file that differs from the record is foreign. A recorded option that is no longer set is
removed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

Options = Mapping[str, Any]

_ABSENT: Any = object()

# Lists to which each source adds: a mirror of the operator does not replace a mirror in the file.
ADDITIVE_LISTS = frozenset({"insecure-registries", "registry-mirrors"})

# The role's default log options (max-size, max-file) are understood only by these drivers; with any other driver,
# Docker would refuse to create containers.
ROTATING_LOG_DRIVERS = frozenset({"json-file", "local"})

# The options that Docker reloads on SIGHUP, from 20.10 to 28 (dockerd's reference, "Configuration reload behavior").
# It only reads options in the file: a removed option keeps its old value until a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)

# The options whose type is the same in every version from 20.10 on. Before 23.0 there is no `dockerd --validate`, and
# a wrong type or a misspelt name prevents Docker from starting; this table finds such mistakes first.
KINDS: dict[str, type | tuple[type, ...]] = {
    "allow-nondistributable-artifacts": list,
    "authorization-plugins": list,
    "bip": str,
    "bridge": str,
    "builder": dict,
    "cgroup-parent": str,
    "containerd": str,
    "containerd-namespace": str,
    "containerd-plugin-namespace": str,
    "data-root": str,
    "debug": bool,
    "default-address-pools": list,
    "default-cgroupns-mode": str,
    "default-gateway": str,
    "default-gateway-v6": str,
    "default-ipc-mode": str,
    "default-network-opts": dict,
    "default-runtime": str,
    "default-shm-size": (str, int),
    "default-ulimits": dict,
    "dns": list,
    "dns-opts": list,
    "dns-search": list,
    "exec-opts": list,
    "exec-root": str,
    "experimental": bool,
    "features": dict,
    "fixed-cidr": str,
    "fixed-cidr-v6": str,
    "group": str,
    "host-gateway-ip": str,
    "hosts": list,
    "http-proxy": str,
    "https-proxy": str,
    "icc": bool,
    "init": bool,
    "init-path": str,
    "insecure-registries": list,
    "ip": str,
    "ip-forward": bool,
    "ip-masq": bool,
    "ip6tables": bool,
    "iptables": bool,
    "ipv6": bool,
    "labels": list,
    "live-restore": bool,
    "log-driver": str,
    "log-format": str,
    "log-level": str,
    "log-opts": dict,
    "max-concurrent-downloads": int,
    "max-concurrent-uploads": int,
    "max-download-attempts": int,
    "metrics-addr": str,
    "mtu": int,
    "network-control-plane-mtu": int,
    "no-new-privileges": bool,
    "no-proxy": str,
    "node-generic-resources": list,
    "oom-score-adjust": int,
    "pidfile": str,
    "proxies": dict,
    "raw-logs": bool,
    "registry-mirrors": list,
    "runtimes": dict,
    "seccomp-profile": str,
    "selinux-enabled": bool,
    "shutdown-timeout": int,
    "storage-driver": str,
    "storage-opts": list,
    "tls": bool,
    "tlscacert": str,
    "tlscert": str,
    "tlskey": str,
    "tlsverify": bool,
    "userland-proxy": bool,
    "userland-proxy-path": str,
    "userns-remap": str,
}

# Flags of dockerd whose name differs from the option in the file.
_FLAG_OPTIONS = {
    "D": "debug",
    "G": "group",
    "H": "hosts",
    "add-runtime": "runtimes",
    "authorization-plugin": "authorization-plugins",
    "b": "bridge",
    "default-address-pool": "default-address-pools",
    "default-network-opt": "default-network-opts",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "l": "log-level",
    "label": "labels",
    "log-opt": "log-opts",
    "node-generic-resource": "node-generic-resources",
    "p": "pidfile",
    "registry-mirror": "registry-mirrors",
    "s": "storage-driver",
    "storage-opt": "storage-opts",
}

_KIND_NAMES = {
    bool: "true or false",
    dict: "a mapping",
    int: "a whole number",
    list: "a list",
    str: "a text",
    (str, int): "a text or a whole number",
}


class Merged(NamedTuple):
    """The result of :func:`merge`."""

    options: dict[str, Any]
    """The new content of the file."""
    ours: dict[str, Any]
    """The part of it that this role wrote: ``applied`` of the next run."""
    replaced: list[str]
    """The options of somebody else that the operator's settings replaced (dotted names)."""


def parse(text: str, path: str) -> dict[str, Any]:
    """Return the options in a ``daemon.json``; an empty file has none, as for dockerd.

    :raises DeployError: it is not a JSON object.
    """
    if not text.strip():
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DeployError(f"{path} is not valid JSON ({error}); fix it, or move it away, and run again") from error
    if not isinstance(content, dict):
        raise DeployError(f"{path} holds {type(content).__name__} instead of a JSON object; fix it, or move it away")
    return content


def render(options: Options) -> str:
    """Return the text of a ``daemon.json``, in a stable order."""
    return json.dumps(options, indent=2, sort_keys=True) + "\n" if options else "{}\n"


def show(options: Options) -> str:
    """Return the text of a ``daemon.json`` without passwords, for messages and diffs."""
    return hide_passwords(render(options))


def hide_passwords(text: str) -> str:
    """Return the text without the passwords in URLs, such as the address of a proxy."""
    return re.sub(r"(://[^/\s:@\"]*):[^/\s@\"]*@", r"\1:********@", text)


def trouble_lines(log: Sequence[str], limit: int) -> str:
    """Return the last lines of Docker's log that report trouble, at most ``limit``; without trouble, the last lines.

    Lines without a level (dockerd's last output when it cannot start) count as trouble.
    """
    trouble = [line for line in log if line.strip() and not re.search(r"\blevel=(info|debug)\b", line)]
    return "\n".join((trouble or list(log))[-limit:]).strip()


def merge(current: Options, applied: Options, defaults: Options, wanted: Options) -> Merged:
    """Merge the options of the three sources; the arguments are not changed.

    :param current: the options in the file now.
    :param applied: the options that this role wrote last time (empty on a first run).
    :param defaults: the role's defaults.
    :param wanted: the operator's options; ``None`` for a key removes it.
    """
    drivers = (wanted.get("log-driver"), _foreign(current, applied).get("log-driver"), defaults.get("log-driver"))
    driver = next((driver for driver in drivers if driver is not None), "json-file")
    if driver not in ROTATING_LOG_DRIVERS:
        defaults = {key: value for key, value in defaults.items() if key != "log-opts"}
    return _merge(current, applied, defaults, wanted, "")


def _merge(current: Options, applied: Options, defaults: Options, wanted: Options, prefix: str) -> Merged:
    merged = Merged({}, {}, [])
    for key in sorted({*current, *defaults, *wanted}):
        now, before = current.get(key, _ABSENT), applied.get(key, _ABSENT)
        default, want = defaults.get(key, _ABSENT), wanted.get(key, _ABSENT)
        foreign = now is not _ABSENT and now != before
        if any(isinstance(want, kind) and not isinstance(now, kind) for kind in (Mapping, list)) and now is not _ABSENT:
            # The value has a different type than the operator's: replace it, and merge the defaults as on a first run.
            if foreign:
                merged.replaced.append(f"{prefix}{key}")
            now, before, foreign = _ABSENT, _ABSENT, False
        if _all_mappings(now, default, want):
            below = _merge(_mapping(now), _mapping(before), _mapping(default), _mapping(want), f"{prefix}{key}.")
            merged.replaced.extend(below.replaced)
            # An empty mapping (or list, below) is kept only if somebody wrote it.
            if below.options or want == {} or (foreign and now == {}):
                merged.options[key] = below.options
            if below.ours or want == {}:
                merged.ours[key] = below.ours
        elif key in ADDITIVE_LISTS and _all_lists(now, default, want):
            entries, own = _add_lists(_list(now), _list(before), [*_list(want), *_list(default)])
            if entries or want == [] or (foreign and now == []):
                merged.options[key] = entries
            if own or want == []:
                merged.ours[key] = own
        elif want is not _ABSENT:
            if foreign and now != want:
                merged.replaced.append(f"{prefix}{key}")
            if want is not None:
                merged.options[key] = want
                # A foreign value stays foreign, even when the operator sets the same one.
                if not foreign or now != want:
                    merged.ours[key] = want
        elif foreign:
            merged.options[key] = now
        elif default is not _ABSENT:
            merged.options[key] = merged.ours[key] = default
    return merged


def _add_lists(now: list[Any], before: list[Any], want: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the entries of an additive list, and the role's entries in it."""
    foreign = [entry for entry in now if entry not in before]
    own = [entry for entry in dict.fromkeys(want) if entry not in foreign]
    return [*own, *foreign], own


def _all_lists(*values: Any) -> bool:
    present = [value for value in values if value is not _ABSENT]
    return bool(present) and all(isinstance(value, list) for value in present)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _all_mappings(*values: Any) -> bool:
    present = [value for value in values if value is not _ABSENT]
    return bool(present) and all(isinstance(value, Mapping) for value in present)


def _mapping(value: Any) -> Options:
    return value if isinstance(value, Mapping) else {}


def _foreign(current: Options, applied: Options) -> dict[str, Any]:
    return {key: value for key, value in current.items() if key not in applied or applied[key] != value}


def differing(before: Options, after: Options) -> list[str]:
    """Return the names of the top-level options that differ, sorted."""
    return sorted(key for key in {*before, *after} if before.get(key, _ABSENT) != after.get(key, _ABSENT))


def needed_action(before: Options, after: Options) -> str:
    """Return what Docker needs to apply the change: ``none``, ``reload`` or ``restart``."""
    names = differing(before, after)
    if not names:
        return "none"
    return "reload" if all(name in RELOADABLE and name in after for name in names) else "restart"


def problems(options: Options) -> list[str]:
    """Return a message for each invalid option. An unknown option counts as misspelt only if it is similar to a known
    one, because newer versions of Docker have more options than this table."""
    found = []
    for name, value in sorted(options.items()):
        kind = KINDS.get(name)
        if kind is None:
            similar = difflib.get_close_matches(name, [*KINDS, *_FLAG_OPTIONS], n=1, cutoff=0.8)
            if similar:
                found.append(f"{name} is not an option of daemon.json (did you mean {option_of_flag(similar[0])}?)")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            found.append(f"{name} is {value!r}, but must be {_KIND_NAMES[kind]}")
    log_opts = options.get("log-opts")
    if isinstance(log_opts, Mapping):
        found.extend(
            f"log-opts.{name} is {value!r}, but must be a text (write it in quotes)"
            for name, value in sorted(log_opts.items())
            if not isinstance(value, str)
        )
    return found


def option_of_flag(flag: str) -> str:
    """Return the option in ``daemon.json`` for a flag of dockerd (without its dashes)."""
    return _FLAG_OPTIONS.get(flag, flag)


def options_in_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return ``{option: flag as written}`` for the arguments of dockerd."""
    found: dict[str, str] = {}
    for word in arguments:
        if word.startswith("--"):
            found.setdefault(option_of_flag(word[2:].split("=", 1)[0]), word.split("=", 1)[0])
        elif word.startswith("-") and len(word) > 1:
            found.setdefault(option_of_flag(word[1]), word[:2])
    return found


def without_flagged(defaults: Options, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults without options that the command line sets: dockerd refuses an option set in both."""
    flagged = options_in_flags(arguments)
    return {name: value for name, value in defaults.items() if name not in flagged}


def conflicts(options: Options, arguments: Sequence[str]) -> list[str]:
    """Return a message for each option set both in the file and on the command line; dockerd would not start."""
    flagged = options_in_flags(arguments)
    return [
        f"{name} cannot be set in daemon.json while dockerd is started with {flagged[name]}"
        for name in sorted(options)
        if name in flagged
    ]


def flag_value(arguments: Sequence[str], flag: str) -> str | None:
    """Return the value of a long flag (``--flag value`` or ``--flag=value``) on a command line, or ``None``."""
    for position, word in enumerate(arguments):
        if word == f"--{flag}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(f"--{flag}="):
            return word.split("=", 1)[1]
    return None
