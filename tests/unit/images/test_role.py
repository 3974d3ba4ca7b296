"""What the role jupyterhub_images asks its module for, by its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.plays import inventory, play

ROLE = Path(__file__).resolve().parents[3] / "roles/jupyterhub_images"
ELSEWHERE = {
    "jupyterhub_images_hub": "registry.example.com/hub:1",
    "jupyterhub_images_proxy": "registry.example.com/proxy:1",
}
FRONT = "registry.example.com/front:1"


@pytest.mark.parametrize(
    ("settings", "front", "needs_base"),
    [
        (ELSEWHERE, "build", True),
        ({**ELSEWHERE, "jupyterhub_images_front_image": FRONT}, "pull", False),
        ({"jupyterhub_images_front_image": FRONT}, "pull", True),
    ],
    ids=["built", "pulled", "others built"],
)
def test_the_front_is_built_or_pulled(settings: dict[str, Any], front: str, needs_base: bool, tmp_path: Path) -> None:
    result = tmp_path / "wanted.json"
    wanted = "{{ {'images': _jupyterhub_images_wanted, 'base': _jupyterhub_images_need_base} | to_json }}"
    one = {
        "hosts": "jupyterhub",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "vars": {"role_path": str(ROLE), "ansible_facts": {"distribution_release": "bookworm"}},
        "tasks": [{"ansible.builtin.copy": {"content": wanted, "dest": str(result), "mode": "0600"}}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([one]), encoding="utf-8")
    code, output = play(inventory(tmp_path, "lab"), tmp_path / "play.yml", "-e", json.dumps(settings))
    assert code == 0, output
    found = json.loads(result.read_text(encoding="utf-8"))
    (asked,) = [image for image in found["images"] if image["purpose"] == "front"]
    assert found["base"] is needs_base
    if front == "build":
        assert asked["build"]["context"] == str(ROLE / "files/front")
        assert not asked["reference"]
    else:
        assert asked == {"purpose": "front", "reference": FRONT, "build": None}
