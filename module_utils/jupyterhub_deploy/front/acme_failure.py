"""Turn what certbot prints when it fails into one error for the operator. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.front.acme import DNS, LOCK_SECONDS, AcmeSettings

# Characters of certbot's own words in an error.
_LONGEST = 300

# A challenge that the ACME server checked in vain.
_CHALLENGE = re.compile(r"^ *(?:Identifier|Domain): *(\S+)\n *Type: *(\S+)\n *Detail: *(.+)$", re.MULTILINE)

# Lines of certbot that say nothing about the error.
_NOISE = re.compile(
    r"^(Saving debug log|Account registered|Requesting|Renewing an existing|Processing|Simulating|Waiting \d+ seconds|"
    r"Encountered exception during recovery|An unexpected error occurred|Some challenges have failed|Ask for help|"
    r"Hint:|All renewals failed|The following|Failed to renew|\d+ renew failure|[-\s]*$|  /etc/)"
)
_UNRESOLVED = re.compile(
    r"could not resolve|NXDOMAIN|SERVFAIL|no such host|no valid A|unsuccessful response", re.IGNORECASE
)
_PYTHON_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")
_RATE_LIMIT = re.compile(r"too many|rate ?limit", re.IGNORECASE)

# Credentials of a DNS plugin that the operator needs to see in an error, and the length of the shortest secret.
_NO_SECRET = re.compile(r"(server|name|algorithm|port|endpoint|seconds)$")
_SHORTEST = 8

_PLUGIN = (
    "the plugin {plugin} cannot change the DNS ({text})",
    "check the credentials in jupyterhub_acme_dns, whether they may change this zone, and whether this host reaches "
    "the DNS server",
)

# What certbot prints before the ACME server checks a challenge, and what to say and to do: `{server}`, `{text}` and
# `{plugin}` are filled in. The first match counts.
_BEFORE = (
    (_RATE_LIMIT, "the ACME server {server} has reached a limit ({text})",
     "wait until then, and use jupyterhub_acme_server: staging while you try settings"),
    (r"requires external account", "the ACME server {server} requires an external account",
     "set jupyterhub_acme_eab to the key id and the HMAC key that its operator gave you"),
    (r"external account|field 'kid'|\bEAB\b|eab-hmac-key",
     "the ACME server {server} does not accept the external account ({text})",
     "check the key id and the HMAC key in jupyterhub_acme_eab; they may be valid for one registration only"),
    (r"unrecognized arguments: --dns-|does not appear to be installed",
     "certbot in the front's image has no plugin {plugin}",
     "name another one in jupyterhub_acme_dns, or add certbot-dns-{plugin} with its version to "
     "jupyterhub_images_front_extra_requirements"),
    (r"TXT record|PluginError|credentials|making query|base domain|target DNS server|binascii", *_PLUGIN),
    (r"SSLError|CERTIFICATE_VERIFY_FAILED", "the certificate of the ACME server {server} itself cannot be verified",
     "set jupyterhub_acme_ca_bundle to a PEM file with the authority that signed it"),
    (r"ConnectionError|Timeout|timed out|Max retries|NewConnectionError",
     "the ACME server {server} cannot be reached from this host",
     "check jupyterhub_acme_server, and the host's firewall and DNS"),
    (r"Unexpected response|ClientError|JSONDecodeError",
     "{server} does not answer like an ACME server ({text})",
     "check jupyterhub_acme_server, which has to be the URL of the server's directory"),
)  # fmt: skip


def explain(hub: str, names: Sequence[str], settings: AcmeSettings, output: str) -> str:
    """Return why there is no certificate, and what to do next.

    :param names: for which a certificate was requested.
    :param output: what certbot printed.
    """
    output = _masked(output, settings)
    found = _CHALLENGE.search(output)
    if found:
        what, next_step = _challenge(found[1], found[2], found[3].strip(), settings)
    else:
        what, next_step = _before(output, settings)
    return f"no certificate for {', '.join(names)} (hub {hub}): {what}; {next_step}"


def _challenge(name: str, kind: str, detail: str, settings: AcmeSettings) -> tuple[str, str]:
    """Return what is wrong with a name that the ACME server checked, and what to do.

    :param kind: the type of the ACME error, such as ``connection``.
    """
    server = urlsplit(settings.url).netloc
    detail = _without_token(detail)
    if kind == "caa":
        return f"the CAA records of {name} do not allow {server} to issue certificates", "add it to them"
    if _RATE_LIMIT.search(kind + detail):
        return f"the ACME server {server} has reached a limit ({detail})", "wait until then, then run make site again"
    if settings.challenge == DNS:
        how = "the hook" if settings.dns_hook else f"the plugin {settings.dns_plugin}"
        return (
            f"the ACME server {server} does not see the TXT record _acme-challenge.{name} that {how} sets ({detail})",
            f"check {how} in jupyterhub_acme_dns; if the DNS servers are slow to publish a record, let it wait longer "
            "(propagation_seconds)",
        )
    if kind == "dns" or _UNRESOLVED.search(detail):
        return (
            f"the ACME server {server} finds no address of {name} in the DNS",
            "correct jupyterhub_domain, or add an A or AAAA record with the public address of this host",
        )
    if kind == "connection":
        return (
            f"the ACME server {server} cannot connect to port 80 of {name} ({detail})",
            "let the name point to this host and open port 80 in all firewalls to it, or set "
            "jupyterhub_acme_challenge: dns",
        )
    return (
        f"port 80 of {name} does not give the ACME server {server} the answer of this host ({detail})",
        "let the name point to this host only, in A and AAAA records, without another web server in front of it",
    )


def _before(output: str, settings: AcmeSettings) -> tuple[str, str]:
    """Return what is wrong when the ACME server checked no name, and what to do."""
    lines = [line.strip() for line in output.splitlines() if not _NOISE.match(line)]
    if not lines:
        return (
            f"another certbot on this host has not ended after {LOCK_SECONDS // 60} minutes",
            "run make site again later",
        )
    server, text = urlsplit(settings.url).netloc, lines[-1][:_LONGEST]
    values = {"server": server, "text": text, "plugin": settings.dns_plugin or "of jupyterhub_acme_dns"}
    host = re.search(r"host='([^']+)'", lines[-1])
    if host and host[1] != urlsplit(settings.url).hostname:  # the provider of the DNS
        return _PLUGIN[0].format(**values), _PLUGIN[1]
    # The last line says most; lines before it may be about something that certbot could do without.
    for place in (lines[-1], output):
        for mark, what, next_step in _BEFORE:
            if re.search(mark, place):
                return what.format(**values), next_step.format(**values)
    if "An unexpected error occurred" in output and not _PYTHON_ERROR.match(text):
        return (
            f"the ACME server {server} refuses: {text}",
            "check jupyterhub_domain and jupyterhub_acme_email, or ask the operator of the server",
        )
    return f"certbot failed: {text}", "/var/log/certbot/letsencrypt.log in the container of the front has the details"


def _masked(output: str, settings: AcmeSettings) -> str:
    """Return what certbot printed without the secrets of the settings, which a plugin or a server may repeat."""
    secrets = [value for key, value in settings.dns_credentials.items() if not _NO_SECRET.search(key)]
    for secret in sorted([settings.eab_hmac_key, *map(str, secrets)], key=len, reverse=True):
        output = output.replace(secret, "…") if len(secret) >= _SHORTEST else output
    return output


def _without_token(detail: str) -> str:
    """Return the detail of a challenge in short: without the path of the challenge, which is different each time."""
    return re.sub(r"/\.well-known/acme-challenge/[\w-]+", "", detail)[:_LONGEST]
