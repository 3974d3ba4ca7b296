"""Merge and compare the options in ``daemon.json``. Pure functions, no I/O.

Options have three sources, by precedence:

1. the settings of the role that the operator sets;
2. options that somebody else (an operator, a package, another tool) wrote into the file;
3. the defaults of the role.

Options of somebody else are never removed silently. To recognise them, the role records the options that it wrote last
(``applied``): a value in the file that differs from the record is foreign. A recorded option that is no longer set is
removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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
        if any(isinstance(want, kind) and not isinstance(now, kind) for kind in (dict, list)) and now is not _ABSENT:
            # The value has a different type than the operator's: replace it, and merge the defaults as on a first run.
            if foreign:
                merged.replaced.append(f"{prefix}{key}")
            now, before, foreign = _ABSENT, _ABSENT, False
        if _all(dict, now, default, want):
            below = _merge(_as(dict, now), _as(dict, before), _as(dict, default), _as(dict, want), f"{prefix}{key}.")
            merged.replaced.extend(below.replaced)
            # An empty mapping (or list, below) is kept only if somebody wrote it.
            if below.options or want == {} or (foreign and now == {}):
                merged.options[key] = below.options
            if below.ours or want == {}:
                merged.ours[key] = below.ours
        elif key in ADDITIVE_LISTS and _all(list, now, default, want):
            entries, own = _add_lists(_as(list, now), _as(list, before), [*_as(list, want), *_as(list, default)])
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


def _all(kind: type, *values: Any) -> bool:
    present = [value for value in values if value is not _ABSENT]
    return bool(present) and all(isinstance(value, kind) for value in present)


def _as(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else kind()


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


def advice(output: str, options: Options, ours: Options, path: str) -> str:
    """Return what to correct when Docker refuses options.

    :param output: the message of Docker, which may name options.
    :param options: the refused content of the file.
    :param ours: the part of it that comes from the settings.
    """
    named = [name for name in options if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", output)]
    settings, foreign = [name for name in named if name in ours], [name for name in named if name not in ours]
    parts = [f"{', '.join(settings)} in docker_daemon_options"] if settings else []
    parts += [f"{', '.join(foreign)} in {path}, where somebody else set it"] if foreign else []
    return f"Correct {' and '.join(parts) or f'docker_daemon_options, or {path} on the host'}, and run again"
