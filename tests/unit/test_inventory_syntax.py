"""The syntax check of inventories, in which Ansible names no file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import inventory_syntax

ROOT = Path(__file__).resolve().parents[2]
GOOD = "jupyterhub_port: 8000\nsecret: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("jupyterhub: {hosts: {localhost: {ansible_connection: local}}}\n")
    (tmp_path / "group_vars" / "jupyterhub.yml").write_text(GOOD)
    return tmp_path


def test_good_files(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inventory_syntax.main([str(inventory), str(ROOT / "examples" / "inventory"), "missing", "host,"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("jupyterhub_port: 80\n  jupyterhub_name: lab\n", "line 6, column 18", "mapping values are not allowed here"),
        ("jupyterhub_name: lab: one\n", "line 5, column 21", "mapping values are not allowed here"),
        ("jupyterhub_users:\n\t- name: alice\n", "line 6, column 1", r"found character '\t'"),
        ("jupyterhub_name: {{ name }}\n", "line 5, column 19", "found unhashable key"),
        ("jupyterhub_name: {{ name }}-lab\n", "line 5, column 28", "expected <block end>"),
        (
            "jupyterhub_name: lab\njupyterhub_name: lab\n",
            "line 6, column 1",
            "jupyterhub_name is here twice; merge them",
        ),
    ],
    ids=["indented", "colon", "tab", "Jinja without quotes", "Jinja and text without quotes", "twice"],
)
@pytest.mark.parametrize("named", [".", "hosts.yml"])
def test_the_place_of_a_mistake_is_named(
    inventory: Path, capsys: pytest.CaptureFixture[str], text: str, place: str, reason: str, named: str
) -> None:
    path = inventory / "group_vars" / "jupyterhub.yml"
    path.write_text(GOOD + text)
    assert inventory_syntax.main([str(inventory / named)]) == 1
    output = capsys.readouterr().out
    assert output.startswith(f"Nothing was changed. These files are not valid YAML:\n- {path}, {place}: {reason}")
    assert text.splitlines()[-1].strip() in output


@pytest.mark.parametrize(
    ("arguments", "inventories"),
    [
        (["a"], ["a"]),
        (["a", "--"], ["a"]),
        (["a", "--", "-e", "user=alice", "--limit", "lab"], ["a"]),
        (["a", "--", "--check", "-i", "b", "-e", "x=1", "--inventory=c"], ["b", "c"]),
    ],
)
def test_the_inventories_of_the_run_are_checked(arguments: list[str], inventories: list[str]) -> None:
    assert inventory_syntax.chosen(arguments) == inventories


def test_a_file_that_is_not_text(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inventory / "hosts.yml").write_bytes(b"\xff\xfe")
    assert inventory_syntax.main([str(inventory)]) == 1
    assert f"- {inventory / 'hosts.yml'}: 'utf-8' codec" in capsys.readouterr().out


def test_make_checks_before_ansible_runs(inventory: Path, tmp_path: Path) -> None:
    (inventory / "hosts.yml").write_text("jupyterhub: [\n")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    command = ["make", "status", "CONTROL=", f"ANSIBLE_INVENTORY={inventory}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"- {inventory}/hosts.yml, line 2, column 1: " in run.stdout
    assert "ansible-playbook" not in run.stdout
