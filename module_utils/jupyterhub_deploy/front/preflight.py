"""What can be known about the front before anything is changed: its directory, ports, certificates, plain HTTP."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_FRONT
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import acme, certificate, plan
from ansible.module_utils.jupyterhub_deploy.front.acme_request import acme_settings
from ansible.module_utils.jupyterhub_deploy.front.site import (
    ACME,
    ALL_ADDRESSES,
    CHALLENGES,
    SITES,
    Site,
    own_directory,
    read_sites,
)
from ansible.module_utils.jupyterhub_deploy.hub import host, reachability

# The programs that serve the ports which Docker publishes.
PUBLISHERS = ("docker-proxy", "dockerd")
SSH_PORT = 22  # systemd listens there where it starts sshd for each connection
SYSTEM_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # of the package ca-certificates

# The control group of a container of Docker, with each of its drivers.
ANY_CONTAINER = "docker[-/][0-9a-f]{64}"


@dataclass(frozen=True)
class FrontSettings:
    """The option ``front`` of the module ``jupyterhub_host_info``, and the hub's address."""

    name: str
    directory: str
    https: str
    domain: str
    subdomains: bool
    http_port: int
    https_port: int
    certificate: str
    key: str
    acme: dict[str, Any]
    ca_bundle: str
    plain_sign_up: bool
    bind_address: str

    @property
    def names(self) -> list[str]:
        """The names that the certificate is for."""
        return [self.domain, *([f"*.{self.domain}"] if self.subdomains else [])]

    @property
    def ports(self) -> list[int]:
        """The ports of the front for this hub."""
        return [self.http_port, *([self.https_port] if self.https in ("acme", "own") else [])]

    def setting(self, port: int) -> str:
        """Return the setting that a port comes from."""
        if self.https == "none":
            return "jupyterhub_port"
        return "jupyterhub_http_port" if port == self.http_port else "jupyterhub_https_port"


class Findings(NamedTuple):
    """Faults, which stop a run, and warnings."""

    faults: list[str]
    warnings: list[str]


def is_served(settings: FrontSettings, hub: str) -> bool:
    """Return whether the front of this host serves a hub."""
    return os.path.exists(os.path.join(settings.directory, SITES, f"{hub}.json"))


def directory_problems(settings: FrontSettings) -> list[str]:
    """Return a message when the front's directory has files of another program."""
    found = os.listdir(settings.directory) if os.path.isdir(settings.directory) else []
    # The first run creates CHALLENGES first, and a restore ACME.
    if not found or not {ACME, CHALLENGES, SITES}.isdisjoint(found):
        return []
    return [
        f"jupyterhub_front_name is {settings.name}, and {settings.directory} has files that are not of a front; choose "
        "another name, such as jupyterhub-front"
    ]


def port_problems(settings: FrontSettings, hub: str, containers: list[dict[str, Any]] | None) -> list[str]:
    """Return a message for each port of the front that something else uses.

    :param hub: name of the hub. Without HTTPS, its own proxy may have the port: the front takes it.
    :param containers: Docker's list of all containers, ``None`` if it does not run.
    """
    alive = [one for one in containers or () if one["State"] in ("running", "paused")]
    fronts = [one for one in alive if LABEL_FRONT in (one.get("Labels") or {})]
    problems = []
    for port in settings.ports:
        publisher = host.publisher(containers or [], port)
        own = publisher == f"{hub}-proxy"
        moves = own and settings.https == "none"
        publisher = None if moves else publisher
        holder = None if publisher else host.listener(port, besides=PUBLISHERS if moves else ())
        if not (publisher or holder):
            continue
        # A front's nginx is a process of this host, because it uses the host's network.
        front = next((name_of(one) for one in fronts if holder and _is_in_container(holder.pid, one["Id"])), "")
        if front in (settings.name, f"{settings.name}-next"):
            continue
        # The containers go on while Docker does not run, and then nobody can say which this one is.
        unlisted = holder and is_served(settings, hub) and _is_in_container(holder.pid, ANY_CONTAINER)
        if unlisted and containers is None:
            continue
        setting = settings.setting(port)
        used = f"{setting} {port} is taken by {f'container {publisher}' if publisher else holder}"
        if front:
            problems.append(f"{used} of the front {front}; set jupyterhub_front_name: {front}, which all hubs share")
        elif publisher and own:
            problems.append(f"{used}, the hub's own proxy; first run make site with jupyterhub_https: none")
        elif unlisted and not containers:
            problems.append(
                f"{used}, a process in a container that Docker does not list, possibly because of an option in "
                "daemon.json; see docs/how-to/docker.md#options-that-hide-dockers-data"
            )
        elif holder and (holder.name == "sshd" or (port == SSH_PORT and holder.name == "systemd")):
            problems.append(f"{used}, which serves SSH; choose another {setting}")
        else:
            problems.append(
                f"{used}; stop it, choose another {setting}, or let it pass requests to the hub "
                "(docs/how-to/behind-a-proxy.md)"
            )
    return problems


def conflicts(settings: FrontSettings, hub: str) -> list[str]:
    """Return a message for each other hub of this host that uses the same domain, or the ports in another way.

    :param hub: name of the hub.
    """
    domain = "" if settings.https == "none" else settings.domain
    site = Site(
        hub, settings.https, domain, settings.subdomains, settings.bind_address, settings.http_port,
        settings.https_port, hsts_seconds=0, trusted_proxies=[],
    )  # fmt: skip
    found = []
    try:
        for other in read_sites(settings.directory).values():
            if other.hub != hub:
                plan.check_conflict(site, other)
    except DeployError as error:
        found.append(str(error))
    return found


def firewall_problems(settings: FrontSettings, hub: str, exists: bool, rules: str) -> Findings:
    """Return what is wrong when the firewall of the host blocks ports of the front.

    A fault for a hub that has no front yet: Docker published its port, whatever the firewall said.

    :param hub: name of the hub.
    :param exists: whether the hub's container does.
    :param rules: the output of ``iptables -S``.
    """
    blocked = reachability.blocked_ports(rules, settings.ports)
    if not blocked or settings.bind_address.startswith("127."):
        return Findings([], [])
    ports = ",".join(map(str, blocked))
    problem = (
        f"the firewall of this host blocks port {ports}, which the front needs, for other machines; open it, with ufw: "
        f"ufw allow {ports}/tcp"
    )
    if exists and settings.https == "none" and not is_served(settings, hub) and not reachability.own_chains(rules):
        return Findings([f"{problem}; or set jupyterhub_bind_address: 127.0.0.1 if only this host uses it"], [])
    return Findings([], [problem])


def plain_problems(settings: FrontSettings) -> list[str]:
    """Return a message when strangers can sign up over plain HTTP at a public address."""
    if settings.https != "none" or not settings.plain_sign_up:
        return []
    everywhere = settings.bind_address == ALL_ADDRESSES
    addresses = reachability.own_addresses() if everywhere else [settings.bind_address]
    public = [address for address in addresses if ipaddress.ip_address(address).is_global]
    return [
        f"everybody can sign up, this host has the public address {address}, and without HTTPS passwords are "
        "sent unencrypted; set jupyterhub_https (docs/how-to/https.md), or jupyterhub_native_signup: approval or "
        "closed, or accept it with jupyterhub_insecure: true"
        for address in public[:1]
    ]


def ca_bundle_problems(settings: FrontSettings) -> list[str]:
    """Return a message when the file of authorities, which images and the hub use too, is missing."""
    # Without an own certificate, the system's file is needed only after Docker's packages, which bring it.
    installed_later = settings.ca_bundle == SYSTEM_CA_BUNDLE and settings.https != "own"
    if not settings.ca_bundle or os.path.isfile(settings.ca_bundle) or installed_later:
        return []
    return [f"jupyterhub_ca_bundle is {settings.ca_bundle}, and this host has no such file"]


def certificate_problems(settings: FrontSettings, hub: str) -> Findings:
    """Return what is wrong with the operator's certificate, or the settings of ACME.

    :param hub: name of the hub. A certificate that it uses already does not stop a run.
    """
    if settings.https == "acme":
        return _acme_problems(settings)
    if settings.https != "own":
        return Findings([], [])
    try:
        chain = certificate.pem_of("jupyterhub_tls_certificate", settings.certificate)
        key = certificate.pem_of("jupyterhub_tls_key", settings.key)
        if ca_bundle_problems(settings):  # already in the list
            return Findings([], [])
        faults, warnings = certificate.problems(chain, key, settings.names, settings.ca_bundle)
    except (DeployError, OSError) as error:
        return Findings([str(error)], [])
    what = f"the certificate for {settings.domain} (jupyterhub_tls_certificate)"
    shown = [f"{what}: {fault}" for fault in faults]
    warnings = [f"{what} {warning}" for warning in warnings]
    if os.path.isdir(os.path.join(settings.directory, own_directory(hub, chain, key))):
        return Findings([], shown + warnings)
    return Findings(shown, warnings)


def _acme_problems(settings: FrontSettings) -> Findings:
    try:
        faults = acme.problems(acme_settings(settings.acme), settings.names)
    except DeployError as error:
        return Findings([str(error)], [])
    warnings = []
    if settings.acme.get("challenge") == acme.HTTP and settings.http_port != acme.HTTP_PORT:
        warnings.append(
            f"jupyterhub_http_port is {settings.http_port}, and the ACME server connects to port {acme.HTTP_PORT} of "
            f"{settings.domain}; something has to forward it"
        )
    return Findings(faults, warnings)


def _is_in_container(pid: int, container_id: str) -> bool:
    """Return whether a process belongs to a container, by its control group.

    :param container_id: a regular expression for its id, such as ``ANY_CONTAINER``.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            return bool(re.search(container_id, file.read()))
    except OSError:
        return False
