"""What site.yml says about the front, and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

ROLE = Path(__file__).resolve().parents[3] / "roles/jupyterhub"
SUMMARY = ROLE / "tasks/summary.yml"


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
