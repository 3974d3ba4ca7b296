"""A container as `docker inspect` describes it, for a specification of ours."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.spec import tmpfs_options


def inspected(
    spec: dict[str, Any],
    *,
    running: bool = True,
    environment: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the description of a container made from `spec`, with more variables and labels than the spec has."""
    hardening = spec["hardening"]
    published = [entry.rsplit(":", 2) for entry in spec["ports"]]
    fixed = {network: {"IPv4Address": address} for network, address in spec.get("addresses", {}).items()}
    return {
        "Image": spec["image_id"],
        "State": {"Running": running},
        "Config": {
            "Image": spec["image"],
            "Env": [*environment, *(f"{name}={value}" for name, value in spec["environment"].items())],
            "Labels": labels,
            "Healthcheck": {"Test": spec["healthcheck"]},
        },
        "HostConfig": {
            # Docker leaves the mode out where it is rw, writes capabilities with CAP_, and empty lists as None.
            "Binds": [mount[: -len(":rw")] if mount.endswith(":rw") else mount for mount in spec["mounts"]] or None,
            "PortBindings": {f"{inner}/tcp": [{"HostIp": ip, "HostPort": outer}] for ip, outer, inner in published},
            "CapDrop": hardening["cap_drop"],
            "CapAdd": [f"CAP_{name}" for name in hardening["cap_add"]] or None,
            "SecurityOpt": hardening["security_opt"],
            "ReadonlyRootfs": hardening["read_only"],
            "Tmpfs": tmpfs_options(hardening["tmpfs"]),
            "RestartPolicy": {"Name": spec["restart_policy"]},
        },
        "NetworkSettings": {"Networks": {name: {"IPAMConfig": fixed.get(name)} for name in spec["networks"]}},
    }
