"""A backup while it is written, and what a killed run leaves of one.

The files of a run in progress, or of a killed one, are ``.<stem>.<something>.partial``.
"""

from __future__ import annotations

import os
import re
import time
from datetime import datetime, timedelta, timezone

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import EVERY_ENDING, Manifest, ending

PARTIAL = re.compile(r"\.(\d{8}T\d{6}Z)\.[a-z]+\.partial")


def create(path: str) -> int:
    """Return the descriptor of a new file that only root can read."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


class Draft:
    """A backup that is being written: its unique stem, its partial files, and the commit."""

    def __init__(self, directory: str, folder: str, compression: str, encryption: str = "none") -> None:
        """Choose an unused stem; wait for the next second when that of this second is taken."""
        self.path = os.path.join(directory, folder)
        store.ensure_folder(self.path)
        # After the clock was set back, a new backup still has to be the newest.
        newest = max((one.time for one in store.backups_in(directory, folder)), default=None)
        while True:
            now = datetime.now(timezone.utc)
            moment = newest + timedelta(seconds=1) if newest and now < newest else now
            self.stem = store.stem_of(moment)
            if not any(self.stem in name for name in os.listdir(self.path)):
                break
            newest = moment if moment > now else newest
            time.sleep(0.05)
        self.archive = self.stem + ending(compression, encryption)
        self.archive_partial = self.partial("archive")
        self.manifest_partial = self.partial("manifest")

    def partial(self, what: str) -> str:
        """Return the path of a partial file of this backup, which the next run removes after a kill."""
        return os.path.join(self.path, f".{self.stem}.{what}.partial")

    def commit(self, manifest: Manifest) -> None:
        """Make the backup exist. The partial archive must be complete and synced to the disk."""
        descriptor = create(self.manifest_partial)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        files.sync_directory(os.path.dirname(self.path))  # the folder itself may be new
        # The partial manifest must exist before the archive gets its name: it tells clean() that the archive is ours.
        files.sync_directory(self.path)
        os.rename(self.archive_partial, os.path.join(self.path, self.archive))
        files.sync_directory(self.path)
        os.rename(self.manifest_partial, os.path.join(self.path, f"{self.stem}.json"))
        files.sync_directory(self.path)

    def discard(self) -> None:
        """Remove the files of an unfinished backup."""
        store.remove(leftovers(self.path, self.stem))


def leftovers(path: str, stem: str | None = None) -> list[str]:
    """Return the files that unfinished runs left in a folder, in the order in which to remove them.

    An archive without a manifest is included only if a partial manifest with the same stem is beside it. Others are not
    ours.

    :param path: the folder.
    :param stem: return only the files of this backup.
    """
    names = set(os.listdir(path))
    partials = sorted(name for name in names if (match := PARTIAL.fullmatch(name)) and stem in (None, match.group(1)))
    archives = []
    for name in partials:
        if name.endswith(".manifest.partial"):
            mine = name.split(".")[1]
            if f"{mine}.json" not in names:
                archives += [mine + end for end in (*EVERY_ENDING, store.VERIFIED) if mine + end in names]
    return [os.path.join(path, name) for name in archives + partials]


def clean(directory: str) -> list[str]:
    """Remove the files that killed runs left; return their paths. The caller holds the lock."""
    found = [path for folder in store.folders(directory) for path in leftovers(os.path.join(directory, folder))]
    store.remove(found)
    return found
