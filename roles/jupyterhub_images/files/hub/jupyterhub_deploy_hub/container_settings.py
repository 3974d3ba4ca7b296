"""What the configuration gives users' containers: directories, volumes and options of Docker. Pure."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Iterator
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
    yield from (("mounts", source) for source in _of_mounts(configured(c, cls, "mounts", [])))
    options = configured(c, cls, "extra_host_config", {})
    if isinstance(options, dict):  # otherwise a function of the operator
        binds = _items(options.get("binds"), (list, tuple, dict))
        found = [re.split(r":(?![^{]*})", str(bind))[0] for bind in binds]  # not the colon of a placeholder
        yield from (("extra_host_config", source) for source in [*found, *_of_mounts(options.get("mounts"))])


def _items(value: Any, types: Any) -> Any:
    return value if isinstance(value, types) else ()


def _of_mounts(mounts: Any) -> Iterator[str]:
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
    """Yield sources whose user is not recognised, and volumes of single users that the spawner would not label,
    because they are not in ``volumes``."""
    found = list(dict.fromkeys(sources(c, cls)))
    for trait, source in found:
        formatted = _formatted_user(source)
        if formatted:
            yield (
                trait,
                f"backups and the deletion of users do not find the files of users by {formatted} in {source}; write "
                "the placeholder without a conversion (!) and a format (:), such as {username}",
            )
        elif "username}" in source and not source.startswith("/") and ("volumes", source) not in found:
            yield (
                trait,
                f"the next user of a name would get the volume {source} of the earlier one; use "
                "c.DockerSpawner.volumes, so that the volume is labeled, backed up and deleted with its user",
            )


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
    if not isinstance(options, dict):  # a function of the operator; the spawner hardens what it returns
        return
    texts = []
    if "cap_drop" in options and not options["cap_drop"] and configured(c, cls, "drop_capabilities", True):
        texts.append("cap_drop: add single capabilities by cap_add, or set c.HubSpawner.drop_capabilities = False")
    security = options.get("security_opt", ["-"])
    weak = not security or any("no-new-privileges" in entry and "false" in entry for entry in security)
    if weak and configured(c, cls, "no_new_privileges", True):
        texts.append("security_opt: to allow sudo in servers, set c.HubSpawner.no_new_privileges = False")
    if options.get("auto_remove"):
        texts.append("auto_remove: Docker would remove running servers when it restarts; the hub removes them; omit it")
    if "network_mode" in options:
        texts.append("network_mode: the hub and the servers could not reach each other; omit it")
    yield from (("extra_host_config", text) for text in texts)
