"""The contents of ``daemon.json``: how options are merged, checked and compared. Pure functions, no I/O.

Three people may write that file: its first owner (an operator, a package, another tool), this role by its defaults,
and the operator through the role's settings. Nothing that somebody else wrote is dropped silently:

1. a setting of the role that the operator names wins, over everything;
2. what somebody else wrote into the file comes next;
3. the role's own defaults come last.

To tell "somebody else" from itself the role remembers what it wrote last (``applied``): a value in the file that is
not the remembered one is foreign, and a remembered one that nobody wants any more is removed.
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

# Lists to which each writer adds: a mirror named by the operator does not take away one that was there.
ADDITIVE_LISTS = frozenset({"insecure-registries", "registry-mirrors"})

# The role's default log options (max-size, max-file) are understood by these drivers only; with any other one the
# engine would refuse to create containers.
ROTATING_LOG_DRIVERS = frozenset({"json-file", "local"})

# What Docker reloads on SIGHUP (dockerd's reference, "Configuration reload behavior", the same from 20.10 to 28).
# It only looks at what the file names: an option that was taken out keeps its old value until a restart.
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

# The options whose kind is certain in every version from 20.10 on. Before 23.0 there is no `dockerd --validate`, and
# a wrong kind or a misspelt name keeps the engine from starting; this table is what we have to say so beforehand.
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

# Flags of dockerd whose name is not that of the option in the file.
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
    """The outcome of :func:`merge`."""

    options: dict[str, Any]
    """The new content of the file."""
    ours: dict[str, Any]
    """The part of it that this role put there: what to hand in as ``applied`` next time."""
    replaced: list[str]
    """The options of somebody else's that the operator's settings overrode (dotted names)."""


def parse(text: str, path: str) -> dict[str, Any]:
    """Return the options that a ``daemon.json`` holds; an empty file holds none, as for dockerd.

    :raises DeployError: when it is not JSON, or not a JSON object.
    """
    if not text.strip():
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DeployError(f"{path} is not valid JSON ({error}); mend it, or move it away, and run again") from error
    if not isinstance(content, dict):
        raise DeployError(f"{path} holds {type(content).__name__} instead of a JSON object; mend it, or move it away")
    return content


def render(options: Options) -> str:
    """Return the text of a ``daemon.json``, in a stable order."""
    return json.dumps(options, indent=2, sort_keys=True) + "\n" if options else "{}\n"


def show(options: Options) -> str:
    """Return the text of a ``daemon.json`` for people to read: without passwords."""
    return hide_passwords(render(options))


def hide_passwords(text: str) -> str:
    """Return the text without the passwords of URLs: a proxy's address may carry one, and diffs are shown."""
    return re.sub(r"(://[^/\s:@\"]*):[^/\s@\"]*@", r"\1:********@", text)


def telling_lines(log: Sequence[str], limit: int) -> str:
    """Return the last lines of an engine's log that tell of trouble, at most ``limit``; of all lines if none does.

    What has no level (dockerd's last words when it cannot start) counts as trouble.
    """
    trouble = [line for line in log if line.strip() and not re.search(r"\blevel=(info|debug)\b", line)]
    return "\n".join((trouble or list(log))[-limit:]).strip()


def merge(current: Options, applied: Options, defaults: Options, wanted: Options) -> Merged:
    """Merge the three writers' options; none of the arguments is changed.

    :param current: what the file holds now.
    :param applied: what this role put into it last time (empty on a first run).
    :param defaults: the role's defaults.
    :param wanted: what the operator set; ``None`` for a key takes that key out.
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
            # The value is of another kind than the operator's: it goes, and the defaults join in as at first.
            if foreign:
                merged.replaced.append(f"{prefix}{key}")
            now, before, foreign = _ABSENT, _ABSENT, False
        if _all_mappings(now, default, want):
            below = _merge(_mapping(now), _mapping(before), _mapping(default), _mapping(want), f"{prefix}{key}.")
            merged.replaced.extend(below.replaced)
            # An empty mapping (or list, below) is kept only where somebody wrote one.
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
                # What already stood there stays somebody else's, also when the operator comes to want the same.
                if not foreign or now != want:
                    merged.ours[key] = want
        elif foreign:
            merged.options[key] = now
        elif default is not _ABSENT:
            merged.options[key] = merged.ours[key] = default
    return merged


def _add_lists(now: list[Any], before: list[Any], want: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the entries of an additive list, and those among them that are this role's."""
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
    """Return what a running engine needs to take up the change: ``none``, ``reload`` or ``restart``."""
    names = differing(before, after)
    if not names:
        return "none"
    return "reload" if all(name in RELOADABLE and name in after for name in names) else "restart"


def problems(options: Options) -> list[str]:
    """Return what is wrong with the options, a sentence each; an option that we do not know is only suspected of a
    misspelling when it is close to one that we know (newer engines know more than this table)."""
    found = []
    for name, value in sorted(options.items()):
        kind = KINDS.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, [*KINDS, *_FLAG_OPTIONS], n=1, cutoff=0.8)
            if near:
                found.append(f"{name} is not an option of daemon.json (did you mean {option_of_flag(near[0])}?)")
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
    """Return the option in ``daemon.json`` that a flag of dockerd (without its dashes) stands for."""
    return _FLAG_OPTIONS.get(flag, flag)


def options_in_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return ``{option: flag as written}`` for a command line of dockerd without its first word."""
    found: dict[str, str] = {}
    for word in arguments:
        if word.startswith("--"):
            found.setdefault(option_of_flag(word[2:].split("=", 1)[0]), word.split("=", 1)[0])
        elif word.startswith("-") and len(word) > 1:
            found.setdefault(option_of_flag(word[1]), word[:2])
    return found


def without_flagged(defaults: Options, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults without what the command line already sets: dockerd refuses an option given in both."""
    flagged = options_in_flags(arguments)
    return {name: value for name, value in defaults.items() if name not in flagged}


def conflicts(options: Options, arguments: Sequence[str]) -> list[str]:
    """Return what is in the file and on the command line as well, a sentence each; dockerd would not start."""
    flagged = options_in_flags(arguments)
    return [
        f"{name} cannot stand in daemon.json while dockerd is started with {flagged[name]}"
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
