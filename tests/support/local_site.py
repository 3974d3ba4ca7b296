"""A hub of a test's own on this machine's Docker, created and changed by the operator's own site.yml.

It is a second hub as docs/how-to/second-hub.md has it: its own name, port, containers, volumes, networks and
`/etc/<name>`. Ask for the fixture ``built_images`` first, so that the images are there and no run builds any.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hosts.built_images import REPOSITORY
from hosts.run import remove_files
from support.named_hub import NamedHub

ROOT = Path(__file__).resolve().parents[2]
#: The playbooks with the role `docker`.
WITH_DOCKER = ("site.yml", "upgrade.yml")
RECAP = re.compile(r"^\S+ +: (ok=.*)$", re.MULTILINE)


class Run(NamedTuple):
    """The result of one run of a playbook.

    Attributes:
        recap: Ansible's closing numbers by their names: ok, changed, failed and so on.
        output: all that was printed.
        seconds: how long it took.
    """

    recap: dict[str, int]
    output: str
    seconds: float


class LocalSite(NamedHub):
    """One such hub. Nothing exists before the first :meth:`run`; :meth:`destroy` removes what carries its name.

    Args:
        name: the hub's name, from ``hosts.run.name``.
        settings: what the inventory says of it, for all runs; more than the defaults here.
    """

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name)
        self.front = f"{name}-front"
        self.settings: dict[str, Any] = {
            "jupyterhub_image_source": "build",
            "jupyterhub_front_name": self.front,
            "jupyterhub_images_repository": REPOSITORY,
            "jupyterhub_update_images": False,  # an update that appears now must not change a run with nothing to do
            **settings,
        }

    def run(
        self, *arguments: str, playbook: str = "site.yml", check: bool = False, fails: bool = False, **settings: Any
    ) -> Run:
        """Run a playbook against this hub.

        Args:
            arguments: more of ``ansible-playbook``, such as ``--tags`` and ``hub``.
            playbook: its path from the project's root.
            check: run it in check mode.
            fails: it is expected to fail.
            settings: only for this run, on top of the site's own.

        Raises:
            AssertionError: it failed, or did not although it should; says all that it printed.
        """
        host = {
            "ansible_connection": "local",
            "jupyterhub_name": self.name,
            "jupyterhub_port": self.port,
            "jupyterhub_bind_address": "127.0.0.1",
            **self.settings,
            **settings,
        }
        # JSON is YAML, and needs no library.
        inventory = json.dumps({"jupyterhub": {"hosts": {self.name: host}}})
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "hosts.yml").write_text(inventory, encoding="utf-8")
            # The role `docker` would set this machine's Docker to its defaults, whatever another hub on it needs.
            skipped = ["--skip-tags", "docker"] if playbook in WITH_DOCKER else []
            options = ["-i", directory, *skipped, *(["--check"] if check else [])]
            return _play([playbook, *options, *arguments], fails)

    @property
    def admin_password(self) -> str:
        """The admin's generated password."""
        return Path("/etc", self.name, "secrets", "admin_password").read_text(encoding="utf-8").strip()

    def container(self, part: str = "") -> dict[str, Any]:
        """Return what Docker knows of one of its containers: the hub by default, else ``proxy``, ``jupyter-alice``."""
        return dict(self.client.api.inspect_container(f"{self.name}-{part}" if part else self.name))

    def logs(self) -> str:
        """Return the hub's log since its start."""
        return bytes(self.client.containers.get(self.name).logs()).decode()

    def destroy(self) -> None:
        """Remove its containers, volumes, networks, configuration and backups."""
        super().destroy()
        remove_files(self.name)
        shutil.rmtree(Path("/etc", self.front), ignore_errors=True)


def _play(arguments: Sequence[str], fails: bool) -> Run:
    start = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", *arguments],
        cwd=ROOT, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert bool(done.returncode) == fails, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
    # A play that stops early may have no recap.
    lines = RECAP.findall(done.stdout)
    recap = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", lines[-1])} if lines else {}
    return Run(recap, done.stdout, time.monotonic() - start)
