"""Runs of our playbooks on this machine, for hubs that do not exist."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def inventory(directory: Path, *hubs: str) -> Path:
    """Return an inventory, in a directory, with hubs of this machine that do not exist."""
    host = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    hosts = {
        name: {**host, "jupyterhub_name": name, "jupyterhub_port": port, "jupyterhub_backup_dir": str(directory)}
        for port, name in enumerate(hubs, start=8000)
    }
    path = directory / "hosts.json"
    path.write_text(json.dumps({"jupyterhub": {"hosts": hosts}}), encoding="utf-8")
    return path


def play(hosts: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run ansible-playbook in the inventory's directory, without our ansible.cfg; return its exit code and output."""
    empty = hosts.with_name("empty.cfg")
    empty.touch()
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", hosts, *arguments],
        cwd=hosts.parent, env={**os.environ, "ANSIBLE_CONFIG": str(empty)}, check=False,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout
