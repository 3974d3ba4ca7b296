"""Filter that checks the types of an operator's settings by the roles' argument specifications. Pure Python, no I/O.

YAML reads some values in a way that an operator does not expect: ``12345678`` is a number, ``0012345`` the number 5349,
``22:30`` the number 1350, and a name without a value is null.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

Spec = Mapping[str, Any]

# Ansible's own words for a boolean, see ansible.module_utils.parsing.convert_bool.
TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
FALSE = ("n", "no", "off", "0", "false", "f", "0.0")
SECRET = re.compile(r"(^|_)(password|secret|key|token)$")
# How to write a setting that is empty.
EMPTY = {"str": 'set it to ""', "list": "set it to []", "dict": "set it to {}"}
# The variable that the default of another setting reads.
READ = re.compile(r"\{\{ (\w+) \| default\(")


def typed_settings(values: Sequence[Any], names: Iterable[str], specs: Mapping[str, Spec]) -> dict[str, Any]:
    """Return the settings whose types are right, and a message for each of the others.

    :param values: the values of variables. Reading one raises the error of its Jinja expression.
    :param names: the names of these variables; those that are not settings are ignored.
    :param specs: the argument specification of each setting, from the roles' ``meta/argument_specs.yml``.
    :returns: ``settings``, by their names without ``jupyterhub_``, converted as Ansible does for a module; and
        ``problems``. A setting that is not set has its default, except a default with a Jinja expression.
    """
    settings: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        if name in specs:
            try:
                value = _plain(values[number])
            except Exception as error:  # whatever an expression of the operator raises
                problems[name] = _unreadable(name, specs[name], error)
                continue
            problems[name] = list(_problems(name, value, specs[name]))
            if not problems[name]:
                settings[name] = _converted(value, specs[name])
    for name, spec in specs.items():
        if name not in problems and not _is_expression(spec.get("default")):
            settings[name] = spec.get("default")
    # A setting that reads another one has the same value, and is not what the operator has to fix.
    wrong = {name for name, found in problems.items() if found and not problems.get(_source(specs[name]))}
    return {
        "settings": {name.removeprefix("jupyterhub_"): value for name, value in settings.items()},
        "problems": [problem for name in sorted(wrong) for problem in problems[name]],
    }


def specs_of(specs: Mapping[str, Mapping[str, Spec]], roles: Iterable[str]) -> dict[str, Spec]:
    """Return the specifications of the settings of roles, and of those of other roles that their defaults read.

    :param specs: the argument specification of each setting by the name of its role.
    """
    own = {name: spec for role in roles for name, spec in specs[role].items()}
    read = {_source(spec) for spec in own.values()}
    return own | {name: spec for of_role in specs.values() for name, spec in of_role.items() if name in read}


def _plain(value: Any) -> Any:
    """Return a copy in plain containers, in which no expression is left."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_plain(value[number]) for number in range(len(value))]
    return value


def _is_expression(default: Any) -> bool:
    return isinstance(default, str) and "{{" in default


def _source(spec: Spec) -> str:
    """Return the name of the setting that a default reads, empty when it reads none."""
    found = READ.search(str(spec.get("default")))
    return found[1] if found else ""


def _unreadable(name: str, spec: Spec, error: Exception) -> list[str]:
    text = str(error).rpartition("marker was tripped: ")[2]
    # The facts about the distribution are set after this check.
    if _is_expression(spec.get("default")) and "distribution" in text:
        return []
    if "is undefined" not in text:  # vault_password may be the name of a variable
        if "vault" in text:
            return [f"{name} cannot be decrypted; pass the vault's password, as with --ask-vault-pass"]
        if _is_secret(name, spec):
            text = "its expression fails"
    return [f"{name} cannot be read: {text}; correct the expression"]


def _is_secret(name: str, spec: Spec) -> bool:
    if spec.get("choices") or spec.get("type") in ("int", "float", "bool"):
        return False
    nested = spec.get("options") or {}
    return bool(spec.get("no_log") or SECRET.search(name) or any(_is_secret(key, nested[key]) for key in nested))


def _problems(
    label: str, value: Any, spec: Spec, key: str = "", around: tuple[str, str] | None = None
) -> Iterable[str]:
    """Yield what is wrong with a value.

    :param label: how a message calls it.
    :param key: how the operator writes its name, if not as ``label``; ``-`` for an entry of a list.
    :param around: what a message has before and after the name of an option in it, if not ``label`` and nothing.
    """
    kind, key = spec.get("type", "str"), key or label
    choices = spec.get("choices")
    if choices and (value is None or value not in choices):
        yield f"{label} {_shown(value, key, spec)}; use one of {', '.join(map(str, choices))}"
    elif value is None and kind != "raw":
        remedy = EMPTY.get(kind, "write one") if key == label else "write one"
        yield f"{label} has no value; {remedy} or remove the line"
    elif not IS[kind](value):
        yield f"{label} {_shown(value, key, spec)}; {_remedy(key, value, spec)}"
    elif kind == "list":
        entry = {**spec, "type": spec.get("elements", "raw"), "choices": None}
        for number, item in enumerate(value, start=1):
            name = _name_of(item, spec) or f"entry {number}"
            yield from _problems(f"{label}: {name}", item, entry, "-", (label, f" of {name}"))
    elif kind == "dict" and spec.get("options"):
        yield from _nested(label, value, spec["options"], around or (label, ""))


def _nested(
    label: str, value: Mapping[str, Any], options: Mapping[str, Spec], around: tuple[str, str]
) -> Iterable[str]:
    missing = [key for key in options if options[key].get("required") and value.get(key) in (None, "")]
    if missing:
        yield f"{label} lacks {', '.join(missing)}"
    for key in value:
        if key not in options:
            near = difflib.get_close_matches(str(key), options, n=1)
            yield f"{label} has {key}, which is not known; " + (
                f"did you mean {near[0]}?" if near else f"use {', '.join(options)}"
            )
        elif key not in missing:
            yield from _problems(f"{around[0]}: {key}{around[1]}", value[key], options[key], key)


def _name_of(item: Any, spec: Spec) -> str:
    """Return the first option of an entry, which is its name, where it can be shown."""
    options = spec.get("options") or {}
    first = next(iter(options), "")
    value = item.get(first) if isinstance(item, Mapping) else None
    return value if isinstance(value, str) and not _is_secret(first, options[first]) else ""


def _shown(value: Any, key: str, spec: Spec) -> str:
    """Return what a value is, as the rest of a sentence; without the value where it is or contains a secret."""
    secret = _is_secret(key, spec)
    if value is None:
        return "has no value"
    if isinstance(value, bool):
        return f"is {str(value).lower()}" if not secret else "is a boolean"
    if isinstance(value, (int, float)):
        return f"is the number {value}" if not secret else "is a number"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return f"is the date {value}" if not secret else "is a date"
    if isinstance(value, str):
        return f"is {str(value)!r}" if not secret and spec.get("type") != "dict" else "is a string"
    return "is a dictionary" if isinstance(value, Mapping) else "is a list" if isinstance(value, list) else "is binary"


def _remedy(key: str, value: Any, spec: Spec) -> str:
    kind = spec.get("type", "str")
    if kind == "str" and isinstance(value, (bool, int, float, datetime.date)):
        reason = ""
        if isinstance(value, int) and not isinstance(value, bool) and not _is_secret(key, spec):
            reason = " (without quotes, YAML reads 22:30 as 1350 and 0012 as 10)"
        return f'put it in quotes: {key}{" " if key == "-" else ": "}"…"{reason}'
    if kind == "list" and isinstance(value, str) and spec.get("elements") != "dict" and not _is_secret(key, spec):
        return f"use a list such as [{value}]"
    required = [name for name, option in (spec.get("options") or {}).items() if option.get("required")]
    example = "{" + ", ".join(f"{name}: …" for name in required or ["key"]) + "}"
    return {
        "str": "use a string",
        "int": "use a whole number",
        "float": "use a number",
        "bool": "use true or false",
        "list": f"use a list such as [{example if spec.get('elements') == 'dict' else '…'}]",
        "dict": f"use a dictionary such as {example}",
    }[kind]


def _is_int(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"-?\d+", value))
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(value).lower() in TRUE + FALSE


IS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": _is_int,
    "float": _is_float,
    "bool": _is_bool,
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, Mapping),
    "raw": lambda _: True,
}


def _converted(value: Any, spec: Spec) -> Any:
    """Return a value of the right type as Ansible converts it for a module."""
    kind = spec.get("type", "str")
    if kind == "list":
        return [_converted(item, {**spec, "type": spec.get("elements", "raw")}) for item in value]
    if kind == "dict" and spec.get("options"):
        return {key: _converted(value[key], spec["options"][key]) for key in value}
    if kind == "bool":
        return str(value).lower() in TRUE
    return {"int": int, "float": float}.get(kind, lambda same: same)(value)


class FilterModule:
    """The filters, as Ansible loads them."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filters by their names in playbooks."""
        return {"jupyterhub_typed_settings": typed_settings, "jupyterhub_specs_of": specs_of}
