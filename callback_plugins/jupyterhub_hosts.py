"""Fail a run that can do nothing, for which Ansible reports success: without hosts, with two hosts that cannot both be
on their machine, or with a tag that no task has; and one that would skip its checks (``--skip-tags always``,
``--start-at-task``).

Ansible loads this from beside the playbook, also where it ignores ansible.cfg.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ansible.context
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: jupyterhub_hosts
type: notification
short_description: Fail a run without hosts, with an unknown tag, or without its checks
"""

NO_HOSTS = (
    "Nothing was done, because this run has no host of the group jupyterhub. Check that your inventory has hosts in "
    "this group, and what --limit selects. In a directory that everyone can write to, Ansible ignores ansible.cfg and "
    "does not find inventory/; add -i inventory."
)
SAME_HUB = (
    "Nothing was done, because {0} and {1} in the inventory are the same hub, {2}, on the same machine, {3}. Each of "
    "them would undo the other one. Give each hub its own jupyterhub_name and jupyterhub_port."
)
SAME_VALUE = (
    "Nothing was done, because {0} and {1} in the inventory both have {4} {2} on the same machine, {3}. Give each hub "
    "its own, in host_vars/{0}.yml and host_vars/{1}.yml."
)

UNKNOWN_TAGS = "Nothing was done, because no task of {0} has the tag {1}. {2}"

# Skipping one of them skips what runs whatever is selected: all checks, and the backup of an upgrade.
GUARDS = ("always", "tagged")
SKIPPED_GUARDS = "Nothing was done, because --skip-tags {0} would skip checks and backups. Leave it out."
START_AT_TASK = "Nothing was done, because --start-at-task would skip checks and backups. Leave it out."

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# Ansible's own, see ansible.playbook.taggable; and those that Molecule always skips, which include molecule-notest.
SPECIAL_TAGS = {"always", "never", "all", "tagged", "untagged", "notest"}
MOLECULE = "molecule-"


def unknown_tags(playbook: str, wanted: Iterable[str], known: Iterable[str]) -> str | None:
    """Return a message about the tags that a playbook does not have, ``None`` if it has all of them.

    :param playbook: its name, or the names of several.
    :param wanted: the tags that the operator selects or skips.
    :param known: the tags of its tasks.
    """
    unknown = sorted(tag for tag in {*wanted} - {*known} - SPECIAL_TAGS if not tag.startswith(MOLECULE))
    ours = sorted({*known} - SPECIAL_TAGS)
    if not unknown:
        return None
    remedy = f"Use one of {', '.join(ours)}." if ours else "It has no tags; leave out --tags and --skip-tags."
    return UNKNOWN_TAGS.format(playbook, " or ".join(unknown), remedy)


def name_of(path: str) -> str:
    """Return the path of a playbook from our root; it begins with ``..`` if the playbook is an operator's own."""
    return os.path.relpath(os.path.realpath(path), ROOT)


def is_ours(path: str) -> bool:
    """Return whether a playbook is one of ours."""
    return not name_of(path).startswith("..")


def tags_of(item: Any) -> Iterator[str]:
    """Yield the tags of a task, or of all tasks in a block."""
    yield from item.tags
    if isinstance(item, Block):
        for part in (*item.block, *item.rescue, *item.always):
            yield from tags_of(part)


def tags_of_all(playbook: Any, paths: Iterable[str]) -> set[str]:
    """Return the tags of all tasks of a run.

    :param playbook: the one that Ansible has loaded.
    :param paths: of all playbooks on the command line; Ansible loads each of them when the one before has ended.
    """
    loaded = os.path.realpath(playbook._file_name)
    manager = playbook.get_plays()[0].get_variable_manager()
    others = [Playbook.load(path, manager, playbook._loader) for path in paths if os.path.realpath(path) != loaded]
    plays = [play for book in (playbook, *others) for play in book.get_plays()]
    return {tag for play in plays for block in play.compile() for tag in tags_of(block)}


def conflict(hosts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return a message about two hosts that cannot both be on their machine, ``None`` if there are none.

    They are the same hub, or have the same domain or port. Each run of a host checks only what its machine has by then.

    :param hosts: the variables of each host of the group, by its name. Those that are templates are not compared.
    """
    seen: dict[tuple[str, str, str], str] = {}
    for host, variables in hosts.items():
        local = variables.get("ansible_connection") == "local"
        port = f" port {variables['ansible_port']}" if "ansible_port" in variables else ""
        address = "the one that runs Ansible" if local else f"{variables.get('ansible_host', host)}{port}"
        if "{{" in address:
            continue
        for setting, value in unique_settings(variables).items():
            first = seen.setdefault((setting, value, address), host)
            if first != host:
                text = SAME_HUB if setting == "jupyterhub_name" else SAME_VALUE
                return text.format(first, host, value, address, setting)
    return None


def unique_settings(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that two hubs of a machine cannot share, with a host's values."""
    found = {"jupyterhub_name": str(variables.get("jupyterhub_name", "jupyterhub"))}
    if variables.get("jupyterhub_https", "none") == "none":
        address = variables.get("jupyterhub_bind_address", "0.0.0.0")  # noqa: S104  (compared)
        port = str(variables.get("jupyterhub_port", 8000))
        found["jupyterhub_port"] = port if address == "0.0.0.0" else f"{port} at {address}"  # noqa: S104  (compared)
    elif variables.get("jupyterhub_domain"):
        found["jupyterhub_domain"] = str(variables["jupyterhub_domain"])
    return {setting: value for setting, value in found.items() if "{{" not in value}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """End the run at the first of our plays that has no hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "jupyterhub_hosts"

    ours = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """End the run before its first playbook if it selects or skips tags of no task, or skips the checks.

        The tags of an operator's own playbook are not known.
        """
        arguments = ansible.context.CLIARGS
        ours = [is_ours(path) for path in arguments["args"]]
        if not any(ours):
            return
        guards = [tag for tag in GUARDS if tag in arguments["skip_tags"]]
        problem = START_AT_TASK if arguments["start_at_task"] else None
        wanted = {*arguments["tags"], *arguments["skip_tags"]} - SPECIAL_TAGS
        if all(ours) and wanted and not problem:
            names = " or ".join(map(name_of, arguments["args"]))
            problem = unknown_tags(names, wanted, tags_of_all(playbook, arguments["args"]))
        if guards and not problem:
            problem = SKIPPED_GUARDS.format(guards[0])
        if problem:
            self._display.error(problem)
            sys.exit(1)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember whether the play is one of ours; an operator's own may have no hosts."""
        self.ours = play.hosts == ["jupyterhub"]
        manager = play.get_variable_manager()
        group = manager._inventory.groups.get("jupyterhub") if self.ours else None
        # What the command line sets is for the hosts that --limit selects, and these are not known here.
        given = {*manager.extra_vars} - {"jupyterhub_name"}
        hosts = {
            host.name: {name: value for name, value in manager.get_vars(host=host).items() if name not in given}
            for host in (group.get_hosts() if group else ())
        }
        problem = conflict(hosts)
        if problem:
            self._display.error(problem)
            sys.exit(1)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Exit; an exception would be caught."""
        if self.ours:
            self._display.error(NO_HOSTS)
            sys.exit(1)
