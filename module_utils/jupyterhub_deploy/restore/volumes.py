"""Restore backups to Docker volumes: assign each backup to a volume, and restore one volume."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup import verify as backup_verify
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content, some
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import containers_using, volume_name
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.restore import extract, swap
from ansible.module_utils.jupyterhub_deploy.servers import stop


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


@dataclass(frozen=True)
class Job:
    """One backup, and the volume that it goes to."""

    backup: Backup
    volume: str
    user: str | None


def jobs(backups: list[Backup], hub: str, to_user: str | None) -> list[Job]:
    """Return which backup goes to which volume.

    :param to_user: the user who gets the data of another user.
    :raises DeployError: a backup is of another hub, or ``to_user`` is given with more or less than one backup.
    """
    others = [one for one in backups if one.manifest.hub != hub]
    if others:
        raise DeployError(
            f"backup {others[0].manifest_path} is of hub {others[0].manifest.hub}, not of {hub}; set name to that hub's"
        )
    if to_user is None:
        return [Job(one, str(one.manifest.volume), one.manifest.user) for one in backups]
    if len(backups) != 1:
        names = ", ".join(str(one.manifest.volume) for one in backups) or "none"
        raise DeployError(f"to_user takes the backup of one volume, and these were chosen: {names}")
    return [Job(backups[0], volume_name(hub, to_user), to_user)]


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


class Host:
    """The volumes and containers of this host."""

    def __init__(self, client: Any, hub: str) -> None:
        self.client, self.hub = client, hub

    def home(self, job: Job) -> str | None:
        """Return the directory of a volume on this host, ``None`` when the volume does not exist.

        :raises DeployError: the volume belongs to another user or hub, or is not a plain local one.
        """
        try:
            volume = self.client.inspect_volume(job.volume)
        except docker_errors.NotFound:
            return None
        if volume["Driver"] != "local" or volume.get("Options"):
            raise DeployError(
                f"volume {job.volume} has driver {volume['Driver']} with options {volume.get('Options') or 'none'}; "
                "only volumes of driver local without options can be swapped in one step; remove the volume, and the "
                "restore makes a plain one, or extract the archive by hand where its files are"
            )
        labels = volume.get("Labels") or {}
        for key, wanted in ((LABEL_HUB, self.hub), (LABEL_USER, job.user)):
            if wanted is not None and labels.get(key, wanted) != wanted:
                raise DeployError(f"volume {job.volume} belongs to {labels[key]} ({key}), not to {wanted}")
        home, name = os.path.split(str(volume["Mountpoint"]))
        if name != swap.DATA:
            raise DeployError(f"volume {job.volume} is at {volume['Mountpoint']}, which is not where Docker keeps one")
        return home

    def volumes_root(self) -> str:
        """Return the directory in which Docker creates volumes."""
        return os.path.join(str(self.client.info()["DockerRootDir"]), "volumes")

    def create(self, job: Job) -> None:
        """Create the volume, with the labels that the hub gives to its users' volumes."""
        labels = {**job.backup.manifest.labels, LABEL_HUB: self.hub}
        if job.user is not None:
            labels[LABEL_USER] = job.user
        self.client.create_volume(job.volume, labels=labels)

    def using(self, job: Job, home: str) -> list[str]:
        """Return the containers that use the volume's files."""
        data = os.path.join(home, swap.DATA)
        return [name_of(one) for one in containers_using(self.client, job.volume, data)]

    def holding_old(self, job: Job, home: str) -> list[str]:
        """Return the containers that were started just before the swap, and so use the old tree.

        The kernel reports the present path of a mounted directory: for them, it is in staging.
        """
        staging = os.path.join(os.path.basename(home), swap.STAGING)
        found = []
        for name in self.using(job, home):
            try:
                pid = self.client.inspect_container(name)["State"]["Pid"]
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                    if any(f"/{staging}/" in line.split()[3] for line in file):
                        found.append(name)
            except (docker_errors.NotFound, FileNotFoundError, ProcessLookupError):  # it has ended
                continue
        return found

    def refuse_old(self, job: Job, home: str) -> None:
        """Raise an error when a container uses the old tree after the swap: its changes would be lost."""
        names = self.holding_old(job, home)
        if names:
            raise DeployError(
                f"container {', '.join(names)} began to use volume {job.volume} in the moment of the swap; "
                "nothing was restored to it; stop the container and try again"
            )

    def stop_servers(self, job: Job, home: str, token_file: str, timeout: float) -> None:
        """Stop the servers that use the volume, through the hub."""
        names = self.using(job, home)
        if not names:
            return
        api = hub_api.connect(self.client, self.hub, token_file)
        for server in stop.observe(self.client, api, self.hub, set()):
            if server["container"] in names:
                latest, stops, _ = stop.recheck(self.client, api, server, "stop", 0)
                if stops:
                    stop.stop(api, latest, timeout)

    def refuse_use(self, job: Job, home: str, next_step: str) -> None:
        """Raise an error when a container uses the volume."""
        names = self.using(job, home)
        if names:
            raise DeployError(
                f"volume {job.volume} is in use by container {', '.join(names)}; nothing was restored to it; "
                f"{next_step}"
            )


def restore(host: Host, job: Job, settings: RestoreSettings, check_mode: bool) -> dict[str, Any]:
    """Restore one volume; return what was done.

    :raises DeployError: the restore failed; the volume keeps its data.
    """
    home = host.home(job)
    next_step = "stop the server, or pass stop_servers=true"
    if home and not (settings.stop_servers and check_mode):
        if settings.stop_servers:
            host.stop_servers(job, home, settings.token_file, settings.timeout)
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
        "message": _message(job, content, home is None, kept, interrupted, check_mode),
    }


def _to_new_volume(host: Host, job: Job, archive: int) -> tuple[Content, str | None, str | None]:
    host.create(job)
    try:
        home = host.home(job)
        if home is None:
            raise DeployError(f"volume {job.volume} was removed while it was restored; try again")
        return _to_volume(host, job, home, archive, keep_old=False)
    except BaseException:
        with contextlib.suppress(docker_errors.APIError):  # a container uses it already; it is empty and labelled
            host.client.remove_volume(job.volume)
        raise


def _to_volume(host: Host, job: Job, home: str, archive: int, keep_old: bool) -> tuple[Content, str | None, str | None]:
    """Return what was restored, the path of the old data, and the path of data that a killed run had replaced."""
    with swap.locked(home) as lock:
        interrupted = swap.recover(home)
        try:
            extract.check_space(home, job.backup)
            content = extract.extract(archive, job.backup, home, lock)
            extract.compare(home, content)
            host.refuse_use(job, home, "it was started meanwhile; stop it and try again")
            swap.swap(home)
            try:
                host.refuse_old(job, home)
            except BaseException:
                swap.swap_back(home)
                raise
            return content, swap.finish(home, keep_old), interrupted
        except BaseException:
            swap.recover(home)
            raise


def _message(
    job: Job, content: Content, created: bool, kept: str | None, interrupted: str | None, check_mode: bool
) -> str:
    done = "would be restored" if check_mode else "restored"
    to = f"volume {job.volume}" + (" (new)" if created else "")
    text = (
        f"{to}: {done} from backup {job.backup.stem} of {job.backup.manifest.volume}, {content.entries} entries, "
        f"{content.size / 1e6:.1f} MB"
    )
    if content.left_out:
        text += (
            f"; without {content.left_out_entries} entries whose paths are too long for any tar to extract: "
            f"{some(content.left_out)}"
        )
    if job.backup.manifest.sockets:
        text += f"; without sockets, which no archive can hold: {some(job.backup.manifest.sockets)}"
    if kept:
        text += f"; the old data are in {kept} until you remove {os.path.dirname(kept)}"
    if interrupted:
        text += f"; a run that was killed before had left the data that it had replaced in {interrupted}"
    return text
