"""Certbot's settings and command."""

from __future__ import annotations

import dataclasses

import pytest
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings, certonly, files, problems

NAMES = ["hub.example.com"]
HTTP = AcmeSettings("alice@example.com")
DNS = AcmeSettings(
    "alice@example.com", challenge="dns", dns_plugin="rfc2136",
    dns_credentials={"server": "192.0.2.53", "dns_rfc2136_name": "key", "secret": "c2VjcmV0,#'"},
)  # fmt: skip
EAB = dataclasses.replace(HTTP, eab_key_id="kid-1", eab_hmac_key="aG1hYyBrZXk")
PLACE = "acme/settings/lab"


def options(settings: AcmeSettings) -> dict[str, str]:
    """Return the settings in certbot's file."""
    lines = files("lab", settings)[f"{PLACE}/certbot.ini"].text.splitlines()
    return dict(line.split(" = ", 1) for line in lines)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
        ("staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
        ("https://acme.example.com/dir", "https://acme.example.com/dir"),
    ],
)
def test_server_is_a_word_or_a_url(server, url):
    assert options(dataclasses.replace(HTTP, server=server))["server"] == url


def test_http_uses_the_directory_that_nginx_serves():
    found = options(HTTP)
    assert (found["authenticator"], found["webroot-path"]) == ("webroot", "/etc/front/challenges")
    assert found["email"] == "alice@example.com"
    assert "register-unsafely-without-email" not in found
    assert list(files("lab", HTTP)) == [f"{PLACE}/certbot.ini"]


def test_email_is_optional():
    found = options(dataclasses.replace(HTTP, email=""))
    assert "email" not in found
    assert found["register-unsafely-without-email"] == "true"


def test_credentials_of_a_plugin_are_in_a_file_of_their_own():
    found = options(dataclasses.replace(DNS, dns_credentials={**DNS.dns_credentials, "propagation_seconds": "5"}))
    assert found["authenticator"] == "dns-rfc2136"
    assert found["dns-rfc2136-credentials"] == f"/etc/front/{PLACE}/dns.ini"
    assert found["dns-rfc2136-propagation-seconds"] == "5"
    assert files("lab", DNS)[f"{PLACE}/dns.ini"].text.splitlines() == [
        'dns_rfc2136_server = "192.0.2.53"',
        'dns_rfc2136_name = "key"',
        'dns_rfc2136_secret = "c2VjcmV0,#\'"',
    ]


def test_hook_is_told_what_to_do():
    settings = AcmeSettings(challenge="dns", dns_hook="#!/bin/sh\n")
    found = options(settings)
    assert (found["authenticator"], found["preferred-challenges"]) == ("manual", "dns")
    assert found["manual-auth-hook"] == f"/etc/front/{PLACE}/hook add"
    assert found["manual-cleanup-hook"] == f"/etc/front/{PLACE}/hook remove"
    assert files("lab", settings)[f"{PLACE}/hook"] == ("#!/bin/sh\n", 0o700)


@pytest.mark.parametrize("settings", [EAB, DNS, dataclasses.replace(HTTP, ca_bundle="PEM")])
def test_secrets_are_only_in_files_that_root_can_read(settings):
    for path, file in files("lab", settings).items():
        assert file.mode == 0o600, path
    for text in (" ".join(certonly("lab", NAMES, settings)), repr(settings)):
        assert "aG1hYyBrZXk" not in text
        assert "c2VjcmV0" not in text


def test_external_account():
    found = options(EAB)
    assert (found["eab-kid"], found["eab-hmac-key"]) == ("kid-1", "aG1hYyBrZXk")


def test_command_names_the_certificate_after_the_hub():
    command = certonly("lab", ["hub.example.com", "*.hub.example.com"], DNS)
    assert command[:4] == ["flock", "--wait", "900", "/etc/front/acme/front.lock"]
    assert command[4:] == [
        "certbot", "certonly", "--config", f"/etc/front/{PLACE}/certbot.ini", "--cert-name", "lab",
        "--domain", "hub.example.com", "--domain", "*.hub.example.com",
        "--renew-with-new-domains", "--keep-until-expiring",
    ]  # fmt: skip


def test_command_can_force_and_trusts_the_bundle():
    command = certonly("lab", NAMES, dataclasses.replace(HTTP, ca_bundle="PEM"), force=True)
    assert command[4:6] == ["env", f"REQUESTS_CA_BUNDLE=/etc/front/{PLACE}/ca.pem"]
    assert command[-1] == "--force-renewal"
    assert files("lab", dataclasses.replace(HTTP, ca_bundle="PEM"))[f"{PLACE}/ca.pem"].text == "PEM"


@pytest.mark.parametrize(
    "settings",
    [
        HTTP,
        DNS,
        EAB,
        dataclasses.replace(EAB, eab_hmac_key="YWI="),
        AcmeSettings(challenge="dns", dns_hook="#!/bin/sh\n"),
    ],
)
def test_good_settings_have_no_problems(settings):
    assert problems(settings, NAMES) == []


@pytest.mark.parametrize(
    ("settings", "names", "message"),
    [
        (dataclasses.replace(HTTP, server="le"), NAMES, "jupyterhub_acme_server is 'le'"),
        (dataclasses.replace(HTTP, server="http://acme.example.com"), NAMES, "begins with https://"),
        (dataclasses.replace(EAB, eab_hmac_key=""), NAMES, "both the key id and the HMAC key"),
        (dataclasses.replace(EAB, eab_hmac_key="abcde"), NAMES, "is not in base64url"),
        (dataclasses.replace(EAB, eab_hmac_key="ab+/"), NAMES, "is not in base64url"),
        (HTTP, ["*.hub.example.com"], "*.hub.example.com cannot be requested by HTTP"),
        (dataclasses.replace(DNS, dns_plugin=""), NAMES, "either a plugin"),
        (dataclasses.replace(DNS, dns_hook="#!/bin/sh\n"), NAMES, "either a plugin"),
        (dataclasses.replace(HTTP, email="alice\nserver = x"), NAMES, "spaces or line breaks"),
        (dataclasses.replace(DNS, dns_credentials={"secret": "a\nb"}), NAMES, "the credential secret"),
    ],
)
def test_wrong_settings_are_named(settings, names, message):
    (found,) = problems(settings, names)
    assert message in found
