"""The options of the backup modules as data: read once from a task's parameters, or from the file of a schedule."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from ansible.module_utils.jupyterhub_deploy.backup import retention
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

Spec = dict[str, dict[str, Any]]
Settings = TypeVar("Settings")

# The argument spec of the module jupyterhub_backup.
BACKUP: Spec = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "hub_state": {"type": "bool", "default": True},
    "compression": {"type": "str", "choices": ["zstd", "gzip", "none"], "default": "zstd"},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "consistency": {"type": "str", "choices": ["live", "paused", "stopped"], "default": "live"},
    "token_file": {"type": "path", "default": "", "no_log": False},
    "stop_timeout": {"type": "int", "default": 60},
    "force": {"type": "bool", "default": False},
    "parallel": {"type": "int", "default": 2},
    "keep": {"type": "dict", "options": {rule: {"type": "int", "default": 0} for rule in retention.RULES}},
    "config_dir": {"type": "path", "default": "/etc/jupyterhub"},
    "data_volume": {"type": "str", "default": ""},
    "front_dir": {"type": "path", "default": "/etc/jupyterhub-front"},
}


def load(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Return settings from a mapping, which may have other keys, too.

    :param kind: a dataclass. A setting with a default may be missing: the file of an earlier version lacks it.
    :raises KeyError: another one is missing.
    """
    known = fields(kind)  # type: ignore[arg-type]
    wanted = [field.name for field in known if field.name in given or field.default is MISSING]
    return kind(**{name: given[name] for name in wanted})


def check_parallel(parallel: int) -> None:
    """Raise an error when a number of parallel jobs is below 1."""
    if parallel < 1:
        raise DeployError(f"parallel is {parallel}; set it to 1 or more")


@dataclass(frozen=True)
class BackupSettings:
    """The options of the module ``jupyterhub_backup``, where they are documented."""

    name: str
    directory: str
    volumes: list[str]
    exclude: list[str]
    hub_state: bool
    compression: str
    recipients: list[str]
    consistency: str
    token_file: str
    stop_timeout: int
    force: bool
    parallel: int
    keep: dict[str, int] | None
    config_dir: str
    data_volume: str
    front_dir: str = "/etc/jupyterhub-front"

    @property
    def database_volume(self) -> str:
        """Name of the volume with the hub's database."""
        return self.data_volume or f"{self.name}-data"

    @property
    def api_token_file(self) -> str:
        """Path of the hub's secret ``api_token``."""
        return self.token_file or os.path.join(self.config_dir, "secrets", "api_token")
