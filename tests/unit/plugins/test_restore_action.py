"""What the module gets from the control machine: the host's name, and the private key, only by the connection."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail

ROOT = Path(__file__).resolve().parents[3]


def run(
    arguments: dict[str, Any], pipelining: bool = True, hosts: tuple[str, ...] = ("lab",)
) -> tuple[dict[str, Any], MagicMock]:
    """Run the plugin; return what the module would get, and the connection."""
    spec = importlib.util.spec_from_file_location("plugin", ROOT / "action_plugins" / "jupyterhub_restore.py")
    assert spec
    assert spec.loader
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    task, connection, got = MagicMock(args=arguments, async_val=0, check_mode=False), MagicMock(), {}
    connection.is_pipelining_enabled.return_value = pipelining
    action = plugin.ActionModule(task, connection, MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = lambda module_args, task_vars: got.update(module_args) or {}
    action.run(None, {"groups": {"jupyterhub": list(hosts)}, "inventory_hostname": hosts[-1]})
    return got, connection


def test_the_keys_text_takes_the_place_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n", encoding="utf-8")
    got, connection = run({"name": "hub", "identity_file": str(tmp_path / "key")})

    assert got == {"name": "hub", "identity": "secret\n"}
    connection.set_option.assert_called_once_with("pipelining", True)


def test_no_key_changes_nothing() -> None:
    got, connection = run({"name": "hub"}, pipelining=False)

    assert got == {"name": "hub"}
    connection.set_option.assert_not_called()


def test_with_several_hosts_commands_in_messages_name_the_host() -> None:
    got, _ = run({"name": "hub"}, hosts=("localhost", "lab"))

    assert got == {"name": "hub", "limit": "lab"}


def test_a_key_is_not_sent_where_it_would_be_written_to_a_disk(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n", encoding="utf-8")
    with pytest.raises(AnsibleActionFail, match="the private key would be written to the target's disk") as error:
        run({"identity_file": str(tmp_path / "key")}, pipelining=False)
    assert "secret" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=rf"^identity {tmp_path}/key, .* cannot be read: .*No such file"):
        run({"identity_file": str(tmp_path / "key")})
