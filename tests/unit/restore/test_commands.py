"""The commands in messages of a restore can be run as they are."""

from __future__ import annotations

import importlib
import shlex

from ansible.module_utils.jupyterhub_deploy.restore import commands

parameters = importlib.import_module("jupyterhub_parameters")


def test_the_command_has_the_parameters_that_have_a_value() -> None:
    command = commands.restore(
        False, "", user="alice", backup=None, every_user=False, keep_old="false", stop_servers=True
    )
    assert command == "`make restore ARGS='-e user=alice -e keep_old=false -e stop_servers=true'`"


def test_an_encrypted_backup_needs_its_key() -> None:
    command = commands.restore(True, "", hub_state=True, stop_servers=True)
    assert command == "`make restore ARGS='-e hub_state=true -e stop_servers=true -e identity=FILE'`"
    arguments = shlex.split(shlex.split(command.strip("`"))[-1].removeprefix("ARGS="))
    given = dict(argument.split("=") for argument in arguments if argument != "-e")
    assert parameters.problems("restore.yml", ["restore.yml"], list(given), given, ["lab"]) == []


def test_with_several_hosts_the_command_names_one() -> None:
    assert commands.restore(False, "lab", user="alice") == "`make restore ARGS='-e user=alice --limit lab'`"
