"""Prove that the hub's configuration loads, before the hub that runs is touched.

``python -m jupyterhub_deploy_hub.check [FILE]`` executes the file as the hub would and validates every setting
against the classes that would read it: a setting that does not exist, which JupyterHub itself ignores with a warning
at most, is refused with the nearest name that does. Nothing is started, no database is opened, nothing is written.
Exit 0, or 1 with one line on stderr for each fault.
"""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import AUTHENTICATOR_SECRETS_FILE, CONFIG_FILE, EXTRA_CONFIG_MARKER
from .signin import read_secrets

#: Characters. A shorter value tells nothing, and hiding it would take words apart.
_SHORTEST_SECRET = 6


def place(source: str, line: int | None, file_name: str) -> str:
    """Name a line of the configuration `source` as its author counts it.

    Below the marker the text is the operator's, and counted from there. `line` None: not known.
    """
    if line is None:
        return file_name
    lines = source.splitlines()
    marker = lines.index(EXTRA_CONFIG_MARKER) + 1 if EXTRA_CONFIG_MARKER in lines else len(lines) + 1
    return f"jupyterhub_extra_config line {line - marker}" if line > marker else f"{file_name} line {line}"


def line_of_setting(source: str, section: str, name: str) -> int | None:
    """Find the last line of `source` that mentions ``c.<section>.<name>`` (or only the section, or None)."""
    found = None
    for number, text in enumerate(source.splitlines(), 1):
        if re.search(rf"\bc\.{re.escape(section)}\.{re.escape(name)}\b", text):
            found = number
    return found


def near(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `name` was probably meant to be."""
    matches = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else None


def line_of_error(error: BaseException, file_name: str) -> int | None:
    """Return the line of `file_name` that led to `error`: the innermost of its lines, or where the syntax breaks."""
    if isinstance(error, SyntaxError) and error.filename == file_name:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file_name]
    return lines[-1] if lines else None


def problems(path: Path) -> list[str]:
    """Return what is wrong with the configuration file at `path`, a sentence each; empty when the hub can have it."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read: {error}"]
    from traitlets.config.loader import PyFileConfigLoader

    try:
        compile(source, str(path), "exec")
        config = PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except (Exception, SystemExit) as error:
        where = place(source, line_of_error(error, str(path)), path.name)
        text = error.msg if isinstance(error, SyntaxError) else (str(error) or "no reason given")
        return [f"{where}: {type(error).__name__}: {' '.join(text.split())}"]
    return [
        f"{place(source, line_of_setting(source, section, name), path.name)}: {text}"
        for section, name, text in config_problems(config)
    ]


def config_problems(config: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (section, trait, sentence) for each setting of `config` that no class reads, or whose value is wrong."""
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
            fault = _fault(takers[0], name, value)
            if fault:
                yield section, name, f"c.{section}.{name}: {fault}"


def _flat(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each section with its own settings; ``c.A.B.x`` (x of a B that belongs to an A) counts as B's."""
    from traitlets.config import Config

    for section, values in config.items():
        if not isinstance(values, Config):
            continue
        yield section, {name: value for name, value in values.items() if not isinstance(value, Config)}
        yield from _flat(values)


def _sections(config: Any) -> dict[str, list[Any]]:
    """Map each section name to the classes that read it, those of the chosen authenticator, spawner and proxy first."""
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
            pass  # reported as the fault of that setting
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
    """Return why `cls` would refuse `value` for its trait `name`, or None."""
    from traitlets import TraitError
    from traitlets.config.loader import DeferredConfig, LazyConfigValue

    try:
        blank = cls.__new__(cls)  # traits work without __init__, which may open a database
        trait = cls.class_traits()[name]
        if isinstance(value, LazyConfigValue):
            value = value.get_value(getattr(blank, name))
        elif isinstance(value, DeferredConfig):
            value = value.get_value(trait)
        trait._validate(blank, value)
    except (TraitError, ValueError, TypeError, ImportError) as error:
        return " ".join(str(error).split())
    except Exception:  # a validator that needs the rest of a running hub: the hub itself will tell
        return None
    return None


def secret_texts(path: Path) -> list[str]:
    """Return what must not be said of the ways to sign in: a value that is refused is quoted in the refusal."""
    values = [value for traits in read_secrets(path).values() for value in traits.values()]
    parts = [part for value in values for part in _leaves(value)]
    return sorted({str(part) for part in parts if len(str(part)) >= _SHORTEST_SECRET}, key=len, reverse=True)


def without(texts: list[str], line: str) -> str:
    """Return `line` with each of `texts` hidden, the longest first."""
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
    """Check the file named on the command line, by default the hub's own."""
    arguments = sys.argv[1:] if argv is None else argv
    found = problems(Path(arguments[0]) if arguments else CONFIG_FILE)
    for line in found:
        print(without(secret_texts(AUTHENTICATOR_SECRETS_FILE), line), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
