"""The record on the host of the version of this project that provisioned a hub."""

from __future__ import annotations

import json
import os
import re

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host

KEYS = ("version", "acknowledged")


def path(hub: str) -> str:
    """Return where the record of a hub is."""
    return os.path.join(host.SETTINGS_DIR, f"version-{hub}.json")


def read(hub: str) -> dict[str, str]:
    """Return the record of a hub, with empty values for what is not recorded.

    ``version`` provisioned the hub last; ``acknowledged`` is one whose changes the operator has acknowledged since.

    :raises DeployError: the file has no record in it.
    """
    try:
        text = files.read_text(path(hub))
        record = json.loads(text) if text is not None else {}
        return {key: _version(record.get(key, "")) for key in KEYS}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DeployError(
            f"{path(hub)} cannot be read ({error}); replace it with a file with the version that provisioned the hub "
            'last: {"version": "0.2.0"}'
        ) from error


def _version(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"(\d+\.\d+\.\d+)?", value):
        return value
    raise ValueError(f"{value!r} is not a version")


def plan(record: dict[str, str], version: str, acknowledged: str) -> dict[str, str]:
    """Return the record as it should be. A version that provisioned the hub ends what was acknowledged before.

    :param record: the present one.
    :param version: the version that has provisioned the hub, empty when none has.
    :param acknowledged: the version whose changes the operator has acknowledged, empty when none.
    """
    if version:
        return {"version": version, "acknowledged": ""}
    return {**record, "acknowledged": acknowledged or record["acknowledged"]}


def write(hub: str, record: dict[str, str]) -> None:
    """Write the record of a hub."""
    text = json.dumps({key: record[key] for key in KEYS if record[key]}) + "\n"
    files.write_atomically(path(hub), text, mode=0o644, parents=True)


def messages(record: dict[str, str], version: str) -> list[str]:
    """Return what ``make status`` shows.

    :param version: the version of the checkout.
    """
    if record["version"] == version:
        return [f"deployment version {version}"]
    if not record["version"]:
        return [
            f"deployment version not recorded; this checkout is {version}, and `make site` installs it, or "
            "`make upgrade` if there is an earlier hub"
        ]
    return [f"deployment version {record['version']}; this checkout is {version}, and `make upgrade` upgrades to it"]
