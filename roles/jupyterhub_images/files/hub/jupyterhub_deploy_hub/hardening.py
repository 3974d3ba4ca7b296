"""The hardening of users' containers, applied to what Docker gets, so that no setting removes it by the way. Pure."""

from __future__ import annotations

from typing import Any

NO_NEW_PRIVILEGES = "no-new-privileges"


def hardened(
    host_config: dict[str, Any] | None, binds: list[str], drop_capabilities: bool = True, no_new_privileges: bool = True
) -> dict[str, Any]:
    """Return the host configuration of a container (of Docker's API) with the deployment's own options.

    `binds` are the user's volumes, as ``source:target:mode``. A list in ``extra_host_config`` would replace them.
    """
    result = dict(host_config or {})
    if drop_capabilities:
        result["CapDrop"] = ["ALL"]
    if no_new_privileges:
        others = [entry for entry in result.get("SecurityOpt") or [] if not entry.startswith(NO_NEW_PRIVILEGES)]
        result["SecurityOpt"] = [*others, NO_NEW_PRIVILEGES]
    # The hub removes the container, not Docker: when Docker before 24.0.8 and 25 restarts, it removes such containers
    # while they run, in spite of live-restore (https://github.com/moby/moby/issues/46308). Besides, the log of a server
    # that ended would be lost.
    result["AutoRemove"] = False
    found = list(result.get("Binds") or [])
    targets = {bind.split(":")[1] for bind in found if ":" in bind}
    targets |= {mount.get("Target") for mount in result.get("Mounts") or []}
    missing = [bind for bind in binds if bind.split(":")[1] not in targets]
    if missing:
        result["Binds"] = [*missing, *found]
    return result
