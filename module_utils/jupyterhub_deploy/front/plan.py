"""What the front serves for a hub while something changes, and which wishes conflict. Pure: no I/O."""

from __future__ import annotations

import dataclasses

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front.site import Site


def check_conflict(site: Site, other: Site) -> None:
    """Check that the front can serve the sites of two hubs.

    :raises DeployError: it cannot.
    """
    if other.has_own_port or site.has_own_port:
        if taken := ports(other) & ports(site):
            raise DeployError(
                f"hub {other.hub} on this host has port {min(taken)} already; choose another port for {site.hub}: "
                f"{'jupyterhub_port' if site.has_own_port else 'jupyterhub_http_port or jupyterhub_https_port'}"
            )
        return
    for one, another in ((site, other), (other, site)):
        if one.ends_tls and another.http_port == one.https_port:
            raise DeployError(
                f"hub {one.hub} on this host has port {one.https_port} for HTTPS, and hub {another.hub} wants it for "
                f"HTTP; choose another port for {site.hub}: jupyterhub_http_port or jupyterhub_https_port"
            )
    if other.domain == site.domain:
        raise DeployError(
            f"hub {other.hub} on this host has the domain {other.domain} already; choose another jupyterhub_domain for "
            f"{site.hub}"
        )
    if other.bind_address != site.bind_address and ports(other) & ports(site):
        # nginx takes the most specific address of a port, which would have no server for the other hub.
        raise DeployError(
            f"hub {other.hub} on this host is served at {other.bind_address}, and {site.hub} at {site.bind_address}; "
            "set the same jupyterhub_bind_address for both"
        )
    if is_below(site, other) or is_below(other, site):
        raise DeployError(
            f"the domains {other.domain} of hub {other.hub} and {site.domain} of hub {site.hub} overlap: with "
            "jupyterhub_subdomains, all names below a domain belong to users; choose another jupyterhub_domain"
        )


def ports(site: Site) -> set[int]:
    """Return the ports at which a site is served."""
    return {site.http_port, *([site.https_port] if site.ends_tls else [])}


def is_below(site: Site, other: Site) -> bool:
    """Return whether the domain of a site could be the host name of a user of another hub."""
    return other.subdomains and site.domain.endswith(f".{other.domain}")


def meanwhile(old: Site | None, new: Site) -> list[Site]:
    """Return what is served for a hub while its certificate is requested: what was served, and the challenge. Pure.

    :param old: what was served before, ``None`` if nothing was.
    """
    challenge = dataclasses.replace(new, certificate="")
    if old is None:
        return [challenge]
    if old.domain != new.domain or old.http_port != new.http_port:
        return [old, challenge]
    if not old.ends_tls:  # its port has the challenge, too
        return [old] if old.bind_address == new.bind_address else [old, challenge]
    return [dataclasses.replace(new, certificate=old.certificate, subdomains=old.subdomains or new.subdomains)]


def with_old_names(old: Site | None, new: Site) -> list[Site]:
    """Return what is served for a hub that does not use its new names yet. Pure.

    :param old: what was served before, ``None`` if nothing was.
    """
    if old is not None and old.domain != new.domain:
        return [old, new]
    if old is not None and old.subdomains and not new.subdomains:
        return [dataclasses.replace(new, subdomains=True, certificate=old.certificate or new.certificate)]
    return [new]


def differences(before: Site | None, after: Site) -> list[str]:
    """Return a message for each difference between what is served for a hub and what it wants. Pure."""
    serves = [f"the front serves {after.url} for hub {after.hub}"]
    if before is None:
        return serves
    old, new = dataclasses.asdict(before), dataclasses.asdict(after)
    changed = {name for name in new if new[name] != old[name]}
    others = [name for name in new if name in changed - {"certificate", "domain"}]
    named = [f"{name} changed: {old[name]} → {new[name]}" for name in others]
    messages = (serves if "domain" in changed else []) + named
    return messages + (["the certificate changed"] if "certificate" in changed else [])
