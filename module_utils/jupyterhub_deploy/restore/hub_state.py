"""Restore a hub's own state, its database and secrets, to a running hub or to a host without a hub."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import FRONT
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub import LOCK_NAME, HubContainer
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import is_plain
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.front import state as front_state
from ansible.module_utils.jupyterhub_deploy.hub import storage
from ansible.module_utils.jupyterhub_deploy.restore import commands, extract, hub_files, swap
from ansible.module_utils.jupyterhub_deploy.restore.hub_files import Places

FAILURES: tuple[type[Exception], ...] = (DeployError, *DOCKER_ERRORS)


@dataclass(frozen=True)
class HubStateSettings:
    """The options of the module ``jupyterhub_hub_state``, where they are documented."""

    name: str
    directory: str
    state: str
    backup: str | None
    config_dir: str
    data_volume: str
    front_dir: str
    keep_old: bool
    stop_servers: bool
    health_timeout: float
    limit: str


class Restore:
    """One restore of one hub's state.

    :param client: a low-level Docker client.
    """

    def __init__(self, client: Any, settings: HubStateSettings, check_mode: bool) -> None:
        self.client, self.settings, self.check_mode = client, settings, check_mode
        self.name = settings.name
        self.volume = settings.data_volume or f"{self.name}-data"
        # The proxy does not change, so it is enough that the hub itself is healthy.
        self.hub = HubContainer(client, self.name, "", settings.health_timeout)
        self.messages: list[str] = []

    def run(self, backup: Backup) -> dict[str, Any]:
        """Restore, unless in check mode; return the module's result.

        :raises DeployError: the restore failed; the hub keeps its old state.
        """
        home = self.home()
        self.check_host(home, backup)
        with reader.opened(backup) as archive:
            # It is small: validate all of it before anything is created or written.
            reader.validate(archive, backup)
            result: dict[str, Any] = {"backup": backup.stem, "old_state": None, "stopped_servers": []}
            if self.check_mode:
                self.messages.append(f"the hub's state would be restored from backup {backup.stem}")
                return {**result, "messages": self.messages, "changed": True}
            if home is None:
                self.client.create_volume(self.volume, labels={LABEL_HUB: self.name})
                home = self.home()
            places = Places(str(home), self.settings.config_dir)
            with swap.locked(str(home)) as lock:
                self.recover(places)
                try:
                    extract.check_space(str(home), backup)
                    content = extract.extract(archive, backup, str(home), lock)
                    extract.compare(str(home), content)
                    hub_files.check_state(places, backup.archive_path)
                    self.check_schema(places, backup)
                    hub_files.prepare(places)
                    image = _image_of_backup(places)
                    # Before the hub's own state, so that a killed run is repeated. It replaces nothing.
                    told = front_state.restore(str(places.new_tree / FRONT), self.settings.front_dir, self.name)
                    self.messages += [told] if told else []
                    result["stopped_servers"] = self.put_in_place(places, backup.time)
                except BaseException:
                    if not hub_files.unfinished(places):
                        hub_files.recover(places)
                    raise
                result["old_state"] = hub_files.keep(places, self.settings.keep_old)
        self.messages.append(_message(backup, image, result))
        return {**result, "messages": self.messages, "changed": True}

    def home(self) -> str | None:
        """Return the directory of the data volume, ``None`` when the volume does not exist.

        :raises DeployError: it belongs to another hub, or is not a plain directory on this host.
        """
        try:
            volume = self.client.inspect_volume(self.volume)
        except docker_errors.NotFound:
            return None
        foreign = ownership.foreign(self.client, ownership.VOLUME, self.volume, volume.get("Labels"), self.name)
        if foreign:
            raise DeployError(foreign)
        home, name = os.path.split(str(volume["Mountpoint"]))
        if not is_plain(volume["Driver"], volume.get("Options")) or name != swap.DATA:
            raise DeployError(
                f"volume {self.volume} has another driver than local, or options other than size; nothing was "
                "restored; move its files to a plain volume of the same name and labels, then run the same again"
            )
        return home

    def check_host(self, home: str | None, backup: Backup) -> None:
        """Check that the hub and the host are ready for a restore.

        :raises DeployError: they are not.
        """
        ownership.require_containers(self.client, self.name, [self.name])
        container = self.hub.observe()
        if self.settings.state == "recovered":
            database = home and Places(home, self.settings.config_dir).database
            there = f"hub container {self.name}" if container else f"database {database}" if _exists(database) else ""
            again = commands.restore(backup.manifest.encryption != "none", self.settings.limit, hub_state=True)
            if there:
                raise DeployError(
                    f"there is a {there} on this host already, and nothing was restored over it. If it is the hub that "
                    f"was just recovered, continue with make site; to bring an older state back: {again}"
                )
        storage.check_database(container)
        # A killed restore may have left the container for checks too; the next check replaces it.
        if any(inspect_container(self.client, name) for name in (self.hub.next, self.hub.previous)):
            raise DeployError(f"an earlier change of hub {self.name} did not finish; run make site first")
        running = self.servers()
        if running and not self.settings.stop_servers:
            raise DeployError(
                f"servers are running that the restored hub would not know: {', '.join(running)}; nothing was "
                f"restored; stop them{self.or_again(backup)}"
            )

    def or_again(self, backup: Backup) -> str:
        """Return the end of a sentence: the command that restores this backup and stops servers."""
        if self.settings.state == "recovered":  # it has no such parameter
            return ", then try again"
        command = commands.restore(
            backup.manifest.encryption != "none",
            self.settings.limit,
            hub_state=True,
            backup=self.settings.backup,
            keep_old=None if self.settings.keep_old else "false",
            stop_servers=True,
        )
        return f", or run {command}, which stops them"

    def servers(self) -> list[str]:
        """Return the containers of the running user servers."""
        found = self.client.containers(filters={"label": [f"{LABEL_HUB}={self.name}", LABEL_USER]})
        return sorted(container["Names"][0].lstrip("/") for container in found)

    def recover(self, places: Places) -> None:
        """Clean up after a killed run."""
        unfinished = hub_files.unfinished(places)
        if unfinished:
            self.stop_hub(places)
        kept = hub_files.recover(places)
        if unfinished and self.hub.observe():  # the killed run may have stopped it
            self.client.start(self.name)
        if kept:
            self.messages.append(f"a run that was killed before had restored already; what that replaced is in {kept}")

    def check_schema(self, places: Places, backup: Backup) -> None:
        """Check, with the hub's image, that this image can use the database.

        :raises DeployError: the database is from a newer JupyterHub.
        """
        container = self.hub.observe()
        if not container:
            return  # site.yml checks it before it creates the hub
        spec = hub_spec.observed_spec(container)
        others = [mount for mount in spec["mounts"] if mount.split(":")[1] != hub_spec.DATA_TARGET]
        spec = {
            **spec,
            "mounts": [*others, f"{places.new_tree}:{hub_spec.DATA_TARGET}:ro"],
        }
        code, output = self.hub.run_once(spec, ["python", "-m", "jupyterhub_deploy_hub.schema", "--check"], data="ro")
        if code:
            raise DeployError(f"backup {backup.stem} does not fit the hub's image, nothing was restored: {output}")

    def put_in_place(self, places: Places, backup: datetime) -> list[str]:
        """Replace the state while the hub is stopped, and start the hub; return the servers that were stopped.

        :param backup: when the backup was made.
        :raises DeployError: the restore failed; the hub has its old state, and runs again if it ran before.
        """
        container = self.hub.observe()
        with self.stopped(places):
            stopped = self.stop_servers()
            hub_files.put_in_place(places, backup)
        if container is None:
            return stopped
        try:
            self.client.start(self.name)
            self.hub.wait_until(self.hub.is_healthy, "answering its health check with the restored state")
        except FAILURES as error:
            try:
                hub_files.decide_back(places)
                self.client.stop(self.name, timeout=STOP_TIMEOUT)
                hub_files.take_back(places)
                self.client.start(self.name)
                self.hub.wait_until(self.hub.is_healthy, "answering its health check after its state was put back")
            except FAILURES as second:
                raise DeployError(
                    f"the hub fails with the restored state, and does not run with the old one either: {second}. Run "
                    f"the same again, it begins by putting right what this left. The first failure: {error}"
                ) from error
            raise DeployError(f"the hub fails with the restored state, so the old one was put back: {error}") from error
        return stopped

    @contextlib.contextmanager
    def stopped(self, places: Places) -> Iterator[None]:
        """Stop the hub for a block of code; if the block fails, restore the old state and start the hub again."""
        running = self.is_running()
        self.stop_hub(places)
        try:
            yield
        except BaseException:
            hub_files.recover(places)
            if running:
                self.client.start(self.name)
            raise

    def is_running(self) -> bool:
        """Return whether the hub's container is running or restarting."""
        state = (self.hub.observe() or {"State": {}})["State"]
        return bool(state.get("Running") or state.get("Restarting"))

    def stop_hub(self, places: Places) -> None:
        """Stop the hub.

        :raises DeployError: another hub uses its database.
        """
        if self.hub.observe():
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
        if files.is_locked(str(places.data / LOCK_NAME)):
            raise DeployError(
                f"another hub than container {self.name} uses volume {self.volume}; stop it, then try again"
            )

    def stop_servers(self) -> list[str]:
        """Stop the running user servers, while the hub cannot start any; return their containers.

        Docker stops them, not the hub: a hub whose state is restored may not work. The hub that starts afterwards
        finds none of them, whatever its database contains.

        :raises DeployError: servers are running, and ``stop_servers`` is not set.
        """
        running = self.servers()
        if running and not self.settings.stop_servers:
            raise DeployError(f"servers were started meanwhile: {', '.join(running)}; stop them and try again")
        for name in running:
            with contextlib.suppress(docker_errors.NotFound):  # it has already ended
                self.client.stop(name, timeout=STOP_TIMEOUT)
                self.client.remove_container(name, force=True)
        return running


def _exists(path: Any) -> bool:
    return bool(path) and os.path.exists(path)


def _image_of_backup(places: Places) -> str:
    """Return the image of the hub that was backed up, empty if the backup does not name it."""
    try:
        state = json.loads((places.new_tree / "state.json").read_text(encoding="utf-8"))
        return str(state["images"]["hub"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _message(backup: Backup, image: str, result: dict[str, Any]) -> str:
    text = f"the hub's state: restored from backup {backup.stem}"
    if image:
        text += f", made of a hub with image {image}"
    if result["stopped_servers"]:
        text += f"; servers stopped: {', '.join(result['stopped_servers'])}"
    if result["old_state"]:
        text += f"; what was there before is in {result['old_state']} until you remove it"
    return text
