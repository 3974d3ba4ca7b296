"""What to do about the Docker engine of a host: pure functions from what was observed to a plan, no I/O.

The rule behind the plan: an engine that somebody else installed and that is recent enough is left alone. Its packages
are not touched, it gets none of this role's defaults, and it is reloaded or restarted only when the operator names an
option that its ``daemon.json`` does not have yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker import daemon_json
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Bit number of CAP_SYS_RESOURCE in a capability set (linux/capability.h): needed to raise a hard limit.
_CAP_SYS_RESOURCE = 24


class Record(NamedTuple):
    """What this role remembers about the engine of a host, in a file of its own there."""

    managed: bool = False
    """This role installed the engine; otherwise it was found."""
    applied: Mapping[str, Any] = MappingProxyType({})
    """The options that this role put into ``daemon.json``."""
    pending: str = ""
    """``reload`` or ``restart``: what the engine still needs, should a run have been interrupted; else empty."""


class Plan(NamedTuple):
    """What has to be done, in this order."""

    install: bool
    """Install or upgrade the engine's packages."""
    install_sdk: bool
    """Install Python's docker SDK."""
    write: bool
    """Write ``daemon.json``."""
    action: str
    """``none``, ``start``, ``reload`` or ``restart`` the engine."""
    enable: bool
    """Make the service manager start Docker at boot."""
    options: dict[str, Any]
    """What ``daemon.json`` holds afterwards."""
    applied: dict[str, Any]
    """The part of ``options`` that is this role's."""
    steps: list[str]
    """The same in words, for the operator; empty when nothing is to be done."""
    warnings: list[str]
    """What the operator should know although it stops nothing."""

    @property
    def settles(self) -> bool:
        """Whether anything about a present engine is to be done: its file, its process, or its start at boot."""
        return self.write or self.enable or self.action != "none"


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: ``20.10.24+dfsg1`` gives ``(20, 10, 24)``.

    :raises DeployError: when it begins with no number.
    """
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    if match is None:
        raise DeployError(f"{text!r} is not a version of the Docker engine; write it like 20.10 or 26.1.5")
    return tuple(int(part) for part in match.group(1).split("."))


def is_recent(version: str, minimum: str) -> bool:
    """Return whether ``version`` is at least ``minimum``; 20.10 and 20.10.0 are the same."""
    have, want = parse_version(version), parse_version(minimum)
    width = max(len(have), len(want))
    return have + (0,) * (width - len(have)) >= want + (0,) * (width - len(want))


def choose_service_manager(host: Mapping[str, Any]) -> str:
    """Return who can start the engine on a host: ``systemd``, ``sysvinit`` or ``none``.

    :param host: ``systemd_booted`` (/run/systemd/system exists, the test of sd_booted(3)), ``pid1`` (name of process
        1), ``initctl`` (sysvinit's fifo /run/initctl exists), ``init_script`` (/etc/init.d/docker can be executed) and
        ``capabilities`` (the effective set of our process, as a number).

    Other programs call themselves ``init`` too, so sysvinit is known by its fifo. Its script raises the limits on open
    files and processes and gives up where it may not, so without CAP_SYS_RESOURCE it is no use.
    """
    if host["systemd_booted"]:
        return "systemd"
    may_raise_limits = bool(host["capabilities"] >> _CAP_SYS_RESOURCE & 1)
    if host["pid1"] == "init" and host["initctl"] and host["init_script"] and may_raise_limits:
        return "sysvinit"
    return "none"


def make_plan(
    seen: Mapping[str, Any],
    record: Record,
    *,
    minimum_version: str,
    defaults: daemon_json.Options,
    wanted: daemon_json.Options,
) -> Plan:
    """Decide what to do about an engine.

    :param seen: what ``engine_host.observe`` returned.
    :param record: what an earlier run remembered.
    :param minimum_version: the oldest version that is left alone.
    :param defaults: the role's options for ``daemon.json``; an engine that was found gets none of them.
    :param wanted: the operator's options.
    :raises DeployError: when ``daemon.json`` would have to be changed and cannot be read, when options are wrong, or
        when a running engine would lose sight of its data.
    """
    present = seen["installed"] or seen["running"]
    recent = present and is_recent(seen["version"], minimum_version)
    install = not recent and not _newer_is_installed(seen, minimum_version)
    ours = record.managed or not present

    warnings: list[str] = []
    if seen["config"]["error"] and not ours and not wanted:
        warnings.append(f"{seen['config']['error']}; the engine that was found is left as it is")
        current: dict[str, Any] = {}
        merged = daemon_json.Merged({}, {}, [])
    else:
        if seen["config"]["error"]:
            raise DeployError(seen["config"]["error"])
        current = seen["config"]["options"]
        merged = _merge(current, record, defaults if ours else {}, wanted, seen["arguments"])
    change = daemon_json.needed_action(current, merged.options)
    if seen["running"] and "data-root" in daemon_json.differing(current, merged.options):
        # The engine would start with an empty disk: the hub without users, everybody's notebooks gone from sight.
        raise DeployError(
            f"data-root cannot change while the engine runs: its images and volumes would stay behind in "
            f"{seen['root_dir']}. Stop it (systemctl stop docker docker.socket), move the directory, and run again"
        )
    warnings.extend(
        f"{name} in {seen['config']['path']} was set by somebody else; docker_daemon_options replaces it"
        for name in merged.replaced
    )

    if not seen["running"]:
        action = "start"
    elif present and not recent:
        action = "restart"
    else:
        action = _stronger(change, record.pending or "none")
    if action == "restart" and seen["containers_running"] and not merged.options.get("live-restore"):
        count = seen["containers_running"]
        warnings.append(f"the engine is restarted without live-restore; {count} running container(s) stop with it")
    enable = ours and (seen["service_manager"] == "systemd") and present and not seen["enabled"]

    result = Plan(
        install=install,
        install_sdk=not seen["sdk"]["importable"],
        write=change != "none",
        action=action,
        enable=enable,
        options=merged.options,
        applied=merged.ours,
        steps=[],
        warnings=warnings,
    )
    return result._replace(steps=_steps(result, seen, current, minimum_version))


def report(seen: Mapping[str, Any], record: Record, plan: Plan) -> dict[str, Any]:
    """Return what ``docker_engine_info`` documents: the observation and what playbooks decide by.

    Of options only the names: values may carry a proxy's password, and registered results are shown with ``-v``.
    """
    return {
        **seen,
        "arguments": [daemon_json.hide_passwords(word) for word in seen["arguments"]],
        "config": {**seen["config"], "options": sorted(seen["config"]["options"])},
        "record": {**record._asdict(), "applied": sorted(record.applied)},
        "plan": {
            "install": plan.install,
            "install_sdk": plan.install_sdk,
            "settle": plan.settles,
            "steps": plan.steps,
            "warnings": plan.warnings,
        },
    }


def _newer_is_installed(seen: Mapping[str, Any], minimum_version: str) -> bool:
    """An old engine still runs although its packages were upgraded: it wants a restart, not an installation."""
    installed = seen["installed_version"]
    return bool(installed) and is_recent(installed, minimum_version)


def _merge(
    current: daemon_json.Options,
    record: Record,
    defaults: daemon_json.Options,
    wanted: daemon_json.Options,
    arguments: list[str],
) -> daemon_json.Merged:
    defaults = daemon_json.without_flagged(defaults, arguments)
    merged = daemon_json.merge(current, record.applied, defaults, wanted)
    if merged.options == current:
        # Nothing would be written: a file that Docker has accepted is not checked again.
        return merged
    mistakes = [*daemon_json.problems(merged.options), *daemon_json.conflicts(merged.options, arguments)]
    if mistakes:
        raise DeployError(
            "the engine would not start with these options: "
            + "; ".join(mistakes)
            + ". Mend docker_daemon_options (or the file on the host, where the option comes from there)"
        )
    return merged


def _stronger(one: str, other: str) -> str:
    order = ("none", "reload", "restart")
    return max(one, other, key=order.index)


def _steps(result: Plan, seen: Mapping[str, Any], current: daemon_json.Options, minimum_version: str) -> list[str]:
    steps = []
    if result.install:
        found = f"upgrade Docker {seen['version']} to" if seen["version"] else "install Docker"
        steps.append(f"{found} {minimum_version} or newer")
    if result.install_sdk:
        steps.append("install Python's docker SDK")
    if result.write:
        names = ", ".join(daemon_json.differing(current, result.options))
        steps.append(f"write {names} to {seen['config']['path']}")
    if result.enable:
        steps.append("have systemd start the engine at boot")
    if result.action != "none":
        steps.append(f"{result.action} the engine")
    return steps
