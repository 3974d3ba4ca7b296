"""A hub's volumes with the real Docker, and backups of them with the module. No hub runs."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import Any

import docker
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER

import jupyterhub_backup
from hosts.run import name as run_name
from support import modules

HUB = run_name(f"backup-{secrets.token_hex(3)}")  # unique within the run, too: several files use it
ALICE, BOB = f"{HUB}-user-alice", f"{HUB}-user-bob"


class Site:
    """The volumes of a hub, and the module that backs them up."""

    def __init__(self, folder: Path) -> None:
        self.client: Any = docker.APIClient(version="auto")
        self.directory = folder / "backups"
        self.config = folder / "config"
        self.names: list[str] = []
        (self.config / "secrets").mkdir(parents=True)
        (self.config / "secrets" / "cookie_secret").write_text("secret\n", encoding="utf-8")
        data = self.volume(f"{HUB}-data", None)
        with sqlite3.connect(data / "jupyterhub.sqlite") as database:
            database.execute("CREATE TABLE users (name TEXT)")
            database.execute("INSERT INTO users VALUES ('alice')")

    def volume(self, name: str, user: str | None, **options: Any) -> Path:
        labels = {LABEL_HUB: HUB, **({LABEL_USER: user} if user else {})}
        made = self.client.create_volume(name, labels=labels, **options)
        self.names.append(name)
        return Path(made["Mountpoint"])

    def start_container(self, image: str, name: str, source: str) -> str:
        """Start a container that waits, with a volume or directory; return its id."""
        made = self.client.create_container(
            image, ["sh", "-c", "read x"], name=f"{HUB}-{name}", stdin_open=True, user="0",
            host_config=self.client.create_host_config(binds=[f"{source}:/data"]),
        )  # fmt: skip
        self.client.start(made)
        return str(made["Id"])

    def remove(self) -> None:
        for container in self.client.containers(all=True, filters={"name": HUB}):
            self.client.remove_container(container["Id"], force=True)
        for name in self.names:
            with contextlib.suppress(docker.errors.NotFound):
                self.client.remove_volume(name, force=True)

    def run(self, **arguments: Any) -> dict[str, Any]:
        asked = {"name": HUB, "directory": str(self.directory), "config_dir": str(self.config), **arguments}
        return modules.run(jupyterhub_backup, **asked)

    def backups(self, folder: str) -> list[store.Backup]:
        return store.backups_in(str(self.directory), folder)


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["action"] for one in result["results"]}
