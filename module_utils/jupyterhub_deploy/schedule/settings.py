"""The settings of a hub's schedule, and the file on the host that the command ``jupyterhub-backup`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings, load
from ansible.module_utils.jupyterhub_deploy.copy.push import PushSettings
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.hub import host


@dataclass(frozen=True)
class Schedule:
    """The options of the module ``jupyterhub_backup_schedule``, where they are documented."""

    schedule: str
    late_hours: float
    metrics_dir: str
    backup: BackupSettings
    push: PushSettings | None = None

    @property
    def hub(self) -> str:
        """Name of the hub."""
        return self.backup.name

    def to_json(self) -> str:
        """Return the text of the settings file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def of(given: Mapping[str, Any]) -> Schedule:
    """Return a schedule from the module's parameters, or from the content of the settings file.

    :raises KeyError: a setting is missing.
    """
    push = given.get("push")
    return Schedule(
        schedule=given["schedule"],
        late_hours=given["late_hours"],
        metrics_dir=given["metrics_dir"],
        backup=load(BackupSettings, given["backup"]),
        push=load(PushSettings, push) if push else None,
    )


def read(hub: str) -> Schedule | None:
    """Return the schedule of a hub, ``None`` when it has none.

    :raises DeployError: its file is damaged.
    """
    path = host.backup_settings(hub)
    try:
        text = read_text(path)
        return of(json.loads(text)) if text is not None else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DeployError(
            f"the settings of scheduled backups, {path}, cannot be read: {reason}; run make site"
        ) from error
