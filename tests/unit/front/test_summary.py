"""What site.yml says about the front, and at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

ROLE = Path(__file__).resolve().parents[3] / "roles/jupyterhub"
SUMMARY = ROLE / "tasks/summary.yml"
#: A module that changes nothing, and always returns the same.
MODULE = """#!/usr/bin/python
print('{"changed": true, "keeps_old_names": true, "messages": ["the front serves https://hub.example.com/"]}')
"""


@pytest.mark.parametrize(
    ("registered", "warnings"),
    [
        ({}, []),
        ({"__preflight_host": {"certificate_warnings": []}}, []),
        ({"__preflight_host": {"certificate_warnings": ["x is not trusted"]}}, ["Warning: x is not trusted"]),
    ],
)
def test_it_repeats_the_warnings_about_the_certificate(registered: dict[str, Any], warnings: list[str]) -> None:
    (task,) = yaml.safe_load(SUMMARY.read_text(encoding="utf-8"))
    # Ansible's options of Jinja.
    template = Environment(trim_blocks=True, autoescape=False).from_string(task["ansible.builtin.debug"]["msg"])
    shown = template.render(
        jupyterhub_https="own", _jupyterhub_url="https://hub.example.com/", _jupyterhub_admin_message="Admin: a",
        **registered,
    )  # fmt: skip
    first, _admin, *middle, last = shown.splitlines()
    assert first == "JupyterHub answers at https://hub.example.com/"
    assert middle == warnings
    assert last.startswith("Next: sign in")


def test_what_the_front_serves_is_shown_once_although_the_module_runs_twice(tmp_path: Path) -> None:
    calls = [{"include_role": {"name": str(ROLE), "tasks_from": "front"}, "vars": {"_jupyterhub_keep_old_names": keep}}
             for keep in (True, False)]  # fmt: skip
    (tmp_path / "library").mkdir()
    (tmp_path / "library/jupyterhub_front.py").write_text(MODULE, encoding="utf-8")
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": calls}
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    (tmp_path / "empty.cfg").touch()
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), tmp_path / "play.yml", "-i", "localhost,"],
        env={**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "empty.cfg")}, check=False, text=True, capture_output=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("TASK [") == 4 + 2
    assert done.stdout.count("the front serves https://hub.example.com/") == 1
