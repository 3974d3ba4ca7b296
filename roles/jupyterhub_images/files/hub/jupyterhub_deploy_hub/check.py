"""Check the hub's configuration before the running hub is replaced.

``python -m jupyterhub_deploy_hub.check [FILE]`` executes the file as the hub would and validates every setting
against the classes that read it. A setting that does not exist, for which JupyterHub logs a warning at most, is an
error with the most similar name that does exist. So is a changed setting that the rest of the deployment depends on
(``own_settings``). The check starts nothing and writes nothing. The exit status is 1 with one line on stderr for each
problem, or 0. Then the last line on stdout is JSON with administrators who have no account, if there are any.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import AUTHENTICATOR_SECRETS_FILE, CONFIG_FILE, EXTRA_CONFIG_MARKER, own_settings, seed
from .names import normalise
from .signin import NATIVE, administrators, provider_prefix, read_entries, read_secrets

#: Characters. Hiding shorter values would hide parts of ordinary words.
_SHORTEST_SECRET = 6


def place(source: str, line: int | None, file_name: str) -> str:
    """Return a line of the configuration `source` as its author counts it.

    Below the marker is the operator's text, whose lines are counted from there. `line` None: unknown.
    """
    if line is None:
        return file_name
    lines = source.splitlines()
    marker = lines.index(EXTRA_CONFIG_MARKER) + 1 if EXTRA_CONFIG_MARKER in lines else len(lines) + 1
    return f"jupyterhub_extra_config line {line - marker}" if line > marker else f"{file_name} line {line}"


def line_of_setting(source: str, section: str, name: str) -> int | None:
    """Return the last line of `source` that has ``c.<section>.<name>``, or None."""
    found = None
    for number, text in enumerate(source.splitlines(), 1):
        if re.search(rf"\bc\.{re.escape(section)}\.{re.escape(name)}\b", text):
            found = number
    return found


def near(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is most similar to `name`, or None."""
    matches = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else None


def line_of_error(error: BaseException, file_name: str) -> int | None:
    """Return the line of `file_name` that caused `error`: the innermost frame, or the line of a syntax error."""
    if isinstance(error, SyntaxError) and error.filename == file_name:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file_name]
    return lines[-1] if lines else None


def problems(path: Path) -> list[str]:
    """Return the problems of the configuration file at `path`; empty when the hub can use it."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read: {error}"]
    from traitlets.config.loader import PyFileConfigLoader

    from . import spawner  # noqa: F401 - a section of the configuration, also with another spawner

    try:
        compile(source, str(path), "exec")
        config = PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except (Exception, SystemExit) as error:
        where = place(source, line_of_error(error, str(path)), path.name)
        text = error.msg if isinstance(error, SyntaxError) else (str(error) or "no reason given")
        return [f"{where}: {type(error).__name__}: {' '.join(text.split())}"]
    found = list(config_problems(config))
    if EXTRA_CONFIG_MARKER in source.splitlines():
        invalid = {(section, name) for section, name, _ in found}
        found += [
            (section, name, f"c.{section}.{name}: {text}")
            for section, name, text in own_settings.problems(_own_config(source, path), config)
            if (section, name) not in invalid
        ]
    return [
        f"{place(source, line_of_setting(source, section, name), path.name)}: {text}" for section, name, text in found
    ]


def _own_config(source: str, path: Path) -> Any:
    """Return the configuration before the operator's text, which loaded without an error."""
    from traitlets.config import Config

    config = Config()
    own = source[: source.index(EXTRA_CONFIG_MARKER)]
    names = {"c": config, "get_config": lambda: config, "__file__": str(path)}
    exec(compile(own, str(path), "exec"), names)  # noqa: S102 - the deployment's own code, as the hub executes it
    return config


def config_problems(config: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (section, trait, message) for each setting of `config` that no class reads, or with a wrong value."""
    sections = _sections(config)
    for section, values in _flat(config):
        readers = sections.get(section)
        if readers is None:
            guess = near(section, sections)
            hint = f"; did you mean c.{guess}?" if guess else ""
            for name in values:
                yield section, name, f"c.{section}.{name}: this hub has no class {section}{hint}"
            continue
        for name, value in values.items():
            takers = [cls for cls in readers if name in cls.class_trait_names(config=True)]
            if not takers:
                guess = near(name, {known for cls in readers for known in cls.class_trait_names(config=True)})
                hint = f"; did you mean c.{section}.{guess}?" if guess else ""
                yield section, name, f"c.{section}.{name} does not exist{hint}"
                continue
            fault = _fault(takers[0], name, value) or _unsupported(name, value)
            if fault:
                yield section, name, f"c.{section}.{name}: {fault}"


def _flat(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each section with its settings; ``c.A.B.x`` (x of a B that belongs to an A) counts for B."""
    from traitlets.config import Config

    for section, values in config.items():
        if not isinstance(values, Config):
            continue
        yield section, {name: value for name, value in values.items() if not isinstance(value, Config)}
        yield from _flat(values)


def _sections(config: Any) -> dict[str, list[Any]]:
    """Map each section to the classes that read it, those of the configured authenticator, spawner and proxy first."""
    from jupyterhub.app import JupyterHub
    from traitlets import TraitError
    from traitlets.config import Configurable

    app = JupyterHub()
    chosen: list[Any] = [JupyterHub]
    for name in ("authenticator_class", "spawner_class", "proxy_class"):
        value = config.get("JupyterHub", {}).get(name)
        try:
            if value is not None:
                setattr(app, name, value)
            chosen.append(getattr(app, name))
        except TraitError:
            pass  # reported as a problem of that setting
    everything = [*chosen, *app.classes, *_subclasses(Configurable)]
    sections: dict[str, list[Any]] = {}
    for reader in everything:
        for cls in reader.__mro__:
            if issubclass(cls, Configurable):
                readers = sections.setdefault(cls.__name__, [])
                if reader not in readers:
                    readers.append(reader)
    return sections


def _subclasses(cls: Any) -> Iterator[Any]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _fault(cls: Any, name: str, value: Any) -> str | None:
    """Return why `cls` refuses `value` for its trait `name`, or None."""
    from traitlets import TraitError
    from traitlets.config.loader import DeferredConfig, LazyConfigValue

    try:
        blank = cls.__new__(cls)  # traits work without __init__, which may open a database
        trait = cls.class_traits()[name]
        if isinstance(value, LazyConfigValue):
            value = copy.deepcopy(value).get_value(getattr(blank, name))  # it keeps its first result
        elif isinstance(value, DeferredConfig):
            value = value.get_value(trait)
        trait._validate(blank, value)
    except (TraitError, ValueError, TypeError, ImportError) as error:
        return " ".join(str(error).split())
    except Exception:  # a validator that needs a running hub: the hub reports the error at its start
        return None
    return None


def _unsupported(name: str, value: Any) -> str | None:
    """Return why this hub does not support a value that its classes accept, or None."""
    if name == "http_request_kwargs" and isinstance(value, dict) and any(key.startswith("proxy_") for key in value):
        return "a proxy is not supported there; set jupyterhub_http_proxy instead"
    return None


def without_account(path: Path) -> list[str]:
    """Return the administrators of a valid configuration who should have a native account and have none.

    Their names are reserved, so they can neither sign up nor sign in. The deployment's own administrator gets an
    account when the hub starts.
    """
    if NATIVE not in read_entries(path.with_name("settings.json")):
        return []
    config = seed.load_config(path)
    accounts = seed.account_names(seed.db_url(config))
    if accounts is None:
        return []
    own = normalise(os.environ.get("JUPYTERHUB_ADMIN", ""))
    names = {normalise(name) for name in administrators(config) if provider_prefix(config, name) is None}
    return sorted(names - accounts - {own})


def secret_texts(path: Path) -> list[str]:
    """Return the secret values, because an error about a value quotes it."""
    values = [value for traits in read_secrets(path).values() for value in traits.values()]
    parts = [part for value in values for part in _leaves(value)]
    return sorted({str(part) for part in parts if len(str(part)) >= _SHORTEST_SECRET}, key=len, reverse=True)


def without(texts: list[str], line: str) -> str:
    """Return `line` with each of `texts` hidden."""
    for text in texts:
        line = line.replace(text, "(secret)")
    return line


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        yield value
        return
    for part in value:
        yield from _leaves(part)


def main(argv: list[str] | None = None) -> int:
    """Check the file on the command line, by default the hub's own."""
    arguments = sys.argv[1:] if argv is None else argv
    path = Path(arguments[0]) if arguments else CONFIG_FILE
    found = problems(path)
    for line in found:
        print(without(secret_texts(AUTHENTICATOR_SECRETS_FILE), line), file=sys.stderr)
    missing = [] if found else without_account(path)
    if missing:
        print(json.dumps({"without_account": missing}), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
