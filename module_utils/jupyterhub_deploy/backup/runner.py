"""Back up volumes and the hub's own state, in parallel; a failure does not stop the other backups."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.backup import helper_container, pause, store
from ansible.module_utils.jupyterhub_deploy.backup import scan as backup_scan
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import HubState, content_digest
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB, HUB_FOLDER, VOLUME, VOLUME_NAME
from ansible.module_utils.jupyterhub_deploy.backup.quiesce import Consistency, QuiescedVolume
from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings
from ansible.module_utils.jupyterhub_deploy.backup.writer import Result, Writer
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_RESTORING
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container, users_volumes
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, FAILURES, DeployError, reason
from ansible.module_utils.jupyterhub_deploy.hub import storage
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Where the hub's state is collected before it is encrypted. Unencrypted, it must not reach the backup directory, which
# may be on another machine's disk. (Scheduled runs cannot write to /etc.)
STAGING = "/var/lib/jupyterhub-deploy"

# Errors that fail one backup and do not affect the next.
JOB_FAILURES: tuple[type[Exception], ...] = (*FAILURES, sqlite3.Error)


def refusal(volume: Volume, restoring: Container[str]) -> str | None:
    """Return why a volume cannot be backed up, ``None`` when it can be.

    :param restoring: the new volumes of restores that were killed.
    """
    if volume.name in restoring and not os.listdir(volume.mountpoint):
        return (
            f"volume {volume.name} is empty, because its restore was interrupted; restore it again, or remove it with "
            f"`docker volume rm {volume.name}`"
        )
    if volume.name == HUB_FOLDER or not VOLUME_NAME.fullmatch(volume.name):
        return f"volume {volume.name} has a name that backups use for the hub's own state; copy it to another volume"
    return None


class Runner:
    """One run of backups of one hub."""

    def __init__(self, client: Any, settings: BackupSettings, check_mode: bool, progress: Reporter) -> None:
        self.client, self.settings, self.check_mode, self.progress = client, settings, check_mode, progress
        self.hub, self.directory = settings.name, settings.directory
        self.state = HubState(client, self.hub, settings.config_dir, settings.database_volume, settings.front_dir)
        self.consistency = Consistency(client, settings)
        self.writer = Writer(settings, progress)
        self.plain_staging = os.path.join(STAGING, f"staging-{self.hub}")
        self._sync_times: dict[int, int] = {}  # by file system
        self.restoring: set[str] = set()
        self._hub = inspect_container(client, self.hub) if client else None

    def list_volumes(self) -> dict[str, Volume]:
        """Return all volumes of this host by name; none without Docker (check mode on a new host)."""
        if not self.client:
            return {}
        try:
            described = self.client.volumes()["Volumes"] or []
        except DOCKER_ERRORS as error:
            raise DeployError(f"Docker does not list its volumes: {error}; try again") from error
        return {volume.name: volume for volume in map(Volume.of, described)}

    def select_volumes(self) -> dict[str, Volume | None]:
        """Return the volumes to back up by name; ``None`` for one that does not exist."""
        found = self.list_volumes()
        self.restoring = {one.labels[LABEL_RESTORING] for one in found.values() if LABEL_RESTORING in one.labels}
        wanted = self.settings.volumes or [one.name for one in users_volumes(self.hub, list(found.values()))]
        return {name: found.get(name) for name in sorted(set(wanted) - set(self.settings.exclude))}

    def run(self) -> list[Result]:
        """Back up the requested volumes in parallel; return a result for each, also for failures."""
        jobs: list[tuple[str, str | None, Callable[[], Result]]] = []
        if self.settings.hub_state:
            jobs.append((HUB_FOLDER, None, self.back_up_hub_state))
        for name, volume in self.select_volumes().items():
            user = volume.user if volume else None
            jobs.append((name, user, lambda name=name, volume=volume: self.back_up_volume(name, volume)))  # type: ignore[misc]
        self.writer.prepare(self.check_mode)
        # tar and the compressor do the work: threads only copy their output.
        try:
            with ThreadPoolExecutor(max_workers=self.settings.parallel) as pool:
                return list(pool.map(lambda job: self.run_job(*job), jobs))
        finally:
            self.consistency.pauses.close()

    def gaps(self, saved: list[str]) -> list[str]:
        """Return a message about the users' files that are in no backup.

        :param saved: the names of the volumes that were backed up.
        """
        if not self._hub:
            return []
        try:
            return storage.not_backed_up_message(storage.not_backed_up(storage.read(self._hub), saved))
        except DeployError as error:
            return [str(error)]

    def recover(self) -> list[str]:
        """Clean up after a killed run outside of the backup directory; return what was done."""
        left = [self.plain_staging] if os.path.lexists(self.plain_staging) else []
        store.remove(left)
        return left + pause.recover(self.client, self.directory) + helper_container.recover(self.client, self.hub)

    def run_job(self, name: str, user: str | None, job: Callable[[], Result]) -> Result:
        """Run one backup; turn its failure into a result, so that the others continue."""
        try:
            result = job()
        except JOB_FAILURES as error:
            message = explain(error, self.directory)
            result = {"action": "failed", "user": user, "error": message}
            self.progress.say(f"{name}: failed: {message}")
        return {"name": name, **result}

    def back_up_volume(self, name: str, volume: Volume | None) -> Result:
        """Back up one volume, unless its newest backup is up to date."""
        if not volume:
            raise DeployError(f"volume {name} does not exist on this host; `docker volume ls` shows those that do")
        problem = refusal(volume, self.restoring)
        if problem:
            raise DeployError(problem)
        if not needs_container(volume):
            return self.back_up_directory(name, volume, volume.mountpoint)
        if self.check_mode:  # check mode starts no helper container
            return {"action": "backed_up", "user": volume.user}
        with helper_container.hold_volume(self.client, self.hub, name) as source:
            return self.back_up_directory(name, volume, source)

    def back_up_directory(self, name: str, volume: Volume, source: str) -> Result:
        """Back up one volume from a directory on the host, as :meth:`back_up_volume`."""
        scan = backup_scan.scan(source, self.sync_time(source))
        about = {
            "kind": VOLUME,
            "volume": name,
            "user": volume.user,
            "driver": volume.driver,
            "labels": volume.labels,
            "options": volume.options,
        }
        digest = self.writer.manifest_digest(scan.digest)
        up_to_date = self.writer.up_to_date(name, digest, volume.user)
        if up_to_date:
            return up_to_date
        if self.check_mode:
            return {"action": "backed_up", "user": volume.user, "content_size": scan.size}
        scan = scan._replace(digest=digest)
        return self.writer.write(self.writer.draft(name), source, scan, about, self.consistency.quiesce(volume))

    def sync_time(self, source: str) -> int:
        """Return since when a scan sees every write to a directory's file system. Syncs each one once per run."""
        try:
            device = os.stat(source).st_dev
            if device not in self._sync_times:
                self._sync_times[device] = backup_scan.sync_and_timestamp(source)
        except OSError as error:
            raise DeployError(f"directory {source} cannot be read: {error}") from error
        return self._sync_times[device]

    def back_up_hub_state(self) -> Result:
        """Back up the hub's database, secrets, configuration in use and image ids."""
        storage.check_database(self._hub)
        if self.check_mode:
            return {"action": "backed_up", "user": None}
        draft = self.writer.draft(HUB_FOLDER)
        staging = draft.partial("staging")
        if self.writer.recipients:
            staging = self.plain_staging
            os.makedirs(STAGING, exist_ok=True)
        about: dict[str, Any] = {"kind": HUB, "volume": None, "user": None, "driver": None, "labels": {}, "options": {}}
        try:
            os.mkdir(staging, 0o700)
            self.state.stage(self.list_volumes().get(self.state.data_volume), staging)
            digest = self.writer.manifest_digest(content_digest(staging))
            up_to_date = self.writer.up_to_date(HUB_FOLDER, digest, None)
            if up_to_date:
                return up_to_date
            scan = backup_scan.scan(staging, synced=0)._replace(digest=digest)
            return self.writer.write(draft, staging, scan, about, QuiescedVolume())
        finally:
            store.remove([path for path in (staging,) if os.path.exists(path)])


def explain(error: Exception, directory: str) -> str:
    """Return the text of an error, for a full disk with what to do. Pure.

    :param directory: of the backups, where most is written.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or directory} cannot be written: {error.strerror}; make room there"
    return reason(error)
