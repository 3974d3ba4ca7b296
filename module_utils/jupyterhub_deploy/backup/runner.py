"""Back up volumes and the hub's own state: scan, decide, write; a failure does not stop the other backups."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.backup import archive, encryption, helper_container, pause, store
from ansible.module_utils.jupyterhub_deploy.backup import scan as backup_scan
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import HubState, content_digest
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB, HUB_FOLDER, VOLUME, VOLUME_NAME, Manifest
from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.quiesce import Consistency, QuiescedVolume
from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_RESTORING
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container, users_volumes
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import storage
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import counted, human_size

# Where the hub's state is collected before it is encrypted. Unencrypted, it must not reach the backup directory, which
# may be on another machine's disk. (Scheduled runs cannot write to /etc.)
STAGING = "/var/lib/jupyterhub-deploy"

Result = dict[str, Any]

# Errors that fail one backup and do not affect the next.
FAILURES: tuple[type[Exception], ...] = (DeployError, OSError, sqlite3.Error, *DOCKER_ERRORS)


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


def unchanged(scan: str | None, backups: list[store.Backup]) -> store.Backup | None:
    """Return the newest backup when the scan has not changed since, ``None`` when a new one is needed.

    :param scan: digest of the scan; ``None`` when it cannot be trusted.
    :param backups: the existing ones, oldest first.
    """
    newest = backups[-1] if backups else None
    return newest if newest and scan and newest.manifest.scan == scan else None


class Runner:
    """One run of backups of one hub."""

    def __init__(self, client: Any, settings: BackupSettings, check_mode: bool, progress: Reporter) -> None:
        self.client, self.settings, self.check_mode, self.progress = client, settings, check_mode, progress
        self.hub, self.directory, self.compression = settings.name, settings.directory, settings.compression
        self.state = HubState(client, self.hub, settings.config_dir, settings.database_volume)
        self.consistency = Consistency(client, settings)
        self.recipients = encryption.recipients(settings.recipients)
        self.encryption = "age" if self.recipients else "none"
        self.plain_staging = os.path.join(STAGING, f"staging-{self.hub}")
        self._versions: dict[str, str] = {}
        self._sync_times: dict[int, int] = {}  # by file system
        self._scan_secret = b""
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
        jobs: list[tuple[str, Callable[[], Result]]] = []
        if self.settings.hub_state:
            jobs.append((HUB_FOLDER, self.back_up_hub_state))
        for name, volume in self.select_volumes().items():
            jobs.append((name, lambda name=name, volume=volume: self.back_up_volume(name, volume)))  # type: ignore[misc]
        if self.recipients:
            if not self.check_mode:
                encryption.require(self.recipients)
            self._scan_secret = encryption.scan_secret(self.directory, write=not self.check_mode)
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

    def check_database(self) -> None:
        """Check that the hub uses the database that is backed up.

        :raises DeployError: it uses another one.
        """
        problem = None
        with contextlib.suppress(DeployError):  # `gaps` reports a hub that does not say where its data are
            problem = storage.database_problem(storage.read(self._hub)) if self._hub else None
        if problem:
            raise DeployError(problem)

    def recover(self) -> list[str]:
        """Clean up after a killed run outside of the backup directory; return what was done."""
        left = [self.plain_staging] if os.path.lexists(self.plain_staging) else []
        store.remove(left)
        return left + pause.recover(self.client, self.directory) + helper_container.recover(self.client, self.hub)

    def run_job(self, name: str, job: Callable[[], Result]) -> Result:
        """Run one backup; turn its failure into a result, so that the others continue."""
        try:
            result = job()
        except FAILURES as error:
            result = {"action": "failed", "error": str(error)}
            self.progress.say(f"{name}: failed: {error}")
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
        digest = self.manifest_digest(scan.digest)
        same = None if self.settings.force else unchanged(digest, self.existing(name))
        if same:
            return self.unchanged_result(name, same, volume.user)
        if self.check_mode:
            return {"action": "backed_up", "user": volume.user, "content_size": scan.size}
        draft = store.Draft(self.directory, name, self.compression, self.encryption)
        return self.write(draft, source, scan._replace(digest=digest), about, self.consistency.quiesce(volume))

    def sync_time(self, source: str) -> int:
        """Return since when a scan sees every write to a directory's file system. Syncs each one once per run."""
        try:
            device = os.stat(source).st_dev
            if device not in self._sync_times:
                self._sync_times[device] = backup_scan.sync_and_timestamp(source)
        except OSError as error:
            raise DeployError(f"directory {source} cannot be read: {error}") from error
        return self._sync_times[device]

    def manifest_digest(self, digest: str | None) -> str | None:
        """Return a scan's digest in the form that the manifest stores."""
        return encryption.keyed_digest(digest, self.recipients, self._scan_secret)

    def existing(self, folder: str) -> list[store.Backup]:
        """Return the existing backups, oldest first."""
        return store.backups_in(self.directory, folder)

    def unchanged_result(self, name: str, same: store.Backup, user: str | None) -> Result:
        """Return the result for a volume whose newest backup is up to date."""
        self.progress.update(f"{name}: unchanged since {same.stem}")
        return {"action": "unchanged", "user": user, "backup": same.archive_path}

    def write(
        self, draft: store.Draft, source: str, scan: backup_scan.Scan, about: dict[str, Any], volume: QuiescedVolume
    ) -> Result:
        """Write a backup, completely or not at all.

        :param scan: of the source, with the digest that the manifest stores.
        """
        began = time.monotonic()
        try:
            packed = archive.pack(source, draft.archive_partial, self.compression, self.recipients, volume)
            seconds = round(time.monotonic() - began, 3)
            manifest = Manifest(
                **about,
                hub=self.hub,
                created=store.time_of(draft.stem).isoformat(),
                archive=draft.archive,
                compression=self.compression,
                sha256=packed.sha256,
                size=packed.size,
                content_size=packed.content_size,
                members=packed.members,
                changed=encryption.omit_names(packed.changed) if self.recipients else packed.changed,
                seconds=seconds,
                consistency=volume.consistency,
                scan=scan.digest,
                versions=self.versions(),
                encryption=self.encryption,
                recipients=self.recipients,
                sockets=encryption.omit_names(packed.sockets) if self.recipients else packed.sockets,
                unrestorable=encryption.omit_names(packed.unrestorable) if self.recipients else packed.unrestorable,
            )
            try:
                draft.commit(manifest)
            except OSError as error:
                raise DeployError(f"the backup cannot be stored in {draft.path}: {error.strerror}") from error
        except BaseException:
            draft.discard()
            raise
        name = manifest.folder
        changed = f", {len(packed.changed)} changed meanwhile" if packed.changed else ""
        changed += f", stopped {', '.join(volume.stopped)}" if volume.stopped else ""
        changed += ", not quiesced" if volume.running else ""
        changed += ", has paths too long to be restored" if packed.unrestorable else ""
        # Not the size of the tar stream, which is at least 1 MiB.
        content = f"{human_size(scan.size)} in {counted(packed.members, 'entry', 'entries')}"
        self.progress.say(f"{name}: {content}, stored as {human_size(packed.size)}, {seconds:.1f} s{changed}")
        return {
            "action": "backed_up",
            "user": manifest.user,
            "backup": os.path.join(draft.path, draft.archive),
            "size": packed.size,
            "content_size": packed.content_size,
            "members": packed.members,
            "changed_files": packed.changed,
            "sockets": packed.sockets,
            "unrestorable": packed.unrestorable,
            "seconds": seconds,
            **volume.result(),
        }

    def versions(self) -> dict[str, str]:
        """Return the versions of the programs that write archives."""
        for program in ("tar", self.compression, self.encryption):
            if program not in self._versions and program != "none":
                shown = subprocess.run([program, "--version"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
                self._versions[program] = shown.stdout.decode("utf-8", "replace").splitlines()[0].strip("* ")
        return dict(self._versions)

    def back_up_hub_state(self) -> Result:
        """Back up the hub's database, secrets, configuration in use and image ids."""
        self.check_database()
        if self.check_mode:
            return {"action": "backed_up", "user": None}
        draft = store.Draft(self.directory, HUB_FOLDER, self.compression, self.encryption)
        staging = draft.partial("staging")
        if self.recipients:
            staging = self.plain_staging
            os.makedirs(STAGING, exist_ok=True)
        about: dict[str, Any] = {"kind": HUB, "volume": None, "user": None, "driver": None}
        about.update(labels={}, options={})
        try:
            os.mkdir(staging, 0o700)
            self.state.stage(self.list_volumes().get(self.state.data_volume), staging)
            digest = self.manifest_digest(content_digest(staging))
            same = None if self.settings.force else unchanged(digest, self.existing(HUB_FOLDER))
            if same:
                return self.unchanged_result(HUB_FOLDER, same, None)
            scan = backup_scan.scan(staging, synced=0)._replace(digest=digest)
            return self.write(draft, staging, scan, about, QuiescedVolume())
        finally:
            store.remove([path for path in (staging,) if os.path.exists(path)])
