"""Certificates from an ACME server: certbot's settings and command. Pure: no I/O.

Certbot runs in the container of the front, where the host's directory ``/etc/jupyterhub-front`` is
``/etc/front``. :func:`files` returns what has to be there, and :func:`certonly` the command that gets a certificate.
``files/front/renew.py`` of the role ``jupyterhub_images`` renews it with the same settings, and
:mod:`front.acme_failure` explains why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HTTP, DNS = "http", "dns"
HTTP_PORT = 80  # of the challenge (RFC 8555, section 8.3)

# The directory of the front as its container sees it, and certbot's directory in it.
FRONT = "/etc/front"
CONFIG_DIR = f"{FRONT}/acme"
WEBROOT = f"{FRONT}/challenges"
LOCK = f"{CONFIG_DIR}/front.lock"

# Words for servers, next to the URL of any other.
SERVERS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

# The option ``acme`` of the modules jupyterhub_front and jupyterhub_host_info.
OPTIONS = {
    "email": {"type": "str", "default": ""},
    "server": {"type": "str", "default": "letsencrypt"},
    "ca_bundle": {"type": "str", "default": ""},
    "eab_key_id": {"type": "str", "default": "", "no_log": False},
    "eab_hmac_key": {"type": "str", "default": "", "no_log": True},
    "challenge": {"type": "str", "choices": ["http", "dns"], "default": "http"},
    "dns_plugin": {"type": "str", "default": ""},
    "dns_credentials": {"type": "str", "default": "", "no_log": True},
    "dns_hook": {"type": "str", "default": "", "no_log": True},
}

# Seconds to wait for another certbot: the loop in the container, or another run.
LOCK_SECONDS = 900


@dataclass(frozen=True)
class AcmeSettings:
    """How one hub gets its certificate.

    :ivar email: for the server's messages; may be empty.
    :ivar server: ``letsencrypt``, ``staging``, or the URL of a directory.
    :ivar ca_bundle: PEM text of the authorities that the server's own certificate is checked with; empty means the
        public ones.
    :ivar eab_key_id: the key id of an external account, empty when the server needs none.
    :ivar eab_hmac_key: its key, base64url.
    :ivar challenge: :data:`HTTP` or :data:`DNS`.
    :ivar dns_plugin: one of certbot's plugins, such as ``rfc2136``; empty with a hook.
    :ivar dns_credentials: the settings of the plugin, by certbot's names with or without ``dns_<plugin>_`` in front.
        ``propagation_seconds`` is how long certbot waits for the DNS servers.
    :ivar dns_hook: text of a script that adds a record (``hook add``) and removes it (``hook remove``), by certbot's
        variables ``CERTBOT_DOMAIN`` and ``CERTBOT_VALIDATION``.
    """

    email: str = ""
    server: str = "letsencrypt"
    ca_bundle: str = field(default="", repr=False)
    eab_key_id: str = ""
    eab_hmac_key: str = field(default="", repr=False)
    challenge: str = HTTP
    dns_plugin: str = ""
    dns_credentials: dict[str, str] = field(default_factory=dict, repr=False)
    dns_hook: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL of the server's directory."""
        return SERVERS.get(self.server, self.server)


class File(NamedTuple):
    """The text and the mode of a file; it belongs to root."""

    text: str
    mode: int


def problems(settings: AcmeSettings, names: Sequence[str]) -> list[str]:
    """Return what is wrong with the settings for a certificate, empty when nothing is."""
    found = []
    if not settings.url.startswith("https://"):
        found.append(
            f"jupyterhub_acme_server is {settings.server!r}; set it to letsencrypt, staging, or the URL of an ACME "
            "directory, which begins with https://"
        )
    if bool(settings.eab_key_id) != bool(settings.eab_hmac_key):
        found.append(
            "jupyterhub_acme_eab needs both the key id and the HMAC key; the provider of certificates has them"
        )
    if settings.eab_hmac_key and not _is_base64url(settings.eab_hmac_key):
        found.append("the HMAC key in jupyterhub_acme_eab is not in base64url; copy it again from the provider")
    wildcards = [name for name in names if name.startswith("*.")]
    if settings.challenge == HTTP and wildcards:
        found.append(
            f"a certificate for {wildcards[0]} cannot be requested by HTTP; set jupyterhub_acme_challenge: dns, and "
            "jupyterhub_acme_dns"
        )
    if settings.challenge == DNS and bool(settings.dns_plugin) == bool(settings.dns_hook):
        found.append("jupyterhub_acme_dns needs either a plugin with its credentials or a hook")
    lines = [settings.email, settings.url, settings.eab_key_id, settings.eab_hmac_key, settings.dns_plugin]
    if any(re.search(r"\s", value) for value in lines):
        found.append("the settings jupyterhub_acme_* cannot have spaces or line breaks in a value")
    found += [
        f"the credential {key} in jupyterhub_acme_dns has a line break or both kinds of quotation marks; certbot "
        "cannot read such a value"
        for key, value in settings.dns_credentials.items()
        if "\n" in str(value) or {'"', "'"} <= set(str(value))
    ]
    return found


def _is_base64url(key: str) -> bool:
    """Return whether certbot can decode the key of an external account, which may lack the padding."""
    bare = key.rstrip("=")
    return bool(re.fullmatch(r"[\w-]+", bare, re.ASCII)) and len(bare) % 4 != 1


def directory(hub: str) -> str:
    """Return the directory of a hub's settings in the container."""
    return f"{CONFIG_DIR}/settings/{hub}"


def files(hub: str, settings: AcmeSettings) -> dict[str, File]:
    """Return the files for a hub by their path relative to the front's directory; other files there are to be removed.

    :param hub: name of the hub, which becomes the name of its certificate.
    """
    place = directory(hub)[len(FRONT) + 1 :]
    found = {f"{place}/certbot.ini": File(_certbot_ini(hub, settings), 0o600)}
    if settings.challenge == DNS and settings.dns_plugin:
        found[f"{place}/dns.ini"] = File(_dns_ini(settings), 0o600)
    if settings.challenge == DNS and settings.dns_hook:
        found[f"{place}/hook"] = File(settings.dns_hook, 0o700)
    if settings.ca_bundle:
        found[f"{place}/ca.pem"] = File(settings.ca_bundle, 0o600)
    return found


def _certbot_ini(hub: str, settings: AcmeSettings) -> str:
    """Return certbot's settings for both the first request and renewals."""
    place = directory(hub)
    options = {
        "non-interactive": "true",
        "agree-tos": "true",
        "config-dir": CONFIG_DIR,
        "work-dir": "/run/certbot",
        "logs-dir": "/var/log/certbot",
        # In memory; each run begins a new one.
        "max-log-backups": "10",
        "no-directory-hooks": "true",
        "no-random-sleep-on-renew": "true",
        "server": settings.url,
        **({"email": settings.email} if settings.email else {"register-unsafely-without-email": "true"}),
    }
    if settings.eab_key_id:
        options.update({"eab-kid": settings.eab_key_id, "eab-hmac-key": settings.eab_hmac_key})
    if settings.challenge == HTTP:
        options.update({"authenticator": "webroot", "webroot-path": WEBROOT})
    elif settings.dns_plugin:
        plugin = f"dns-{settings.dns_plugin}"
        options.update({"authenticator": plugin, f"{plugin}-credentials": f"{place}/dns.ini"})
        seconds = settings.dns_credentials.get("propagation_seconds")
        if seconds is not None:
            options[f"{plugin}-propagation-seconds"] = str(seconds)
    else:
        options.update({
            "authenticator": "manual",
            "preferred-challenges": "dns",
            "manual-auth-hook": f"{place}/hook add",
            "manual-cleanup-hook": f"{place}/hook remove",
        })  # fmt: skip
    return "".join(f"{key} = {value}\n" for key, value in options.items())


def _dns_ini(settings: AcmeSettings) -> str:
    """Return the file with the credentials of a DNS plugin."""
    prefix = f"dns_{settings.dns_plugin.replace('-', '_')}_"
    lines = []
    for key, value in settings.dns_credentials.items():
        if key == "propagation_seconds":
            continue
        # Without quotation marks, a comma would make a list, and a # a comment.
        mark = "'" if '"' in str(value) else '"'
        lines.append(f"{key if key.startswith(prefix) else prefix + key} = {mark}{value}{mark}\n")
    return "".join(lines)


def certonly(hub: str, names: Sequence[str], settings: AcmeSettings, force: bool = False) -> list[str]:
    """Return the command for ``docker exec`` that requests a certificate, unless there is one that is not due.

    It has no secrets. It waits while another certbot runs, and changes nothing when it fails.

    :param names: of the certificate; the first is its common name.
    :param force: request one in any case, for example from another server.
    """
    place = directory(hub)
    bundle = ["env", f"REQUESTS_CA_BUNDLE={place}/ca.pem"] if settings.ca_bundle else []
    domains = [part for name in names for part in ("--domain", name)]
    return [
        "flock", "--wait", str(LOCK_SECONDS), LOCK, *bundle,
        "certbot", "certonly", "--config", f"{place}/certbot.ini", "--cert-name", hub, *domains,
        "--renew-with-new-domains", "--force-renewal" if force else "--keep-until-expiring",
    ]  # fmt: skip
