"""The settings that role ``jupyterhub`` writes to ``settings.json``."""

from __future__ import annotations

from typing import Any


def hub_settings(hub: str, **native: Any) -> dict[str, Any]:
    """Return the settings of a hub with open sign-up; `native` overrides those of native accounts."""
    return {
        "name": hub,
        "server_prefix": f"{hub}-jupyter",
        "volume_prefix": f"{hub}-user-",
        "public_url": "",
        "subdomains": False,
        "authenticators": ["native"],
        "native": {
            "signup": "open",
            "minimum_password_length": 8,
            "check_common_password": True,
            "failed_logins": 5,
            "lockout_seconds": 600,
            "failed_logins_per_address": 50,
            "signups_per_address": 100,
            **native,
        },
        "limits": {"memory": "auto", "cpu": 0, "pids": 4096, "shm_size": "1G", "tmp_size": 0, "disk": 0},
        "cgroup_parent": "",
        "group_limits": {},
        "user_packages": "keep",
        "culling": {"idle": 3600, "max_age": 0, "kernels": 3600},
        "concurrent_starts": "auto",
        "server_limit": "auto",
        "total_memory": 0,
        "token_max_days": 90,
        "proxy_url": f"http://{hub}-proxy:8000",
        "proxy_api_url": f"http://{hub}-proxy-api:8001",
    }
