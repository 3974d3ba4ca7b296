"""Run the hub container."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.hub import HubContainer
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT, Times
from ansible.module_utils.jupyterhub_deploy.containers.spec import Spec
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id, name_of
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, ChangeError, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import config, lock, secrets
from ansible.module_utils.jupyterhub_deploy.restore import hub_files, swap
from ansible.module_utils.jupyterhub_deploy.servers import policy, stop

#: The options, as Ansible's argument specification; the module's documentation describes them.
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "notebook_image": {"type": "str", "required": True},
    "environment": {"type": "dict", "required": True},
    "config_dir": {"type": "path", "required": True},
    "config_files": {"type": "dict", "required": True},
    "ca_bundle": {"type": "path", "default": ""},
    "sign_in": {"type": "dict", "default": {}, "no_log": True},
    "data_volume": {"type": "str", "required": True},
    "networks": {"type": "list", "elements": "str", "required": True},
    "public_probe": {"type": "str", "required": True},
    "health_timeout": {"type": "float", "default": 120},
    "notebook_images": {"type": "list", "elements": "str", "default": []},
    "public_url": {"type": "str"},
    "subdomains": {"type": "bool", "default": False},
    "declared_users": {"type": "list", "elements": "str", "default": []},
}


def prepare(hub: HubContainer, spec: Spec, config_dir: str, files: dict[str, str]) -> list[str]:
    """Write and check the configuration, and create the new hub beside the running one.

    :returns: administrators in the configuration who have no account.
    :raises DeployError: that fails; the running hub was not touched.
    """
    try:
        config.write(config_dir, spec["config"], files)
        missing = hub.check_config(spec)
        hub.create_replacement(spec)
    except DOCKER_ERRORS as error:
        raise DeployError(f"the new hub could not be prepared, so the hub was left as it was: {error}") from error
    return missing


def check_only(hub: HubContainer, spec: Spec, config_dir: str, files: dict[str, str]) -> list[str]:
    """Check the configuration in check mode, from a temporary directory.

    :returns: as for :func:`prepare`.
    :raises DeployError: the image refuses it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".config-", dir=config_dir) as scratch:
            config.write(scratch, spec["config"], files)
            written, final = config.path(scratch, spec["config"]), config.path(config_dir, spec["config"])
            return hub.check_config({**spec, "mounts": [mount.replace(final, written) for mount in spec["mounts"]]})
    except DOCKER_ERRORS as error:
        raise DeployError(f"the configuration could not be checked: {error}") from error


def without_account(names: list[str], declared: list[str]) -> list[str]:
    """Return a warning about administrators who have no account and are not declared, so that they get none."""
    missing = sorted({*names} - {name.strip().lower() for name in declared})
    if not missing:
        return []
    return [
        f"administrators in the hub's configuration have no account: {', '.join(missing)}. Nobody can sign up with "
        "their names, which are reserved; add them to jupyterhub_users with admin: true and a password, then run the "
        "same again (docs/how-to/users.md)"
    ]


def finish_restore(hub: HubContainer, options: hub_spec.HubOptions, check: bool, may_change: bool) -> list[str]:
    """Clean up after a restore of the hub's state that was killed; return what was done.

    The restored state is kept if the hub works with it, or does not exist yet, as in a recovery on a new host.
    Otherwise, the old one is put back, because a hub that starts now could use files of two states. The caller holds
    the hub's lock, so no restore is in progress.

    :raises ChangeError: there is something to do, and nothing may change.
    :raises DeployError: without a hub, the restore is not complete; a new hub would hide that.
    """
    volumes = hub.client.volumes(filters={"name": f"^{options.data_volume}$"})["Volumes"] or []
    done = []
    for home in (os.path.dirname(volume["Mountpoint"]) for volume in volumes if volume.get("Mountpoint")):
        places = hub_files.Places(home, options.config_dir)
        if not hub_files.has_leftovers(places):
            continue
        if not may_change:
            raise ChangeError
        if check:
            done.append("a restore of the hub's state was killed, and would be finished or undone")
            continue
        with swap.locked(home):
            done.append(_finish(hub, options.name, places))
    return done


def _finish(hub: HubContainer, name: str, places: hub_files.Places) -> str:
    exists, complete = bool(hub.observe()), hub_files.is_complete(places)
    if hub_files.unfinished(places) and not exists and not complete:
        raise DeployError(
            f"a restore of the state of hub {name} did not finish; finish it first, with: "
            "make restore ARGS='-e hub_state=true'"
        )
    if hub_files.unfinished(places) and exists and not (complete and hub.is_healthy()):
        hub.client.stop(name, timeout=STOP_TIMEOUT)
        hub_files.take_back(places)
        return "a restore of the hub's state was killed; the old state was put back"
    kept = hub_files.recover(places)
    return "removed what a killed restore of the hub's state left" + (f"; the old state is in {kept}" if kept else "")


def run(params: dict[str, Any], check: bool, may_change: bool = True) -> dict[str, Any]:
    """Wait for other runs on this hub, then update it; return the module's result.

    :param params: the options of :data:`SPEC`.
    :param check: only report what would be done.
    :param may_change: otherwise, raise instead of what the result would report as a change.
    :raises ChangeError: something has to change; nothing was done that a run without a change would not do.
    """
    with lock.held(params["name"], check):
        return update(params, check, may_change)


def update(params: dict[str, Any], check: bool, may_change: bool) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result (see :func:`run`)."""
    options = hub_spec.HubOptions(**params)
    client = connect_or_none() if check else connect()
    hub = HubContainer(client, options.name, options.public_probe, options.health_timeout)
    recovered: list[str] = []
    if client:
        ownership.require_containers(client, options.name, hub.names())
        recovered = finish_restore(hub, options, check, may_change)
    if client and hub.has_leftovers():
        if not may_change:
            raise ChangeError
        recovered += ["an earlier run did not finish"] if check else hub.recover()
    current = hub.observe() if client else None
    limits = limits_of(config.settings_of(current))  # now, because old configurations are removed below
    ids = {reference: image_id(client, reference) for reference in (options.image, options.notebook_image)}
    for reference, found in ids.items():
        if not found and not check:
            raise DeployError(f"image {reference} is not on this host; run make site, which installs it")
    sign_in = config.sign_in_file(options.sign_in)
    files = {**options.config_files, **sign_in, **config.ca_file(options.ca_bundle)}
    key = secrets.read(f"{options.config_dir}/secrets", "cookie_secret") if sign_in else None
    digest = hub_spec.config_digest(files, key or "")
    wanted = hub_spec.wanted_spec(options, digest, ids[options.image], ids[options.notebook_image])
    differences = hub_spec.differences(wanted, hub_spec.observed_spec(current)) if current else []
    different = [found.message for found in differences]
    if current and not different and config.read(config.path(options.config_dir, digest)) != files:
        different = ["the configuration files on the host were edited"]
    serving = bool(current) and not different and hub.is_serving(wait=may_change)
    action, reasons = container_spec.plan("hub", current, different, serving)
    if action != "none" and not may_change:
        raise ChangeError
    shown, times = diff(wanted, current, options), Times(0.0, 0.0)
    missing: list[str] = []
    if check and action == "replace" and ids[options.image]:
        missing = check_only(hub, wanted, options.config_dir, files)
    if not check:
        if action in ("create", "replace"):
            missing = prepare(hub, wanted, options.config_dir, files)
        if action != "none":
            times = hub.apply(action)
        removed = hub.remove_old()
        recovered += removed if action == "none" else []
        config.prune(options.config_dir, hub.configs_in_use())
    current_images = {ids[options.notebook_image], *(image_id(client, name) for name in options.notebook_images)}
    why = container_spec.shown("hub", action, reasons, check)
    kept = kept_limits(client, limits, options) if current and action == "replace" else []
    reasons = recovered + reasons
    return {
        "changed": bool(recovered) or action != "none",
        "action": action,
        "reasons": reasons,
        "messages": recovered + why + ([] if action == "create" else away(times)) + kept,
        "downtime": round(times.down, 2),
        "start_seconds": round(times.start, 2),
        "warnings": without_account(missing, options.declared_users),
        "servers_on_other_images": hub.servers_on_other_images(current_images) if client else [],
        "servers_with_old_urls": servers_with_old_urls(client, options) if client else [],
        "diff": shown,
    }


def limits_of(settings: dict[str, Any]) -> list[Any]:
    """Return the settings that Docker enforces from the start of a server on."""
    return [settings.get("limits"), settings.get("group_limits")]


def kept_limits(client: Any, before: list[Any], options: hub_spec.HubOptions) -> list[str]:
    """Return a message when the limits of servers have changed and servers run, which keep theirs.

    :param before: :func:`limits_of` the hub that was replaced.
    """
    if before == limits_of(json.loads(options.config_files.get(config.SETTINGS, "{}"))):
        return []
    running = [name_of(one) for one in stop.containers(client, options.name)]
    return [f"servers that run keep their limits until they are stopped: {', '.join(running)}"] if running else []


def servers_with_old_urls(client: Any, options: hub_spec.HubOptions) -> list[str]:
    """Return the names of the containers of users' servers that were started for another URL of the hub."""
    if options.public_url is None:
        return []
    urls = policy.Urls(options.public_url, options.subdomains)
    return [name_of(one) for one in stop.containers(client, options.name) if policy.has_old_url(one, urls)]


def away(times: Times) -> list[str]:
    """Return how long the hub was unavailable, for the operator."""
    if not times.down:
        return []
    return [
        f"the hub was unavailable for {times.down:.2f} s (a start takes {times.start:.2f} s); running servers continued"
    ]


def diff(wanted: Spec, current: dict[str, Any] | None, options: hub_spec.HubOptions) -> list[dict[str, Any]]:
    """Return before and after, as ``--diff`` shows them: the specification, then each configuration file."""
    before = container_spec.comparable(wanted, hub_spec.observed_spec(current)) if current else {}
    old_files = config.read(config.path(options.config_dir, before["config"])) if before else {}
    shown = [{"before": before, "after": wanted, "before_header": "running hub", "after_header": "wanted hub"}]
    for name, text in options.config_files.items():
        shown.append({"before": old_files.get(name, ""), "after": text, "before_header": name, "after_header": name})
    return [entry for entry in shown if entry["before"] != entry["after"]]
