"""Backups for tests, created without the code under test, so that reading them is tested separately."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup.manifest import ENDINGS, HUB, HUB_FOLDER, Manifest
from ansible.module_utils.jupyterhub_deploy.backup.settings import BACKUP, BackupSettings
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup, stem_of

COMPRESS = {"zstd": ["zstd", "-q"], "gzip": ["gzip"], "none": ["cat"]}


def manifest(moment: datetime, volume: str | None = "jupyterhub-user-alice", **changes: Any) -> Manifest:
    """Return the manifest of an empty backup."""
    compression = changes.get("compression", "none")
    whole = Manifest(
        kind="volume" if volume else "hub",
        hub="jupyterhub",
        volume=volume,
        user="alice" if volume else None,
        created=moment.isoformat(),
        archive=stem_of(moment) + ENDINGS[compression],
        compression=compression,
        sha256=hashlib.sha256(b"").hexdigest(),
        size=0,
        content_size=0,
        members=0,
        changed=[],
        seconds=0.1,
        driver="local",
        labels={},
        options={},
        consistency="live",
        scan=None,
        versions={},
    )
    return replace(whole, **changes)


def settings(**given: Any) -> BackupSettings:
    """Return the settings of the module ``jupyterhub_backup``, with its defaults for those that are not given."""
    defaults = {name: option.get("default") for name, option in BACKUP.items()}
    return BackupSettings(**{**defaults, "name": "jupyterhub", "directory": "/b", **given})


def write(directory: Path, moment: datetime, tarball: bytes = b"", **changes: Any) -> Backup:
    """Write a backup whose archive is the given tar stream, compressed as its manifest says."""
    compression = changes.get("compression", "none")
    data = subprocess.run(COMPRESS[compression], input=tarball, stdout=subprocess.PIPE, check=True).stdout
    if tarball:
        listed = subprocess.run(["tar", "-tf-"], input=tarball, stdout=subprocess.PIPE, check=True)
        changes.setdefault("members", listed.stdout.count(b"\n"))
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "content_size": len(tarball)}
    described = manifest(moment, **{**sums, **changes})
    folder = directory / (HUB_FOLDER if described.kind == HUB else str(described.volume))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / described.archive).write_bytes(data)
    (folder / f"{stem_of(moment)}.json").write_text(described.to_json(), encoding="utf-8")
    return Backup(str(directory), stem_of(moment), described)
