"""The manifest of a backup: a JSON file beside the archive that describes it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.docker.volumes import is_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

FORMAT = 1
HUB_FOLDER = "hub"
VOLUME, HUB = "volume", "hub"  # kinds
ENDINGS = {"zstd": ".tar.zst", "gzip": ".tar.gz", "none": ".tar"}
ENCRYPTIONS = {"none": "", "age": ".age"}  # with the suffix of the archive's name
CONSISTENCIES = ("live", "paused", "stopped")

# The names that Docker accepts for volumes. None of them can point outside of a directory.
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def ending(compression: str, encryption: str) -> str:
    """Return the end of an archive's name."""
    return ENDINGS[compression] + ENCRYPTIONS[encryption]


EVERY_ENDING = [ending(compression, encryption) for compression in ENDINGS for encryption in ENCRYPTIONS]

# A predicate for valid values, and a description of them for messages.
Check = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _one_of(choices: Iterable[str]) -> Check:
    valid = tuple(choices)
    return lambda value: value in valid, f"one of {', '.join(valid)}"


# Types of text fields whose values are restricted.
Kind = str
Compression = str
Encryption = str
Consistency = str
Sha256 = str

# The checks by the annotation of a field.
CHECKS: dict[str, Check] = {
    "Kind": _one_of((VOLUME, HUB)),
    "Compression": _one_of(ENDINGS),
    "Encryption": _one_of(ENCRYPTIONS),
    "Consistency": _one_of(CONSISTENCIES),
    "Sha256": (
        lambda value: _is_text(value) and bool(re.fullmatch(r"[0-9a-f]{64}", value)),
        "64 hexadecimal digits",
    ),
    "str": (_is_text, "a text"),
    "str | None": (lambda value: value is None or _is_text(value), "a text or null"),
    "int": (lambda value: _is_number(value) and isinstance(value, int) and value >= 0, "a number from 0"),
    "float": (_is_number, "a number"),
    "list[str]": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of texts"),
    "dict[str, str]": (
        lambda value: isinstance(value, dict) and all(_is_text(item) for pair in value.items() for item in pair),
        "texts by name",
    ),
}


@dataclass(frozen=True)
class Manifest:
    """The description of one backup. The field names are those in the JSON file.

    A field with a default may be missing in the file: earlier versions did not write it.
    """

    kind: Kind
    hub: str
    volume: str | None  # None for the hub's own state
    user: str | None
    created: str  # ISO 8601, UTC
    archive: str  # file name
    compression: Compression
    sha256: Sha256  # of the archive's file
    size: int  # bytes of the archive's file
    content_size: int  # bytes of the tar stream in it
    members: int  # in the tar stream, `./` included
    changed: list[str]  # files that changed, grew, shrank or vanished during the backup; escaped as by GNU tar
    seconds: float
    driver: str | None
    labels: dict[str, str]
    options: dict[str, str]
    consistency: Consistency
    scan: str | None
    versions: dict[str, str]
    encryption: Encryption = "none"
    recipients: list[str] = field(default_factory=list)  # public keys that can decrypt it
    sockets: list[str] = field(default_factory=list)  # not in the archive; escaped as by GNU tar
    unrestorable: list[str] = field(default_factory=list)  # in the archive, but their paths are too long to extract
    format: int = FORMAT

    @property
    def folder(self) -> str:
        """Name of the folder of this backup."""
        return HUB_FOLDER if self.kind == HUB else str(self.volume)

    def is_of(self, user: str) -> bool:
        """Return whether this is a backup of a user's volume."""
        return is_of(user, self.hub, self.volume, self.user)

    def to_json(self) -> str:
        """Return the text of the manifest."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str | bytes, path: str) -> Manifest:
        """Return the manifest from its JSON text.

        :param path: the file, for messages; the archive's name must match it.
        :raises DeployError: the text is not a valid manifest; the message says why.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DeployError(f"manifest {path} is not JSON: {error}") from error
        fault = _fault(found, path)
        if fault:
            raise DeployError(f"manifest {path} is not valid: {fault}")
        return Manifest(**{one.name: found[one.name] for one in fields(Manifest) if one.name in found})


def is_required(one: Field[Any]) -> bool:
    """Return whether a manifest without this field is not valid."""
    return one.default is MISSING and one.default_factory is MISSING


def _fault(found: Any, path: str) -> str | None:
    """Return why a manifest is not valid, ``None`` when it is valid."""
    if not isinstance(found, dict):
        return "it is not an object"
    if found.get("format") != FORMAT:
        return f"format is {found.get('format')!r}; this version of the deployment reads format {FORMAT}"
    for one in fields(Manifest):
        if one.name not in found:
            if is_required(one):
                return f"{one.name} is missing"
            continue
        check, description = CHECKS[str(one.type)]
        if not check(found[one.name]):
            return f"{one.name} is {found[one.name]!r} instead of {description}"
    stem = os.path.basename(path)[: -len(".json")]
    archive = stem + ending(found["compression"], found.get("encryption", "none"))
    if found["archive"] != archive:
        return f"archive is {found['archive']!r} instead of {archive}"
    volume = found["volume"]
    if found["kind"] == VOLUME and (volume == HUB_FOLDER or not VOLUME_NAME.fullmatch(volume or "")):
        return f"volume is {volume!r}, which is not a volume's name"
    return None
