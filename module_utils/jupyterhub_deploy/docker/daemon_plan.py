"""Plan the changes to Docker on a host, from its observed state. Pure functions, no I/O.

A Docker that somebody else installed and that is recent enough is not changed: its packages are kept, it gets none of
this role's defaults, and it is reloaded or restarted only when the operator sets an option that its ``daemon.json``
does not have yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker import daemon_data, daemon_flags, daemon_json
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# Options of daemon.json with which an older Docker does not start: the first version that has them (release notes of
# Docker Engine), and what to do instead.
NEWER_OPTIONS = {
    "proxies": ("23.0", "Set the proxy in Docker's systemd unit: docs/how-to/docker.md#an-http-proxy"),
    "default-network-opts": ("24.0", "For a smaller MTU, set the option mtu"),
}

# Options of dockerd's command line. Docker accepts them in daemon.json since 23.0, and ignores them.
COMMAND_LINE_OPTIONS = {"http-proxy", "https-proxy", "no-proxy"}

# Docker in the packages of distributions that keep its version and that have none of some option above.
PACKAGED = {"Debian 12": "20.10.24"}


class Record(NamedTuple):
    """The record of this role about Docker on a host, stored in a file there."""

    managed: bool = False
    """Whether this role installed Docker."""
    applied: Mapping[str, Any] = MappingProxyType({})
    """The options that this role wrote into ``daemon.json``."""
    pending: str = ""
    """``reload`` or ``restart`` when an interrupted run has left it to be done; else empty."""


class Plan(NamedTuple):
    """The actions to run, in this order."""

    install: bool
    """Install or upgrade the packages of Docker."""
    install_sdk: bool
    """Install Python's docker SDK."""
    write: bool
    """Write ``daemon.json``."""
    action: str
    """``none``, or ``start``, ``reload`` or ``restart`` Docker."""
    enable: bool
    """Make the service manager start Docker at boot."""
    options: dict[str, Any]
    """The options in ``daemon.json`` afterwards."""
    applied: dict[str, Any]
    """The part of ``options`` that this role sets."""
    steps: list[str]
    """The actions as messages for the operator; empty when there are none."""
    warnings: list[str]
    """Warnings for the operator."""

    @property
    def configures(self) -> bool:
        """Return whether an installed Docker has to change: its file, its process, or its start at boot."""
        return self.write or self.enable or self.action != "none"


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: ``20.10.24+dfsg1`` gives ``(20, 10, 24)``.

    :raises DeployError: it does not begin with a number.
    """
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    if match is None:
        raise DeployError(f"{text!r} is not a version of Docker; write it like 20.10 or 26.1.5")
    return tuple(int(part) for part in match.group(1).split("."))


def is_recent(version: str, minimum: str) -> bool:
    """Return whether ``version`` is at least ``minimum``; 20.10 and 20.10.0 are the same."""
    have, want = parse_version(version), parse_version(minimum)
    width = max(len(have), len(want))
    return have + (0,) * (width - len(have)) >= want + (0,) * (width - len(want))


def make_plan(
    seen: Mapping[str, Any],
    record: Record,
    *,
    minimum_version: str,
    defaults: daemon_json.Options,
    wanted: daemon_json.Options,
) -> Plan:
    """Return the plan for Docker on a host.

    :param seen: the result of ``daemon_info.observe``.
    :param record: the record of earlier runs.
    :param minimum_version: the oldest accepted version.
    :param defaults: the role's options for ``daemon.json``; not used for a Docker that somebody else installed.
    :param wanted: the operator's options.
    :raises DeployError: when ``daemon.json`` would have to be changed and cannot be read, when options are wrong, or
        when a running Docker would start without its data.
    """
    present = seen["installed"] or seen["running"]
    recent = present and is_recent(seen["version"], minimum_version)
    install = not recent and not _newer_is_installed(seen, minimum_version)
    ours = record.managed or not present

    warnings: list[str] = []
    if seen["config"]["error"] and not ours and not wanted:
        warnings.append(f"{seen['config']['error']}; Docker was installed by somebody else and is not changed")
        current: dict[str, Any] = {}
        merged = daemon_json.Merged({}, {}, [])
    else:
        if seen["config"]["error"]:
            raise DeployError(seen["config"]["error"])
        current = seen["config"]["options"]
        merged = _merge(current, record, defaults if ours else {}, wanted, seen["arguments"])
    change = daemon_json.needed_action(current, merged.options)
    moves = "data-root" in daemon_json.differing(current, merged.options)
    if moves and (seen["running"] or any(seen["objects"].values())):
        # Docker would start without images and volumes: the hub without users, and no notebooks.
        root = seen["root_dir"] or current.get("data-root", daemon_data.DATA_ROOT)
        # With live-restore, containers go on without Docker, and their files cannot be moved.
        stop = (
            "stop all containers (docker stop $(docker ps -q)), then Docker (systemctl stop docker docker.socket), "
            if seen["running"]
            else ""
        )
        raise DeployError(
            f"data-root cannot change: Docker's images and volumes would stay behind in {root}; {stop}move the "
            f"directory to {merged.options.get('data-root', daemon_data.DATA_ROOT)}, and run make site again"
        )
    newer = too_new(set(merged.options) - set(current), seen["version"], "this host") if recent else ()
    for problem in (*misplaced(wanted), *newer):
        raise DeployError(f"{problem}; nothing was changed")
    if merged.options != current or not seen["running"]:
        daemon_data.refuse(current, merged.options, seen)
    daemon_data.require_host_network(merged.options)
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
        warnings.append(f"Docker is restarted without live-restore; {count} running container(s) stop with it")
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
    """Return what ``docker_engine_info`` documents: the observed state and the plan.

    Only the names of options: values may contain a proxy's password, and ``-v`` shows registered results.
    """
    return {
        **seen,
        "arguments": [daemon_json.hide_passwords(word) for word in seen["arguments"]],
        "config": {**seen["config"], "options": sorted(seen["config"]["options"])},
        "record": {**record._asdict(), "applied": sorted(record.applied)},
        "plan": {
            "install": plan.install,
            "install_sdk": plan.install_sdk,
            "configure": plan.configures,
            "steps": plan.steps,
            "warnings": plan.warnings,
        },
    }


def _newer_is_installed(seen: Mapping[str, Any], minimum_version: str) -> bool:
    """Return whether newer packages are installed than the running version, which then only needs a restart."""
    installed = seen["installed_version"]
    return bool(installed) and is_recent(installed, minimum_version)


def _merge(
    current: daemon_json.Options,
    record: Record,
    defaults: daemon_json.Options,
    wanted: daemon_json.Options,
    arguments: list[str],
) -> daemon_json.Merged:
    defaults = daemon_flags.without_flagged(defaults, arguments)
    merged = daemon_json.merge(current, record.applied, defaults, wanted)
    if merged.options == current:
        # Nothing is written: a file that Docker has accepted is not checked again.
        return merged
    errors = daemon_flags.conflicts(merged.options, arguments)
    if errors:
        raise DeployError(
            "Docker would not start with these options: "
            + "; ".join(errors)
            + ". Correct docker_daemon_options, or the file on the host if the option comes from there"
        )
    return merged


def misplaced(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each option that Docker ignores in its file; ``None`` is one that is not wanted."""
    for name in sorted(COMMAND_LINE_OPTIONS):
        if options.get(name) is not None:
            yield (
                f"{name} in docker_daemon_options is an option of dockerd's command line, which Docker ignores in "
                f"daemon.json. Write proxies: {{{name}: …}}"
            )


def too_new(options: Iterable[str], version: str, source: str) -> Iterator[str]:
    """Yield a message for each option with which a Docker of this version would not start.

    :param source: what has this version.
    """
    for name in sorted(set(options) & set(NEWER_OPTIONS)):
        first, instead = NEWER_OPTIONS[name]
        if not is_recent(version, first):
            needed = f"{name} in docker_daemon_options needs Docker {first} or newer"
            yield f"{needed}, and {source} has {version}. {instead}"


def too_old(version: str, minimum_version: str) -> Iterator[str]:
    """Yield a message if the newest Docker in the packages of the host is older than the minimum."""
    if not is_recent(version, minimum_version):
        yield (
            f"Docker {version} is the newest version in the host's packages, but docker_minimum_version is "
            f"{minimum_version}; lower it, or install Docker from Docker's repository (docker_package_source: docker)"
        )


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
        steps.append("enable Docker at boot")
    if result.action != "none":
        steps.append(f"{result.action} Docker")
    return steps
