"""Write backups to the backup directory, each completely or not at all."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import archive, encryption, reader, store, verify
from ansible.module_utils.jupyterhub_deploy.backup.draft import Draft
from ansible.module_utils.jupyterhub_deploy.backup.manifest import Manifest
from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.backup.quiesce import QuiescedVolume
from ansible.module_utils.jupyterhub_deploy.backup.scan import Scan
from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import counted, human_size

Result = dict[str, Any]


def unchanged(scan: str | None, backups: list[store.Backup]) -> store.Backup | None:
    """Return the newest backup when the scan has not changed since, ``None`` when a new one is needed.

    :param scan: digest of the scan; ``None`` when it cannot be trusted.
    :param backups: the existing ones, oldest first.
    """
    newest = backups[-1] if backups else None
    return newest if newest and scan and newest.manifest.scan == scan else None


def _is_damaged(backup: store.Backup) -> bool:
    """Return whether an archive that was found to be bad has another content than the one that was written.

    One that has the same content, and is refused for what the volume has in it, would be made again each time.
    """
    known = verify.read_record(backup)
    if known is None or known.good:
        return False
    try:
        with reader.opened(backup) as archive:
            reader.check_sum(archive, backup)
    except DeployError:
        return True
    return False


class Writer:
    """Writes the backups of one run, encrypted if the settings name recipients."""

    def __init__(self, settings: BackupSettings, progress: Reporter) -> None:
        self.settings, self.progress = settings, progress
        self.recipients = encryption.recipients(settings.recipients)
        self.encryption = "age" if self.recipients else "none"
        self._versions: dict[str, str] = {}
        self._scan_secret = b""

    def prepare(self, check_mode: bool) -> None:
        """Check that archives can be encrypted, if they are to be."""
        if self.recipients:
            if not check_mode:
                encryption.require(self.recipients)
            self._scan_secret = encryption.scan_secret(self.settings.directory, write=not check_mode)

    def draft(self, folder: str) -> Draft:
        """Begin a backup."""
        return Draft(self.settings.directory, folder, self.settings.compression, self.encryption)

    def manifest_digest(self, digest: str | None) -> str | None:
        """Return a scan's digest in the form that the manifest stores."""
        return encryption.keyed_digest(digest, self.recipients, self._scan_secret)

    def up_to_date(self, folder: str, digest: str | None, user: str | None) -> Result | None:
        """Return the result for a folder whose newest backup is up to date, ``None`` when a new backup is needed.

        :param digest: from :meth:`manifest_digest`.
        """
        same = None if self.settings.force else unchanged(digest, store.backups_in(self.settings.directory, folder))
        if not same or _is_damaged(same):
            return None
        self.progress.update(f"{folder}: unchanged since {same.stem}")
        return {"action": "unchanged", "user": user, "backup": same.archive_path}

    def write(self, draft: Draft, source: str, scan: Scan, about: dict[str, Any], volume: QuiescedVolume) -> Result:
        """Write a backup, completely or not at all.

        :param scan: of the source, with the digest that the manifest stores.
        """
        began = time.monotonic()
        try:
            packed = archive.pack(source, draft.archive_partial, self.settings.compression, self.recipients, volume)
            seconds = round(time.monotonic() - began, 3)
            manifest = Manifest(
                **about,
                hub=self.settings.name,
                created=store.time_of(draft.stem).isoformat(),
                archive=draft.archive,
                compression=self.settings.compression,
                sha256=packed.sha256,
                size=packed.size,
                content_size=packed.content_size,
                members=packed.members,
                changed=self._names(packed.changed),
                seconds=seconds,
                consistency=volume.consistency,
                scan=scan.digest,
                versions=self.versions(),
                encryption=self.encryption,
                recipients=self.recipients,
                sockets=self._names(packed.sockets),
                unrestorable=self._names(packed.unrestorable),
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
        for program in ("tar", self.settings.compression, self.encryption):
            if program not in self._versions and program != "none":
                shown = subprocess.run([program, "--version"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
                self._versions[program] = shown.stdout.decode("utf-8", "replace").splitlines()[0].strip("* ")
        return dict(self._versions)

    def _names(self, names: list[str]) -> list[str]:
        """Return the names of files as the manifest has them."""
        return encryption.omit_names(names) if self.recipients else names
