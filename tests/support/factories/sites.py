"""Sites of the front, as a hub has them by default."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.front.site import Site


def site(hub: str = "jupyterhub", **values: Any) -> Site:
    """Return a site with a certificate of the operator's."""
    defaults = {
        "hub": hub, "https": "own", "domain": f"{hub}.example.com", "subdomains": False,
        "bind_address": "0.0.0.0", "http_port": 80, "https_port": 443, "hsts_seconds": 0, "trusted_proxies": [],
        "certificate": f"own/{hub}/1",
    }  # fmt: skip
    return Site(**{**defaults, **values})
