"""Validate the parameters of our playbooks (``-e user=alice``) before anything happens, on the control machine only.

The first task of each playbook names it::

    - name: Check the parameters
      jupyterhub_parameters:
        playbook: restore.yml
      tags: [always]

Settings, Ansible's own variables, and names unlike any parameter (an operator's own variables) are always accepted.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ansible.context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

TEXT: tuple[str, ...] = ()
YES_OR_NO = ("true", "false")
NUMBER = ("NUMBER",)
# What Jinja's filter `bool` understands; it takes anything else for false.
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")

# How much a name must be like a parameter of another playbook, so that it can only be meant for that.
SIMILAR = 0.8


class Playbook(NamedTuple):
    """The parameters that a playbook accepts.

    Attributes:
        parameters: the values to choose from by name: ``TEXT`` for any text, ``YES_OR_NO`` for a boolean,
            ``NUMBER`` for a whole number of 0 or more.
        required: those that have no default.
        one_host: whether it works on one host only.
        lists: whether it only lists when no parameter is passed, then on all hosts.
        needs: parameters that have no effect without one of others.
        single: parameters that are one name. In other playbooks, a comma separates several.
    """

    parameters: Mapping[str, tuple[str, ...]] = {}
    required: tuple[str, ...] = ()
    one_host: bool = False
    lists: bool = False
    needs: Mapping[str, tuple[str, ...]] = {}
    single: tuple[str, ...] = ()


RECOVERY = Playbook({"from": TEXT, "skip_damaged": YES_OR_NO, "identity": TEXT}, one_host=True)

# By path from the root. docs/reference/commands.md describes them.
PLAYBOOKS = {
    "site.yml": Playbook({"acknowledge": TEXT}),
    "upgrade.yml": Playbook({"acknowledge": TEXT}),
    "backup.yml": Playbook(),
    "status.yml": Playbook(),
    "restore.yml": Playbook(
        {
            "user": TEXT,
            "every_user": YES_OR_NO,
            "hub_state": YES_OR_NO,
            "backup": TEXT,
            "to_user": TEXT,
            "stop_servers": YES_OR_NO,
            "keep_old": YES_OR_NO,
            "remove_old": YES_OR_NO,
            "identity": TEXT,
        },
        one_host=True,
        lists=True,
        needs={
            "to_user": ("user",),
            **dict.fromkeys(("backup", "stop_servers", "keep_old"), ("user", "every_user", "hub_state")),
        },
    ),
    "playbooks/verify_backups.yml": Playbook({"user": TEXT, "backup": TEXT}),
    "playbooks/fetch_backups.yml": Playbook({"to": TEXT}),
    "playbooks/user.yml": Playbook(
        {"user": TEXT, "do": ("authorize", "disable", "password"), "password": TEXT},
        required=("user", "do"),
        one_host=True,
        single=("user",),
    ),
    "playbooks/delete_user.yml": Playbook(
        {"user": TEXT, "keep_directories": YES_OR_NO}, required=("user",), one_host=True, single=("user",)
    ),
    "playbooks/discard_accounts.yml": Playbook(
        {"since": TEXT, "confirm": YES_OR_NO}, required=("since",), one_host=True
    ),
    "playbooks/rehearse.yml": Playbook({"users": NUMBER, "at_once": NUMBER, "kernels": YES_OR_NO}, one_host=True),
    "playbooks/teardown.yml": Playbook(one_host=True),
    "playbooks/disaster_recovery.yml": RECOVERY,
    "playbooks/recover.yml": RECOVERY,
}


def unknown(name: str, playbook: str, others: bool) -> str | None:
    """Return what is wrong with an extra variable that is not a parameter, ``None`` if it can be the operator's own.

    :param others: whether parameters of our other playbooks are wrong, too.
    """
    of = [path for path, other in PLAYBOOKS.items() if name in other.parameters]
    if name.startswith(("jupyterhub_", "docker_", "ansible_")) or (of and not others):
        return None
    if name == "_raw_params":
        return "an -e has a name without a value; write -e NAME=VALUE"
    lower, own = name.lower().replace("-", "_"), PLAYBOOKS[playbook].parameters
    close = difflib.get_close_matches(lower, own, 1, SIMILAR if of else 0.6)
    if close:
        return f"{name} is not a parameter of {playbook}; did you mean {close[0]}?"
    if of:
        return f"{name} is a parameter of {', '.join(of)}, not of {playbook}; leave it out"
    foreign = {parameter for other in PLAYBOOKS.values() for parameter in other.parameters}
    close = difflib.get_close_matches(lower, foreign, 1, SIMILAR) if others else []
    return f"{name} is not a parameter of {playbook}, and neither is {close[0]}; leave it out" if close else None


def wrong_value(name: str, value: Any, choices: Sequence[str]) -> str | None:
    """Return what is wrong with the value of a parameter, ``None`` if nothing is."""
    if choices == YES_OR_NO:
        return None if str(value).lower() in BOOLEANS else f"{name} is {value!r}; use true or false"
    if choices == NUMBER:
        whole = str(value).isascii() and str(value).isdigit()
        return None if whole else f"{name} is {value!r}; use a whole number of 0 or more"
    if not isinstance(value, str):
        return f"{name} must be a text; write -e {name}=VALUE"
    if not value.strip(" ,"):
        return f"{name} is empty; give it a value"
    return f"{name} is {value!r}; use one of {', '.join(choices)}" if choices and value not in choices else None


def problems(
    path: str, run: Sequence[str], extra: Sequence[str], values: Mapping[str, Any], hosts: Sequence[str]
) -> list[str]:
    """Return a sentence for each reason why a play must not go on.

    :param path: the playbook that the play is in.
    :param run: the playbooks on the command line, which may import that one; an operator's own has another path.
    :param extra: the names of all extra variables.
    :param values: the parameters that have a value, from anywhere.
    :param hosts: the hosts of the play.
    """
    playbook, ours = PLAYBOOKS[path], [other for other in run if other in PLAYBOOKS]
    known = {name for other in (path, *ours) for name in PLAYBOOKS[other].parameters}
    found = [unknown(name, path, ours == list(run)) for name in extra if name not in known]
    found += [wrong_value(name, value, playbook.parameters[name]) for name, value in values.items()]
    found += [
        f"{name} is missing; add -e {name}={'|'.join(playbook.parameters[name]) or 'VALUE'}"
        for name in playbook.required
        if name not in values
    ]
    found += [
        f"{name} is {value!r}, and {path} works on one {name}; run it once for each"
        for name, value in values.items()
        if name in playbook.single and isinstance(value, str) and "," in value and value.strip(" ,")
    ]
    given = [name for name, value in values.items() if str(value).lower() not in ("false", "no", "off", "0")]
    found += [
        f"{name} has no effect without {' or '.join(others)}; add one, such as -e {others[0]}=alice"
        for name, others in playbook.needs.items()
        if name in extra and not set(others) & set(given)
    ]
    if playbook.one_host and len(hosts) > 1 and (values or not playbook.lists):
        what, many, names = f"{path} with parameters" if playbook.lists else path, len(hosts), ", ".join(hosts)
        found.append(
            f"{what} works on one host, and this run has {many}: {names}; choose one, such as --limit {hosts[-1]}"
        )
    return [problem for problem in found if problem]


class ActionModule(ActionBase):  # type: ignore[misc]
    """Fail with all that is wrong with the parameters, once for all hosts."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path, known = self._task.args["playbook"], task_vars or {}
        values = {name: self._templar.template(known[name]) for name in PLAYBOOKS[path].parameters if name in known}
        run = [os.path.relpath(os.path.realpath(playbook), ROOT) for playbook in ansible.context.CLIARGS["args"]]
        extra = list(load_extra_vars(self._loader))
        found = problems(path, run, extra, values, known["ansible_play_hosts_all"])
        if found:
            listed = "\n- ".join(
                ["Nothing was changed. Fix these parameters (see docs/reference/commands.md):", *found]
            )
            raise AnsibleActionFail(listed)
        return result
