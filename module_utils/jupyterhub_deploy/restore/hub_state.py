"""Bring a hub's own state back from a backup: its database and secrets, onto a hub that runs or a host without one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub import LOCK_NAME, HubContainer
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.restore import extract, hub_files, swap
from ansible.module_utils.jupyterhub_deploy.restore.hub_files import Places

FAILURES: tuple[type[Exception], ...] = (DeployError, *DOCKER_ERRORS)


class Restore:
    """One restore of one hub's state.

    :param client: a low-level Docker client.
    :param params: of the module ``jupyterhub_hub_state``.
    """

    def __init__(self, client: Any, params: dict[str, Any], check_mode: bool) -> None:
        self.client, self.params, self.check_mode = client, params, check_mode
        self.name: str = params["name"]
        self.volume: str = params["data_volume"] or f"{self.name}-data"
        # Users reach it through the proxy, which is not touched: that the hub itself answers is enough.
        self.hub = HubContainer(client, self.name, "", params["health_timeout"])
        self.said: list[str] = []

    def run(self, backup: Backup) -> dict[str, Any]:
        """Restore, unless in check mode; return the module's result.

        :raises DeployError: it cannot be; the hub has the state that it had.
        """
        home = self.home()
        self.refuse(home)
        with reader.opened(backup) as archive:
            # It is small: validate all of it before anything is created or written.
            reader.validate(archive, backup)
            result: dict[str, Any] = {"backup": backup.stem, "old_state": None, "stopped_servers": []}
            if self.check_mode:
                self.said.append(f"the hub's state would be restored from backup {backup.stem}")
                return {**result, "messages": self.said, "changed": True}
            if home is None:
                self.client.create_volume(self.volume, labels={LABEL_HUB: self.name})
                home = self.home()
            places = Places(str(home), self.params["config_dir"])
            with swap.locked(str(home)) as lock:
                self.recover(places)
                try:
                    extract.check_space(str(home), backup)
                    content = extract.extract(archive, backup, str(home), lock)
                    extract.compare(str(home), content)
                    hub_files.prove(places, backup.archive_path)
                    self.prove_schema(places, backup)
                    hub_files.prepare(places)
                    ran = _ran(places)
                    result["stopped_servers"] = self.put_in_place(places)
                except BaseException:
                    if not hub_files.unfinished(places):
                        hub_files.recover(places)
                    raise
                result["old_state"] = hub_files.keep(places, self.params["keep_old"])
        self.said.append(_sentence(backup, ran, result))
        return {**result, "messages": self.said, "changed": True}

    def home(self) -> str | None:
        """Return the directory of the data volume, ``None`` when there is no such volume.

        :raises DeployError: it is another hub's, or not simply a directory on this host.
        """
        try:
            volume = self.client.inspect_volume(self.volume)
        except docker_errors.NotFound:
            return None
        owner = (volume.get("Labels") or {}).get(LABEL_HUB, self.name)
        if owner != self.name:
            raise DeployError(f"volume {self.volume} belongs to hub {owner}, not to {self.name}")
        home, name = os.path.split(str(volume["Mountpoint"]))
        if volume["Driver"] != "local" or volume.get("Options") or name != swap.DATA:
            raise DeployError(f"volume {self.volume} is not a local one without options: restore its database by hand")
        return home

    def refuse(self, home: str | None) -> None:
        """Raise an error when this hub, or this host, is in no state for a restore."""
        container = self.hub.observe()
        if self.params["state"] == "recovered":
            database = home and Places(home, self.params["config_dir"]).database
            there = f"hub container {self.name}" if container else f"database {database}" if _exists(database) else ""
            if there:
                raise DeployError(
                    f"there is a {there} on this host already, and nothing was restored over it. If it is the hub that "
                    "was just recovered, go on with site.yml; to bring an older state back, use restore.yml "
                    "-e hub_state=true"
                )
        # The third, in which something is tried, a killed run of this may have left; the next trial replaces it.
        if any(inspect_container(self.client, name) for name in (self.hub.next, self.hub.previous)):
            raise DeployError(f"an earlier change of hub {self.name} did not finish; run site.yml first")
        running = self.servers()
        if running and not self.params["stop_servers"]:
            raise DeployError(
                f"servers run that another state of the hub may not know: {', '.join(running)}; nothing was restored; "
                "stop them, or pass stop_servers=true"
            )

    def servers(self) -> list[str]:
        """Return the containers of users' servers that run."""
        found = self.client.containers(filters={"label": [f"{LABEL_HUB}={self.name}", LABEL_USER]})
        return sorted(one["Names"][0].lstrip("/") for one in found)

    def recover(self, places: Places) -> None:
        """Put right what a killed run has left."""
        running = False
        if hub_files.unfinished(places):
            running = self.runs()
            self.stop_hub(places)
        kept = hub_files.recover(places)
        if running:
            self.client.start(self.name)
        if kept:
            self.said.append(f"a run that was killed before had restored already; what that replaced is in {kept}")

    def prove_schema(self, places: Places, backup: Backup) -> None:
        """Ask the hub image that is to use the database whether it can.

        :raises DeployError: the database is a newer JupyterHub's.
        """
        container = self.hub.observe()
        if not container:
            return  # site.yml asks before it makes the hub
        spec = hub_spec.observed_spec(container)
        others = [mount for mount in spec["mounts"] if mount.split(":")[1] != hub_spec.DATA_TARGET]
        spec = {
            **spec,
            "image": container["Image"],
            "mounts": [*others, f"{places.new_tree}:{hub_spec.DATA_TARGET}:ro"],
        }
        code, output = self.hub.run_once(spec, ["python", "-m", "jupyterhub_deploy_hub.schema", "--check"], data="ro")
        if code:
            raise DeployError(f"backup {backup.stem} does not fit the hub's image, nothing was restored: {output}")

    def put_in_place(self, places: Places) -> list[str]:
        """Replace the state while the hub is stopped, and see the hub answer; return the servers that were stopped.

        :raises DeployError: the hub has the state that it had, and runs if it ran.
        """
        container = self.hub.observe()
        with self.stopped(places):
            stopped = self.stop_servers()
            hub_files.put_in_place(places)
        if container is None:
            return stopped
        try:
            self.client.start(self.name)
            self.hub.wait_until(self.hub.is_healthy, "answering its health check with the restored state")
        except FAILURES as error:
            try:
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
        """Have the hub stopped; when something goes wrong meanwhile, it gets its old state and is started again."""
        running = self.runs()
        self.stop_hub(places)
        try:
            yield
        except BaseException:
            hub_files.recover(places)
            if running:
                self.client.start(self.name)
            raise

    def runs(self) -> bool:
        """Tell whether the hub's container runs, or is started again and again."""
        state = (self.hub.observe() or {"State": {}})["State"]
        return bool(state.get("Running") or state.get("Restarting"))

    def stop_hub(self, places: Places) -> None:
        """Stop the hub.

        :raises DeployError: another one uses its database.
        """
        if self.hub.observe():
            self.client.stop(self.name, timeout=STOP_TIMEOUT)
        if files.is_locked(str(places.data / LOCK_NAME)):
            raise DeployError(
                f"another hub than container {self.name} uses volume {self.volume}; stop it, then try again"
            )

    def stop_servers(self) -> list[str]:
        """Stop what runs, now that no hub can start any; return their containers.

        Not by the hub, which may not work: that is when its state is restored. The hub that starts afterwards finds
        none of them, whatever its database says.

        :raises DeployError: some run, and stopping was not asked for.
        """
        running = self.servers()
        if running and not self.params["stop_servers"]:
            raise DeployError(f"servers were started meanwhile: {', '.join(running)}; stop them and try again")
        for name in running:
            with contextlib.suppress(docker_errors.NotFound):  # it has ended by itself
                self.client.stop(name, timeout=STOP_TIMEOUT)
                self.client.remove_container(name, force=True)
        return running


def _exists(path: Any) -> bool:
    return bool(path) and os.path.exists(path)


def _ran(places: Places) -> str:
    """Return which hub image the hub had that was backed up, as far as the backup tells."""
    try:
        state = json.loads((places.new_tree / "state.json").read_text(encoding="utf-8"))
        return str(state["images"]["hub"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _sentence(backup: Backup, ran: str, result: dict[str, Any]) -> str:
    text = f"the hub's state: restored from backup {backup.stem}"
    if ran:
        text += f", made of a hub with image {ran}"
    if result["stopped_servers"]:
        text += f"; servers stopped: {', '.join(result['stopped_servers'])}"
    if result["old_state"]:
        text += f"; what was there before is in {result['old_state']} until you remove it"
    return text
