"""Back up volumes and the hub's own state: scan, decide, write, and go on when one fails."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.backup import archive, encryption, helper_container, pause, store
from ansible.module_utils.jupyterhub_deploy.backup import scan as backup_scan
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import HubState, content_digest
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB, HUB_FOLDER, VOLUME, VOLUME_NAME, Manifest
from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.quiesce import Consistency, QuiescedVolume
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container, users_volumes
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import human_size

# Where the hub's state is collected to be encrypted. In the plain it never comes to where the backups are, which may be
# another machine's disk; here lie also the volumes that it comes from. (The scheduled run cannot write to /etc.)
STAGING = "/var/lib/jupyterhub-deploy"

Result = dict[str, Any]

# What may go wrong with one backup and says nothing about the next.
FAILURES: tuple[type[Exception], ...] = (DeployError, OSError, sqlite3.Error, *DOCKER_ERRORS)


def refusal(volume: Volume) -> str | None:
    """Return why a volume cannot be backed up, ``None`` when it can be."""
    if volume.name == HUB_FOLDER or not VOLUME_NAME.fullmatch(volume.name):
        return f"volume {volume.name} has a name that backups use for the hub's own state; copy it to another volume"
    return None


def unchanged(scan: str | None, backups: list[store.Backup]) -> store.Backup | None:
    """Return the newest backup when it holds what a scan has found, ``None`` when a new one is needed.

    :param scan: ``None`` when the scan is not to be trusted.
    :param backups: those that exist, oldest first.
    """
    newest = backups[-1] if backups else None
    return newest if newest and scan and newest.manifest.scan == scan else None


class Runner:
    """One run of backups of one hub."""

    def __init__(self, client: Any, params: dict[str, Any], check_mode: bool) -> None:
        self.client = client
        self.hub: str = params["name"]
        self.directory: str = params["directory"]
        self.compression: str = params["compression"]
        self.force: bool = params["force"]
        self.parallel: int = params["parallel"]
        self.exclude = frozenset(params["exclude"])
        self.state = HubState(client, self.hub, params["config_dir"], params["data_volume"] or f"{self.hub}-data")
        self.consistency = Consistency(
            client,
            self.hub,
            params["consistency"],
            self.state.data_volume,
            self.directory,
            params["token_file"] or os.path.join(params["config_dir"], "secrets", "api_token"),
            params["stop_timeout"],
        )
        self.recipients = encryption.recipients(params["recipients"])
        self.encryption = "age" if self.recipients else "none"
        self.plain_staging = os.path.join(STAGING, f"staging-{self.hub}")
        self.check_mode = check_mode
        self.progress = Reporter(params["progress_file"])
        self._versions: dict[str, str] = {}
        self._settled: dict[int, int] = {}  # by file system
        self._scan_secret = b""

    def on_host(self) -> dict[str, Volume]:
        """Return all volumes of this host by name; none where there is no engine yet (check mode on a bare host)."""
        if not self.client:
            return {}
        try:
            described = self.client.volumes()["Volumes"] or []
        except DOCKER_ERRORS as error:
            raise DeployError(f"the Docker engine does not list its volumes: {error}; try again") from error
        return {volume.name: volume for volume in map(Volume.of, described)}

    def volumes(self, names: list[str]) -> dict[str, Volume | None]:
        """Return the volumes to back up by name; ``None`` for one that was asked for and does not exist.

        :param names: the only ones wanted; all of the hub's users when empty. Those to exclude are not among them.
        """
        found = self.on_host()
        wanted = names or [volume.name for volume in users_volumes(self.hub, list(found.values()))]
        return {name: found.get(name) for name in sorted(set(wanted) - self.exclude)}

    def run(self, names: list[str], hub_state: bool) -> list[Result]:
        """Back up what is asked for, several at once; return one result for each, also for those that failed."""
        jobs: list[tuple[str, Callable[[], Result]]] = []
        if hub_state:
            jobs.append((HUB_FOLDER, self.hub_state))
        for name, volume in self.volumes(names).items():
            jobs.append((name, lambda name=name, volume=volume: self.volume(name, volume)))  # type: ignore[misc]
        if self.recipients:
            if not self.check_mode:
                encryption.require(self.recipients)
            self._scan_secret = encryption.scan_secret(self.directory, write=not self.check_mode)
        # The work is done by tar and the compressor: threads only pass their output on.
        try:
            with ThreadPoolExecutor(max_workers=self.parallel) as pool:
                return list(pool.map(lambda job: self.one(*job), jobs))
        finally:
            self.consistency.pauses.close()

    def recover(self) -> list[str]:
        """Put right what a killed run has left elsewhere than among the backups; return what was done."""
        left = [self.plain_staging] if os.path.lexists(self.plain_staging) else []
        store.remove(left)
        return left + pause.recover(self.client, self.directory) + helper_container.recover(self.client, self.hub)

    def one(self, name: str, job: Callable[[], Result]) -> Result:
        """Do one backup; turn its failure into a result, so that the others go on."""
        try:
            result = job()
        except FAILURES as error:
            result = {"action": "failed", "error": str(error)}
            self.progress.say(f"{name}: failed: {error}")
        return {"name": name, **result}

    def volume(self, name: str, volume: Volume | None) -> Result:
        """Back up one volume, unless its newest backup holds all that is in it."""
        if not volume:
            raise DeployError(f"volume {name} does not exist on this host; `docker volume ls` shows those that do")
        problem = refusal(volume)
        if problem:
            raise DeployError(problem)
        if not needs_container(volume):
            return self.read(name, volume, volume.mountpoint)
        if self.check_mode:  # nothing is started, not even to look
            return {"action": "backed_up", "user": volume.user}
        with helper_container.opened(self.client, self.hub, name) as source:
            return self.read(name, volume, source)

    def read(self, name: str, volume: Volume, source: str) -> Result:
        """Back up one volume from a directory on the host, as :meth:`volume`."""
        scan = backup_scan.scan(source, self.settled(source))
        about = {
            "kind": VOLUME,
            "volume": name,
            "user": volume.user,
            "driver": volume.driver,
            "labels": volume.labels,
            "options": volume.options,
        }
        digest = self.sealed(scan.digest)
        same = None if self.force else unchanged(digest, self.existing(name))
        if same:
            return self.skipped(name, same, volume.user)
        if self.check_mode:
            return {"action": "backed_up", "user": volume.user, "content_size": scan.size}
        draft = store.Draft(self.directory, name, self.compression, self.encryption)
        return self.write(draft, source, digest, about, self.consistency.quiesce(volume))

    def settled(self, source: str) -> int:
        """Return since when every write to a directory's file system shows. Each is brought to rest once in a run."""
        try:
            device = os.stat(source).st_dev
            if device not in self._settled:
                self._settled[device] = backup_scan.settle(source)
        except OSError as error:
            raise DeployError(f"directory {source} cannot be read: {error}") from error
        return self._settled[device]

    def sealed(self, digest: str | None) -> str | None:
        """Return a scan's digest as it stands in a manifest."""
        return encryption.sealed(digest, self.recipients, self._scan_secret)

    def existing(self, folder: str) -> list[store.Backup]:
        """Return the backups that are there, oldest first."""
        return store.backups_in(self.directory, folder)

    def skipped(self, name: str, same: store.Backup, user: str | None) -> Result:
        """Return the result of a backup that is not needed."""
        self.progress.update(f"{name}: unchanged since {same.stem}")
        return {"action": "unchanged", "user": user, "backup": same.archive_path}

    def write(
        self, draft: store.Draft, source: str, scan: str | None, about: dict[str, Any], volume: QuiescedVolume
    ) -> Result:
        """Write a backup, whole or not at all."""
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
                changed=encryption.counted(packed.changed) if self.recipients else packed.changed,
                seconds=seconds,
                consistency=volume.consistency,
                scan=scan,
                versions=self.versions(),
                encryption=self.encryption,
                recipients=self.recipients,
                sockets=encryption.counted(packed.sockets) if self.recipients else packed.sockets,
                unrestorable=encryption.counted(packed.unrestorable) if self.recipients else packed.unrestorable,
            )
            try:
                draft.commit(manifest)
            except OSError as error:
                raise DeployError(f"the backup cannot be put into {draft.path}: {error.strerror}") from error
        except BaseException:
            draft.discard()
            raise
        name = manifest.folder
        changed = f", {len(packed.changed)} changed meanwhile" if packed.changed else ""
        changed += f", stopped {', '.join(volume.stopped)}" if volume.stopped else ""
        changed += ", not quiesced" if volume.running else ""
        changed += ", has paths too long to be restored" if packed.unrestorable else ""
        size, content = human_size(packed.size), human_size(packed.content_size)
        self.progress.say(f"{name}: {content} in {packed.members} entries, stored as {size}, {seconds:.1f} s{changed}")
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
                said = subprocess.run([program, "--version"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
                self._versions[program] = said.stdout.decode("utf-8", "replace").splitlines()[0].strip("* ")
        return dict(self._versions)

    def hub_state(self) -> Result:
        """Back up the database, the secrets, the configuration in use and what runs."""
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
            self.state.stage(self.on_host().get(self.state.data_volume), staging)
            digest = self.sealed(content_digest(staging))
            same = None if self.force else unchanged(digest, self.existing(HUB_FOLDER))
            if same:
                return self.skipped(HUB_FOLDER, same, None)
            return self.write(draft, staging, digest, about, QuiescedVolume())
        finally:
            store.remove([path for path in (staging,) if os.path.exists(path)])
