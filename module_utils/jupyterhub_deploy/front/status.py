"""The status of HTTPS for one hub, as lines for an operator."""

from __future__ import annotations

import contextlib
import json
import os
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.front import certificate
from ansible.module_utils.jupyterhub_deploy.front.certificate import SOON, Certificate, OtherCertificateError
from ansible.module_utils.jupyterhub_deploy.front.site import CHAIN, KEY, LAST_RENEWAL, Site, read_sites
from ansible.module_utils.jupyterhub_deploy.hub import reachability
from ansible.module_utils.jupyterhub_deploy.text import Problem, parse_time

# It checks four times a day.
CHECKED_WITHIN = timedelta(days=2)
# Part of a certificate's lifetime that is left when something is wrong: certbot renews it when a third is left.
LATE = 0.25


def site_of(directory: str, hub: str) -> Site | None:
    """Return what the front serves for a hub, ``None`` when it serves nothing.

    :raises DeployError: its file is damaged.
    """
    return read_sites(directory).get(hub)


def messages(directory: str, site: Site, ca_bundle: str = "") -> list[str]:
    """Return lines about the certificate of a site, its last renewal, and whether it is served, if it is at fault.

    :param ca_bundle: file with more authorities that the users' browsers trust.
    """
    if not site.ends_tls:
        return _blocked(site, site.http_port)
    if not site.certificate:
        missing = Problem(f"NO CERTIFICATE for {site.domain}; run make site, which says why")
        return [missing, *renewal_problems(directory, site)]
    chain, key = (read_text(os.path.join(directory, site.certificate, name)) or "" for name in (CHAIN, KEY))
    lines = []
    try:
        found = certificate.describe(chain, key)
        lines.append(shown(found, site.https))
        if found.days >= 0:
            with contextlib.suppress(OSError):  # the bundle cannot be read, and the next run says so
                warnings = certificate.distrust(chain, key, site.domain, ca_bundle)
                lines += [f"WARNING: the certificate {warning}" for warning in warnings]
        certificate.fetch(site.local_address, site.https_port, site.domain, chain, check_time=False)
    except OtherCertificateError as error:
        lines.append(Problem(f"NOT IN USE: {error}; run make site"))
    except DeployError as error:
        lines.append(Problem(f"NOT REACHABLE: {error}"))
    return [*lines, *_blocked(site, site.https_port), *renewal_problems(directory, site)]


def _blocked(site: Site, port: int) -> list[str]:
    if site.bind_address.startswith("127.") or not reachability.blocked_ports(reachability.read_rules(), [port]):
        return []
    return [Problem(f"NOT REACHABLE from other machines: the firewall of this host blocks port {port}")]


def shown(found: Certificate, https: str) -> str:
    """Return the line about a certificate."""
    what, days = f"certificate for {', '.join(found.names)} from {found.issuer}", found.days
    if days < 0:
        return Problem(f"EXPIRED: the {what} ended {-days} days ago")
    if days < SOON and https == "own":
        return Problem(f"RENEW SOON: the {what} ends in {days} days; docs/how-to/https.md#renew-it")
    if https == "acme" and found.expires - time.time() < found.lifetime * LATE:
        late = f"the {what} ends in {days} days, and should have been renewed; read the log of the front"
        return Problem(f"NOT RENEWED: {late}")
    return f"{what}, ends in {days} days"


def renewal_problems(directory: str, site: Site) -> list[str]:
    """Return a line when the last attempt to renew the certificate of a hub failed."""
    if site.https != "acme":
        return []
    try:
        last: dict[str, Any] = json.loads(read_text(os.path.join(directory, LAST_RENEWAL)) or "{}")
    except ValueError:
        return [f"{LAST_RENEWAL} in {directory} is damaged; the next renewal replaces it"]
    result = (last.get("hubs") or {}).get(site.hub) or {}
    if not result.get("exit_code"):
        # What concerns all hubs, such as a reload that failed, is not in the result of one.
        others = any(one.get("exit_code") for one in (last.get("hubs") or {}).values())
        result = {} if others else last
    if result.get("exit_code"):
        if _is_newer(os.path.join(directory, site.certificate, CHAIN), last.get("time")):
            return []  # a run has requested another one since
        error = " ".join(str(result.get("error")).split())
        return [Problem(f"RENEWAL FAILED for {site.domain} at {last.get('time')}: {error}")]
    checked = parse_time(last.get("time"))
    if checked and (datetime.now(timezone.utc) - checked) > CHECKED_WITHIN:
        return [Problem(f"NOT RENEWED: the front has not checked its certificates since {last['time']}; read its log")]
    return []


def _is_newer(path: str, moment: str | None) -> bool:
    """Return whether a file was written after a moment, which has whole seconds."""
    checked = parse_time(moment)
    return checked is not None and os.path.exists(path) and os.stat(path).st_mtime > checked.timestamp() + 1
