"""Misspelt, wrong or missing parameters of playbooks, and a second host, stop a run before its first change."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.plays import inventory, play

ROOT = Path(__file__).resolve().parents[3]
HEAD = "Nothing was changed. Fix these parameters (see docs/reference/commands.md):"

# Not on mypy's path, because most action plugins have the name of a module.
parameters = importlib.import_module("jupyterhub_parameters")


def problems(path: str, hosts: int = 1, run: list[str] | None = None, **extra: Any) -> list[str]:
    """Return what is wrong with a play of a playbook that was given these extra variables."""
    values = {name: value for name, value in extra.items() if name in parameters.PLAYBOOKS[path].parameters}
    return list(parameters.problems(path, run or [path], list(extra), values, ["localhost", "lab"][:hosts]))


REHEARSE = "playbooks/rehearse.yml"
USER = {"user": "alice", "do": "disable"}
SINCE = {"since": "2026-11-27T10:00"}
NO_USER = "to_user has no effect without user; add one, such as -e user=alice"
NO_EFFECT = " has no effect without user or every_user or hub_state; add one, such as -e user=alice"


@pytest.mark.parametrize(
    ("path", "extra", "expected"),
    [
        ("restore.yml", {"usr": "alice"}, "usr is not a parameter of restore.yml; did you mean user?"),
        ("restore.yml", {"username": "alice"}, "username is not a parameter of restore.yml; did you mean user?"),
        ("restore.yml", {"Keep-Old": "no"}, "Keep-Old is not a parameter of restore.yml; did you mean keep_old?"),
        ("site.yml", {"to": "/a"}, "to is a parameter of playbooks/fetch_backups.yml, not of site.yml; leave it out"),
        ("restore.yml", {"_raw_params": "hub_state"}, "an -e has a name without a value; write -e NAME=VALUE"),
        ("restore.yml", {"user": "alice", "keep_old": "maybe"}, "keep_old is 'maybe'; use true or false"),
        ("restore.yml", {"hub_state": "t"}, "hub_state is 't'; use true or false"),
        ("restore.yml", {"hub_state": []}, "hub_state is []; use true or false"),
        ("restore.yml", {"user": " , "}, "user is empty; give it a value"),
        ("restore.yml", {"user": ["alice"]}, "user must be a text; write -e user=VALUE"),
        ("site.yml", {"acknowledge": ""}, "acknowledge is empty; give it a value"),
        ("playbooks/user.yml", {**USER, "do": "enable"}, "do is 'enable'; use one of authorize, disable, password"),
        ("playbooks/user.yml", {"user": "bob"}, "do is missing; add -e do=authorize|disable|password"),
        ("playbooks/delete_user.yml", {}, "user is missing; add -e user=VALUE"),
        (
            "playbooks/delete_user.yml", {"user": "alice,bob"},
            "user is 'alice,bob', and playbooks/delete_user.yml works on one user; run it once for each",
        ),
        (
            "playbooks/user.yml", {**USER, "user": "alice,"},
            "user is 'alice,', and playbooks/user.yml works on one user; run it once for each",
        ),
        ("playbooks/delete_user.yml", {"user": ["a", "b"]}, "user must be a text; write -e user=VALUE"),
        ("playbooks/delete_user.yml", {"user": ","}, "user is empty; give it a value"),
        ("playbooks/discard_accounts.yml", {}, "since is missing; add -e since=VALUE"),
        ("playbooks/discard_accounts.yml", {**SINCE, "confirm": "y"}, "confirm is 'y'; use true or false"),
        ("backup.yml", {"usr": "bob"}, "usr is not a parameter of backup.yml, and neither is user; leave it out"),
        ("site.yml", {"users": "5"}, "users is a parameter of playbooks/rehearse.yml, not of site.yml; leave it out"),
        ("restore.yml", {"users": "alice"}, "users is not a parameter of restore.yml; did you mean user?"),
        (REHEARSE, {"user": "5"}, f"user is not a parameter of {REHEARSE}; did you mean users?"),
        (REHEARSE, {"users": "many"}, "users is 'many'; use a whole number of 0 or more"),
        (REHEARSE, {"users": "-1"}, "users is '-1'; use a whole number of 0 or more"),
        (REHEARSE, {"at_once": 2.5}, "at_once is 2.5; use a whole number of 0 or more"),
        (REHEARSE, {"users": "5", "kernels": "y"}, "kernels is 'y'; use true or false"),
        ("restore.yml", {"to_user": "bob"}, NO_USER),
        ("restore.yml", {"to_user": "bob", "hub_state": True}, NO_USER),
        ("restore.yml", {"stop_servers": "true", "every_user": "no"}, f"stop_servers{NO_EFFECT}"),
        ("restore.yml", {"backup": "20261123T014440Z"}, f"backup{NO_EFFECT}"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(path: str, extra: dict[str, Any], expected: str) -> None:
    assert problems(path, **extra) == [expected]


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("restore.yml", {}),
        ("restore.yml", {"user": "alice,bob", "keep_old": "False", "stop_servers": True}),
        ("playbooks/user.yml", USER),
        (REHEARSE, {"users": "60", "at_once": 0, "kernels": "true"}),
        (
            "restore.yml",
            {
                "jupyterhub_state": "a setting, similar to hub_state",
                "docker_minimum_version": "24",
                "ansible_user": "root",
            },
        ),
        ("restore.yml", {"remove_old": "true"}),
        ("restore.yml", {"hub_state": "true", "backup": "20261123T014440Z", "stop_servers": "true"}),
        ("backup.yml", {"site_domain": "example.com", "stage": "test", "region": "eu"}),
        ("restore.yml", {"site_domain": "example.com", "stage": "test", "region": "eu"}),
    ],
)
def test_parameters_settings_and_variables_of_the_operator_are_accepted(path: str, extra: dict[str, Any]) -> None:
    assert problems(path, **extra) == []


def test_the_playbook_on_the_command_line_may_pass_its_parameters_to_what_it_imports() -> None:
    assert problems("backup.yml", run=["upgrade.yml"], acknowledge="0.2.0") == []
    assert problems("backup.yml", run=["own.yml"], user="alice") == []
    assert problems("backup.yml", run=["own.yml", "restore.yml"], to="/srv") == []
    assert problems("backup.yml", run=["upgrade.yml"], user="alice") != []


@pytest.mark.parametrize(
    ("path", "extra", "all_hosts"),
    [
        ("restore.yml", {}, True),
        ("playbooks/verify_backups.yml", {"user": "alice"}, True),
        ("site.yml", {"acknowledge": "0.2.0"}, True),
        ("restore.yml", {"user": "alice"}, False),
        ("restore.yml", {"hub_state": "true"}, False),
        ("playbooks/user.yml", USER, False),
        ("playbooks/delete_user.yml", {"user": "alice"}, False),
        ("playbooks/discard_accounts.yml", SINCE, False),
        ("playbooks/recover.yml", {}, False),
        (REHEARSE, {}, False),
    ],
)
def test_what_changes_one_hub_needs_one_host(path: str, extra: dict[str, Any], all_hosts: bool) -> None:
    what = f"{path}{' with parameters' if path == 'restore.yml' else ''}"
    refusal = f"{what} works on one host, and this run has 2: localhost, lab; choose one, such as --limit lab"

    assert problems(path, hosts=1, **extra) == []
    assert problems(path, hosts=2, **extra) == ([] if all_hosts else [refusal])


def test_the_reference_describes_the_same_parameters() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    table = text.partition("\n## Parameters\n")[2].partition("\n## ")[0]
    described: dict[str, dict[str, tuple[str, ...]]] = {}
    required: dict[str, list[str]] = {}
    of: list[str] = []
    for row in re.findall(r"^\|(.*)\|$", table, flags=re.MULTILINE)[2:]:
        playbooks, parameter, _, default = (cell.strip() for cell in row.split("|"))
        of = re.findall(r"`(\S+)`", playbooks) or of
        first, *others = re.findall(r"`([^`]+)`", parameter)
        name, _, value = first.partition("=")
        kind = parameters.YES_OR_NO if value in parameters.YES_OR_NO else parameters.NUMBER if value.isdigit() else ()
        for playbook in of:
            values = (value, *others) if others else kind
            described.setdefault(playbook, {})[name] = values
            required.setdefault(playbook, []).extend([name] if default == "required" else [])

    known = {Path(path).name: playbook for path, playbook in parameters.PLAYBOOKS.items() if playbook.parameters}
    assert described == {name: playbook.parameters for name, playbook in known.items()}
    assert required == {name: list(playbook.required) for name, playbook in known.items()}


def test_the_first_task_of_each_playbook_is_the_check() -> None:
    for path in parameters.PLAYBOOKS:
        play = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))[0]
        if "ansible.builtin.import_playbook" in play:  # it imports recover.yml, which has the same parameters
            assert path == "playbooks/disaster_recovery.yml"
            continue
        check = (play.get("pre_tasks") or play["tasks"])[0]
        assert check["jupyterhub_parameters"] == {"playbook": path}
        assert check["tags"] == ["always"], path


@pytest.fixture
def two_hubs(tmp_path: Path) -> Path:
    return inventory(tmp_path, "jhd-test-one", "jhd-test-two")


PASSWORD = ["-e", "user=bob", "-e", "do=passwd", "-e", "password=kept-secret"]
ON_TWO = " works on one host, and this run has 2: jhd-test-one, jhd-test-two; choose one, such as --limit jhd-test-two"


@pytest.mark.parametrize(
    ("playbook", "arguments", "expected"),
    [
        ("restore.yml", ["-e", "usr=alice"], "usr is not a parameter of restore.yml; did you mean user?"),
        ("restore.yml", ["-e", "user=alice"], f"restore.yml with parameters{ON_TWO}"),
        ("upgrade.yml", ["-e", "user=alice", "--tags", "hub"], "not of upgrade.yml; leave it out"),
        ("playbooks/user.yml", PASSWORD, "do is 'passwd'; use one of authorize, disable, password"),
        ("playbooks/delete_user.yml", ["-e", "user=alice"], f"playbooks/delete_user.yml{ON_TWO}"),
        ("playbooks/disaster_recovery.yml", [], f"playbooks/recover.yml{ON_TWO}"),
    ],
)
def test_a_run_with_wrong_parameters_stops_at_its_first_task(
    playbook: str, arguments: list[str], expected: str, two_hubs: Path
) -> None:
    code, output = play(two_hubs, ROOT / playbook, *arguments)

    assert code == 2, output
    assert f"{HEAD}\n- " in output
    assert expected in output
    assert re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE)[-1] == "Check the parameters"
    assert output.count("PLAY [") == 1
    assert output.count("fatal: [") == 1
    assert "kept-secret" not in output


def test_a_playbook_of_the_operator_passes_parameters_and_variables(two_hubs: Path) -> None:
    own = two_hubs.with_name("own.yml")
    imports = [{"ansible.builtin.import_playbook": str(ROOT / name)} for name in ("restore.yml", "status.yml")]
    own.write_text(json.dumps(imports))
    secret = two_hubs.with_name("mine.yml")
    secret.write_text("remove_old: true\ndomain: example.com\n")

    # The tag leaves out everything but the check, because the rest needs Docker.
    arguments = ("-e", f"@{secret}", "-e", "to=/srv", "--limit", "jhd-test-two", "--tags", "none")
    code, output = play(two_hubs, own, *arguments)
    assert code == 0, output
    assert output.count("TASK [Check the parameters]") == 2
    assert "jhd-test-one" not in output
    code, output = play(two_hubs, own, "-e", "usr=alice")
    assert code == 2
    assert "usr is not a parameter of restore.yml; did you mean user?" in output
