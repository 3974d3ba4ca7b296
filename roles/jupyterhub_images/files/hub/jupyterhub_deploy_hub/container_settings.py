"""What the configuration gives users' containers: directories, volumes and options of Docker. Pure."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Collection, Iterator
from typing import Any

#: Placeholders of dockerspawner's templates for the user's name.
_USER_FIELDS = ("username", "raw_username", "safe_username")


def configured(c: Any, cls: Any, name: str, default: Any) -> Any:
    """Return the value of a setting in `c` for a class: of the most specific section that has it."""
    value = default
    for base in reversed(cls.__mro__):
        if name in c.get(base.__name__, {}):
            found = c[base.__name__][name]
            # A LazyConfigValue only adds to the value of less specific sections. It keeps its first result: copy it.
            value = copy.deepcopy(found).get_value(value) if hasattr(found, "get_value") else found
    return value


def sources(c: Any, cls: Any) -> Iterator[tuple[str, str]]:
    """Yield the setting and the source of each directory and volume that a spawner of class `cls` mounts.

    A source is a template of dockerspawner: a path on the host, or the name of a volume. Values of a wrong type, which
    the check reports, are left out.
    """
    for name in ("volumes", "read_only_volumes"):
        yield from ((name, str(source)) for source in _items(configured(c, cls, name, {}), dict))
    yield from (("mounts", source) for source in of_mounts(configured(c, cls, "mounts", [])))
    overrides = configured(c, cls, "group_overrides", {})
    for override in overrides.values() if isinstance(overrides, dict) else ():
        settings = dict(_items(dict(_items(override, dict)).get("spawner_override"), dict))
        yield from (("group_overrides", str(source)) for source in _items(settings.get("volumes"), dict))
    options = configured(c, cls, "extra_host_config", {})
    if isinstance(options, dict):  # otherwise a function of the operator
        yield from (("extra_host_config", source) for source in _of_options(options))


def _of_options(options: dict[str, Any]) -> Iterator[str]:
    for bind in _items(options.get("binds"), (list, tuple, dict)):
        yield re.split(r":(?![^{]*})", str(bind))[0]  # not the colon of a placeholder
    yield from of_mounts(options.get("mounts"))


def _items(value: Any, types: Any) -> Any:
    return value if isinstance(value, types) else ()


def of_mounts(mounts: Any) -> Iterator[str]:
    """Yield the sources of mounts as Docker's library has them; those of a wrong type are left out."""
    for mount in _items(mounts, (list, tuple)):
        # Those of docker.types.Mount in extra_host_config begin with a capital letter.
        fields = {str(key).lower(): value for key, value in dict(_items(mount, dict)).items()}
        if fields.get("type", "volume") in ("bind", "volume"):
            yield str(fields.get("source", ""))


def problems(c: Any, cls: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (section, setting, why) for what the deployment cannot protect or the spawner would overrule."""
    for trait, text in [*_volume_problems(c, cls), *_option_problems(c, cls)]:
        section = next(base.__name__ for base in cls.__mro__ if trait in c.get(base.__name__, {}))
        yield section, trait, text


def _volume_problems(c: Any, cls: Any) -> Iterator[tuple[str, str]]:
    """Yield the sources of directories and volumes that backups and the deletion of users would not find."""
    found = list(dict.fromkeys(sources(c, cls)))
    own = [source for trait, source in found if trait in ("volumes", "group_overrides")]
    yield from ((trait, text) for trait, source in found for text in source_problems(source, own))


def source_problems(source: str, own: Collection[str], names: Collection[str] = ()) -> Iterator[str]:
    """Yield why a source is refused: its user is not recognised, it is a volume of a single user that the spawner would
    not label, or a directory of one that backups would not know.

    :param own: the sources that the spawner labels.
    :param names: the names by which a source is recognised as the user's, when a hook or a function has added it.
    """
    formatted = _formatted_user(source)
    if formatted:
        yield (
            f"backups and the deletion of users do not find the files of users by {formatted} in {source}; write "
            "the placeholder without a conversion (!) and a format (:), such as {username}"
        )
    elif source.startswith("/") and names and is_of_user(source, names):
        yield (
            f"backups and the deletion of users do not know the directory {source}, and the next user of that name "
            "would get it; use c.DockerSpawner.volumes with {username} in the path instead of a hook or function"
        )
    elif not source.startswith("/") and source not in own and is_of_user(source, names):
        yield (
            f"the next user of a name would get the volume {source} of the earlier one; use "
            "c.DockerSpawner.volumes with {username} in the name, so that the volume is labeled, backed up and deleted "
            "with its user"
        )


def is_of_user(source: str, names: Collection[str]) -> bool:
    """Return whether a directory or volume is of a single user: by a placeholder, or by one of the user's names."""
    return "username}" in source or any(re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", source) for name in names)


def _formatted_user(template: str) -> str:
    """Return the first placeholder for the user's name with a conversion or a format, such as ``{username!s}``."""
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:  # a single brace: dockerspawner does not replace anything
        return ""
    return next(
        (
            f"{{{field}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"
            for _, field, spec, conversion in fields
            if field in _USER_FIELDS and (conversion or spec)
        ),
        "",
    )


def _option_problems(c: Any, cls: Any) -> Iterator[tuple[str, str]]:
    """Yield options of users' containers that the spawner would overrule, and those that break the deployment."""
    options = configured(c, cls, "extra_host_config", {})
    if isinstance(options, dict):  # otherwise a function of the operator, whose result the spawner checks
        hardening = [configured(c, cls, name, True) for name in ("drop_capabilities", "no_new_privileges")]
        yield from (("extra_host_config", text) for text in _refused_options(options, *hardening))
    if "host_config" in _items(configured(c, cls, "extra_create_kwargs", {}), dict):
        yield "extra_create_kwargs", "host_config would replace the hardening of servers; use extra_host_config"


def _refused_options(options: dict[str, Any], drop_capabilities: bool, no_new_privileges: bool) -> Iterator[str]:
    if "cap_drop" in options and not options["cap_drop"] and drop_capabilities:
        yield "cap_drop: add single capabilities by cap_add, or set c.HubSpawner.drop_capabilities = False"
    security = options.get("security_opt", ["-"])
    weak = not security or any("no-new-privileges" in entry and "false" in entry for entry in security)
    if weak and no_new_privileges:
        yield "security_opt: to allow sudo in servers, set c.HubSpawner.no_new_privileges = False"
    if options.get("auto_remove"):
        yield "auto_remove: Docker would remove running servers when it restarts; the hub removes them; omit it"
    if options.get("privileged") and drop_capabilities:
        yield (
            "privileged: servers would control the host; add individual capabilities with cap_add and devices with "
            "devices, or set c.HubSpawner.drop_capabilities = False"
        )
    if "network_mode" in options:
        yield "network_mode: the hub and the servers could not reach each other; omit it"
    if options.get("cgroup_parent"):
        yield "cgroup_parent: jupyterhub_total_memory_limit would not apply to servers; omit it"
    if options.get("volumes_from"):
        yield "volumes_from: servers would get the volumes of other containers; use c.DockerSpawner.volumes"
    if options.get("pid_mode") == "host":
        yield "pid_mode: servers would see the processes of the host; omit it"
    if options.get("ipc_mode") == "host":
        yield "ipc_mode: servers would share the memory of the host; for a larger /dev/shm, set jupyterhub_shm_size"


def returned_problems(
    options: Any,
    own: Collection[str],
    names: Collection[str],
    drop_capabilities: bool,
    no_new_privileges: bool,
    known: Collection[str] = (),
) -> list[str]:
    """Return why the deployment refuses what a function for ``extra_host_config`` has returned for a user.

    :param own: templates and names of the volumes that the spawner labels as the user's.
    :param names: the user's name, as it is and as in names of volumes; the function may have filled it in.
    :param known: the sources in the configuration, which the check has accepted.
    """
    if not isinstance(options, dict):
        return [f"the function returned {type(options).__name__}; return a dictionary"]
    added = [source for source in _of_options(options) if source not in known]
    volumes = [text for source in added for text in source_problems(source, own, names)]
    return [*volumes, *_refused_options(options, drop_capabilities, no_new_privileges)]
