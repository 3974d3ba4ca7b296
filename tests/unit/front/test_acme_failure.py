"""One clear error from what certbot 5.8 prints."""

from __future__ import annotations

import dataclasses

import pytest
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings
from ansible.module_utils.jupyterhub_deploy.front.acme_failure import explain

HTTP = AcmeSettings("alice@example.com")
PLUGIN = dataclasses.replace(HTTP, challenge="dns", dns_plugin="rfc2136", dns_credentials={"server": "192.0.2.53"})
HOOK = dataclasses.replace(HTTP, challenge="dns", dns_hook="#!/bin/sh\n")
OWN = dataclasses.replace(HTTP, server="https://acme.example.com/dir")

CHALLENGE = """\
Saving debug log to /var/log/certbot/letsencrypt.log
Renewing an existing certificate for hub.example.com

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Identifier: hub.example.com
  Type:   {kind}
  Detail: {detail}

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot. Ensure that the \
listed identifiers serve their content from the provided --webroot-path/-w.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
BEFORE = """\
Saving debug log to /var/log/certbot/letsencrypt.log
Requesting a certificate for hub.example.com
{text}
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile \
/var/log/certbot/letsencrypt.log or re-run Certbot with -v for more details.
"""
PATH = "/.well-known/acme-challenge/iASz7Aeb0eZhvC4Xt7ErhKCdWCsSrg3qQDDnR_q3JEc"


@pytest.mark.parametrize(
    ("settings", "kind", "detail", "what", "next_step"),
    [
        (
            HTTP, "connection", f'Get "http://hub.example.com:80{PATH}": could not resolve URL "http://hub.example.com"',
            "finds no address of hub.example.com in the DNS", "jupyterhub_domain",
        ),
        (
            HTTP, "dns", "DNS problem: NXDOMAIN looking up A for hub.example.com - check that a DNS record exists",
            "finds no address of hub.example.com in the DNS", "A or AAAA record",
        ),
        (
            HTTP, "connection",
            f'Get "http://hub.example.com:80{PATH}": dial tcp 192.0.2.1:80: connect: connection refused',
            "cannot connect to port 80 of hub.example.com (Get \"http://hub.example.com:80\": dial tcp 192.0.2.1:80: "
            "connect: connection refused)", "open port 80 in all firewalls",
        ),
        (
            HTTP, "unauthorized", f"192.0.2.1: Invalid response from http://hub.example.com{PATH}: 404",
            "port 80 of hub.example.com does not give the ACME server", "without another web server in front",
        ),
        (HTTP, "caa", "CAA record for example.com prevents issuance", "CAA records", "add it to them"),
        (HTTP, "rateLimited", "too many failed authorizations (5)", "has reached a limit", "wait until then"),
        (
            PLUGIN, "dns", "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.hub.example.com",
            "TXT record _acme-challenge.hub.example.com that the plugin rfc2136 sets", "propagation_seconds",
        ),
        (
            HOOK, "unauthorized", "Incorrect TXT record found at _acme-challenge.hub.example.com",
            "TXT record _acme-challenge.hub.example.com that the hook sets", "check the hook",
        ),
    ],
)  # fmt: skip
def test_a_name_that_the_server_checked_in_vain(settings, kind, detail, what, next_step):
    text = explain("lab", ["hub.example.com"], settings, CHALLENGE.format(kind=kind, detail=detail))
    assert text.startswith("no certificate for hub.example.com (hub lab): ")
    assert what in text
    assert next_step in text
    assert "\n" not in text
    assert PATH not in text


@pytest.mark.parametrize(
    ("settings", "text", "what", "next_step"),
    [
        (
            HTTP, "An unexpected error occurred:\nOrder included an identifier for which issuance is forbidden by "
            'policy: "hub.example.com"',
            'refuses: Order included an identifier for which issuance is forbidden by policy: "hub.example.com"',
            "jupyterhub_domain",
        ),
        (
            HTTP, "An unexpected error occurred:\ntoo many certificates (5) already issued for this exact set of "
            "identifiers in the last 168h0m0s, retry after 2026-11-28 12:00:00 UTC",
            "reached a limit (too many certificates (5)", "staging",
        ),
        (
            OWN, "Unable to register an account with ACME server. Server requires external account binding. Please use "
            "--eab-kid and --eab-hmac-key.", "the ACME server acme.example.com requires an external account",
            "set jupyterhub_acme_eab",
        ),
        (
            OWN, "Unable to register an account with ACME server. Error returned by the ACME server: the field 'kid' "
            "references a key that is not known to the ACME server", "does not accept the external account",
            "check the key id",
        ),
        (
            OWN, "An unexpected error occurred:\nrequests.exceptions.SSLError: HTTPSConnectionPool(host="
            "'acme.example.com', port=443): Max retries exceeded with url: /dir (Caused by "
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
            "self-signed certificate')))",
            "the certificate of the ACME server acme.example.com itself", "jupyterhub_acme_ca_bundle",
        ),
        (
            OWN, "An unexpected error occurred:\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host="
            "'acme.example.com', port=443): Max retries exceeded with url: /dir",
            "acme.example.com cannot be reached from this host", "jupyterhub_acme_server",
        ),
        (
            OWN, "An unexpected error occurred:\nacme.errors.ClientError: Unexpected response Content-Type: text/html",
            "acme.example.com does not answer like an ACME server", "the URL of the server's directory",
        ),
        (
            PLUGIN, "Encountered exception during recovery: certbot.errors.PluginError: Encountered error deleting TXT "
            "record: The peer didn't like the signature we sent\nEncountered error adding TXT record: The peer didn't "
            "like the signature we sent",
            "the plugin rfc2136 cannot change the DNS (Encountered error adding TXT record: The peer didn't like",
            "check the credentials",
        ),
        (
            PLUGIN, "Encountered error when making query: The DNS operation timed out.",
            "the plugin rfc2136 cannot change the DNS", "check the credentials",
        ),
        (
            dataclasses.replace(PLUGIN, dns_plugin="cloudflare"),
            "certbot: error: unrecognized arguments: --dns-cloudflare-credentials=/etc/front/acme/settings/lab/dns.ini",
            "has no plugin cloudflare", "add certbot-dns-cloudflare with its version",
        ),
        (
            PLUGIN, "The configured target DNS server (ns.example.com) is not a valid IPv4 or IPv6 address. A hostname "
            "is not allowed.", "cannot change the DNS (The configured target DNS server (ns.example.com) is not",
            "check the credentials",
        ),
        (
            PLUGIN, "Encountered exception during recovery: binascii.Error: Incorrect padding\nAn unexpected error "
            "occurred:\nbinascii.Error: Incorrect padding", "the plugin rfc2136 cannot change the DNS (binascii.Error",
            "check the credentials",
        ),
        (
            dataclasses.replace(PLUGIN, dns_plugin="ovh", server=OWN.server),
            "Exception reading Public Suffix List url https://example.com/list\n"
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='example.com', port=443)\n"
            "Unexpected error determining zone identifier for hub.example.com: HTTPSConnectionPool(host="
            "'eu.api.ovh.com', port=443): Max retries exceeded with url: /1.0/auth/time",
            "the plugin ovh cannot change the DNS (Unexpected error determining zone", "whether this host reaches",
        ),
        (
            HTTP, "An unexpected error occurred:\nSomething unheard of", "refuses: Something unheard of",
            "ask the operator of the server",
        ),
        (
            HTTP, "An unexpected error occurred:\nOSError: [Errno 28] No space left on device",
            "certbot failed: OSError: [Errno 28] No space left on device", "/var/log/certbot/letsencrypt.log",
        ),
        (HTTP, "Something unheard of", "certbot failed: Something unheard of", "/var/log/certbot/letsencrypt.log"),
    ],
)  # fmt: skip
def test_an_error_before_the_server_checks_names(settings, text, what, next_step):
    found = explain("lab", ["hub.example.com", "*.hub.example.com"], settings, BEFORE.format(text=text))
    assert found.startswith("no certificate for hub.example.com, *.hub.example.com (hub lab): ")
    assert what in found
    assert next_step in found
    assert "\n" not in found


def test_a_lock_that_another_certbot_keeps():
    assert "another certbot on this host has not ended after 15 minutes" in explain(
        "lab", ["hub.example.com"], HTTP, ""
    )


def test_secrets_that_certbot_repeats_are_not_shown():
    credentials = {"server": "dns.example.com", "api_token": "0123456789"}
    settings = dataclasses.replace(PLUGIN, dns_credentials=credentials, eab_hmac_key="abcdefgh")
    text = "Error adding TXT record at dns.example.com with 0123456789 and abcdefgh"
    shown = explain("lab", ["hub.example.com"], settings, BEFORE.format(text=text))
    assert "(Error adding TXT record at dns.example.com with … and …)" in shown
