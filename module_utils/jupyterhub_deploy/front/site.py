"""What the front serves for one hub, and where its files are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically

# The directory of the front in its container; on the host it is an option of the module.
MOUNTED = "/etc/front"
CONFIG = "nginx.conf"
SITES = "sites"  # one JSON file per hub
OWN = "own"  # certificates of the operator's: own/<hub>/<digest>/
ACME = "acme"  # certbot's directory: acme/live/<hub>/
# Written by the loop in the front's container that renews certificates (renew.py of its image).
LAST_RENEWAL = "acme/last_renewal.json"
CHALLENGES = "challenges"  # what certbot writes for HTTP-01, and nginx serves
CHAIN, KEY = "fullchain.pem", "privkey.pem"  # certbot's names
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  (compared, and written for nginx)


@dataclass(frozen=True)
class Site:
    """What the front serves for one hub.

    :param hub: name of the hub.
    :param https: ``own`` and ``acme`` end TLS here; ``behind`` leaves it to another proxy; ``none`` has no TLS.
    :param domain: the host name in the users' browsers; empty with ``none``, which has a port for itself.
    :param subdomains: whether each user has a host name of their own below the domain.
    :param bind_address: IPv4 address of the host that users reach; ``0.0.0.0`` means all, also those of IPv6.
    :param http_port: redirects to HTTPS; with ``behind``, the port that the other proxy uses; with ``none``, the hub's.
    :param https_port: not used with ``behind`` and ``none``.
    :param hsts_seconds: ``max-age`` of Strict-Transport-Security; 0 sends no such header.
    :param trusted_proxies: addresses and networks of the other proxy, for ``behind`` and ``none``.
    :param certificate: directory of the certificate below that of the front, empty while there is none.
    """

    hub: str
    https: str
    domain: str
    subdomains: bool
    bind_address: str
    http_port: int
    https_port: int
    hsts_seconds: int
    trusted_proxies: list[str]
    certificate: str = ""

    @property
    def ends_tls(self) -> bool:
        """Whether the front needs a certificate for it."""
        return self.https in ("acme", "own")

    @property
    def has_own_port(self) -> bool:
        """Whether all names of its port are the hub's."""
        return self.https == "none"

    @property
    def local_address(self) -> str:
        """Where this host reaches it."""
        return "127.0.0.1" if self.bind_address == ALL_ADDRESSES else self.bind_address

    @property
    def listens(self) -> set[str]:
        """Where the front serves it over HTTP, such as ``127.0.0.1:8000``."""
        return {f"{address}:{self.http_port}" for address in ("127.0.0.1", self.bind_address)}

    @property
    def url(self) -> str:
        """The URL in the users' browsers."""
        if self.has_own_port:
            host = "localhost" if self.bind_address == ALL_ADDRESSES else self.bind_address
            return f"http://{host}:{self.http_port}/"
        port = "" if self.https_port == 443 or not self.ends_tls else f":{self.https_port}"
        return f"https://{self.domain}{port}/"


def own_directory(hub: str, chain: str, key: str) -> str:
    """Return the directory of a certificate of the operator's, below that of the front."""
    digest = hashlib.sha256((chain + key).encode()).hexdigest()[:16]
    return f"{OWN}/{hub}/{digest}"


def read_sites(directory: str) -> dict[str, Site]:
    """Return the sites of all hubs of this host, by hub.

    :raises DeployError: a file is damaged.
    """
    folder = os.path.join(directory, SITES)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    sites = [_read(os.path.join(folder, name)) for name in names if name.endswith(".json")]
    return {site.hub: site for site in sites}


def write_site(directory: str, hub: str, site: Site | None) -> None:
    """Write the file of a hub, or remove it."""
    _write(os.path.join(directory, SITES, f"{hub}.json"), site)


def read_waiting(directory: str, hub: str) -> Site | None:
    """Return what the front is to serve when the hub's proxy has given up the port; ``None`` if it waits for nothing.

    :raises DeployError: the file is damaged.
    """
    path = _waiting(directory, hub)
    return _read(path) if os.path.exists(path) else None


def write_waiting(directory: str, hub: str, site: Site | None) -> None:
    """Write the file that :func:`read_waiting` reads, or remove it."""
    _write(_waiting(directory, hub), site)


def _waiting(directory: str, hub: str) -> str:
    return os.path.join(directory, SITES, f"{hub}.waiting")


def _read(path: str) -> Site:
    try:
        values = json.loads(read_text(path) or "")
        values.pop("port", None)  # of an earlier version; front.target has it now
        return Site(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise DeployError(f"{path} is damaged ({error}); remove it and run make site for that hub") from error


def _write(path: str, site: Site | None) -> None:
    if site:
        write_atomically(path, json.dumps(dataclasses.asdict(site), indent=2) + "\n", parents=True)
    elif os.path.exists(path):
        os.unlink(path)
