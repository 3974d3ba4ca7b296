"""Restore one backup to a Docker volume, and describe what can be restored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup import verify as backup_verify
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content, some
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import commands, extract, swap
from ansible.module_utils.jupyterhub_deploy.restore.host import Host
from ansible.module_utils.jupyterhub_deploy.restore.select import Job
from ansible.module_utils.jupyterhub_deploy.text import counted, human_size


@dataclass(frozen=True)
class RestoreSettings:
    """The options of the module ``jupyterhub_restore``, where they are documented."""

    name: str
    directory: str
    state: str
    users: list[str]
    volumes: list[str]
    every_volume: bool
    backup: str | None
    to_user: str | None
    keep_old: bool
    stop_servers: bool
    token_file: str
    timeout: int
    parallel: int
    verify: bool
    limit: str


def describe(backup: Backup, verify: bool) -> dict[str, Any]:
    """Return one backup for the list of what can be restored.

    :param verify: read the whole archive and validate it as a restore does.
    """
    manifest, known = backup.manifest, backup_verify.read_record(backup)
    line: dict[str, Any] = {
        "backup": backup.stem,
        "volume": manifest.volume,
        "user": manifest.user,
        "time": backup.time.isoformat(),
        "size": manifest.size,
        "content_size": manifest.content_size,
        "members": manifest.members,
        "changed_while_read": len(manifest.changed),
        "consistency": manifest.consistency,
        "encryption": manifest.encryption,
        "verified": known.good if known else None,
        "verified_at": known.time if known else None,
        "not_verified": None,
        "fault": known.fault if known else None,
    }
    if verify:
        try:
            with reader.opened(backup) as archive:
                line["not_verified"] = reader.verify(archive, backup)
            line.update(verified=True, fault=None)
        except DeployError as error:
            line.update(verified=False, fault=str(error))
    state = backup_verify.describe(line["verified"], line["fault"])
    return {**line, "message": f"{manifest.user or '-'}  {backup.stem}  {manifest.volume}  {state}"}


def restore(host: Host, job: Job, settings: RestoreSettings, check_mode: bool) -> dict[str, Any]:
    """Restore one volume; return what was done.

    :raises DeployError: the restore failed; the volume keeps its data.
    """
    home = host.home(job)
    stopped: list[str] = []
    next_step = f"stop the server, or run {_again(job, settings)}, which stops it"
    if home and not (settings.stop_servers and check_mode):
        if settings.stop_servers:
            stopped = host.stop_servers(job, home, settings.token_file, settings.timeout)
            next_step = "the hub cannot stop this container, so stop it yourself"
        host.refuse_use(job, home, next_step)
    with reader.opened(job.backup) as archive:
        extract.check_space(home or host.volumes_root(), job.backup)
        kept, interrupted = None, None
        if check_mode:
            content = reader.validate(archive, job.backup)
        elif home is None:
            content, _, interrupted = _to_new_volume(host, job, archive)
        else:
            content, kept, interrupted = _to_volume(host, job, home, archive, settings.keep_old)
    return {
        "volume": job.volume,
        "user": job.user,
        "backup": job.backup.stem,
        "created": home is None,
        "entries": content.entries,
        "size": content.size,
        "old_data": kept,
        "left_out": list(content.left_out),
        "sockets": job.backup.manifest.sockets,
        "message": _message(job, content, home is None, stopped, kept, interrupted, check_mode),
    }


def _again(job: Job, settings: RestoreSettings) -> str:
    """Return the command that restores this volume, and stops its server before."""
    user = ",".join(settings.users) if settings.to_user else job.user
    return commands.restore(
        job.backup.manifest.encryption != "none",
        settings.limit,
        user=user,
        every_user=not user,
        to_user=settings.to_user,
        backup=settings.backup,
        keep_old=None if settings.keep_old else "false",
        stop_servers=True,
    )


def _to_new_volume(host: Host, job: Job, archive: int) -> tuple[Content, str | None, str | None]:
    """Restore to a volume that does not exist: extract to a staging volume, then create the volume and swap.

    After a kill, :meth:`Host.remove_interrupted` removes the staging volume, and the volume if it is still empty.
    """
    with host.staging_volume(job) as (staging, lock):
        content = _extract(job, staging, archive, lock)
        if host.home(job):
            raise DeployError(f"volume {job.volume} was created meanwhile; nothing was restored to it; try again")
        home = host.create(job)
        try:
            with swap.locked(home):
                os.rename(os.path.join(staging, swap.STAGING), os.path.join(home, swap.STAGING))
                _swap(host, job, home, keep_old=False)
        except BaseException:
            swap.recover(home)
            host.remove_empty(job.volume)
            raise
    return content, None, None


def _to_volume(host: Host, job: Job, home: str, archive: int, keep_old: bool) -> tuple[Content, str | None, str | None]:
    """Return what was restored, the path of the old data, and the path of data that a killed run had replaced."""
    with swap.locked(home) as lock:
        interrupted = swap.recover(home)
        try:
            content = _extract(job, home, archive, lock)
            return content, _swap(host, job, home, keep_old), interrupted
        except BaseException:
            swap.recover(home)
            raise


def _extract(job: Job, home: str, archive: int, lock: int) -> Content:
    extract.check_space(home, job.backup)
    content = extract.extract(archive, job.backup, home, lock)
    with swap.synced(home):
        extract.compare(home, content)
    return content


def _swap(host: Host, job: Job, home: str, keep_old: bool) -> str | None:
    """Replace the volume's data by the extracted data; return the path of the old data if they are kept."""
    host.refuse_use(job, home, "it was started meanwhile; stop it and try again")
    swap.swap(home)
    try:
        host.refuse_old(job, home)
    except BaseException:
        swap.swap_back(home)
        raise
    return swap.finish(home, keep_old)


def _message(
    job: Job,
    content: Content,
    created: bool,
    stopped: list[str],
    kept: str | None,
    interrupted: str | None,
    check_mode: bool,
) -> str:
    done = "would be restored" if check_mode else "restored"
    to = f"volume {job.volume}" + (" (new)" if created else "")
    text = (
        f"{to}: {done} from backup {job.backup.stem} of {job.backup.manifest.volume}, "
        f"{counted(content.entries, 'entry', 'entries')}, {human_size(content.size)}"
    )
    if content.left_out:
        text += (
            f"; without {counted(content.left_out_entries, 'entry', 'entries')} with paths too long for any tar to "
            f"extract: {some(content.left_out)}"
        )
    if job.backup.manifest.sockets:
        text += f"; without sockets, which no archive can hold: {some(job.backup.manifest.sockets)}"
    if stopped:
        text += f"; stopped the server of {', '.join(stopped)}; start it again on the hub's page"
    if kept:
        text += f"; the old data are in {kept} until you remove {os.path.dirname(kept)}"
    if interrupted:
        text += f"; a run that was killed before had left the data that it had replaced in {interrupted}"
    return text
