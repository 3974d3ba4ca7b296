from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import certificate

from support.factories.certificates import Authority, key_pem, new_key, self_signed
from support.tls import serve_certificate

NAME = "hub.example.com"
MISMATCH = f"Hostname mismatch, certificate is not valid for '{NAME}'; request a certificate for {NAME}, or correct "
MISMATCH += "jupyterhub_domain"
EXPIRED = "certificate has expired; renew it"
NO_ALTERNATIVE = "it has no host name as subjectAltName, and browsers ignore its common name; request a certificate "
OTHER_KEY = (
    "the key does not belong to the certificate; set jupyterhub_tls_key to the key with which the certificate was "
    "requested, or jupyterhub_tls_certificate to the certificate of this key"
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def bundle(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "bundle.pem"
    path.write_text(authority.root)
    return str(path)


def test_a_good_certificate(authority: Authority, bundle: str) -> None:
    issued = authority.issue(NAME, f"*.{NAME}")
    assert certificate.problems(*issued, [NAME, f"*.{NAME}"], bundle) == ([], [])


@pytest.mark.parametrize(
    ("names", "days", "expected"),
    [
        (["other.example.com"], 90, [MISMATCH]),
        (["*.example.org", "HUB.example.net"], 90, [MISMATCH]),
        ([NAME], -1, [EXPIRED]),
        (["other.example.com"], -1, [MISMATCH, EXPIRED]),
    ],
)
def test_names_and_dates(authority: Authority, names: list[str], days: float, expected: list[str]) -> None:
    issued = authority.issue(*names, days=days)
    assert certificate.problems(*issued, [NAME]) == (expected, [])


def test_a_certificate_that_is_not_valid_yet(authority: Authority) -> None:
    issued = authority.issue(NAME, days=90, since=2)
    assert certificate.problems(*issued, [NAME]) == (
        ["certificate is not yet valid; wait, or correct the clock of this host"],
        [],
    )


def test_a_certificate_without_the_wildcard(authority: Authority) -> None:
    issued, names = authority.issue(NAME), [NAME, f"*.{NAME}"]
    expected = [
        "Hostname mismatch, certificate is not valid for 'example.hub.example.com'; request a certificate for "
        "hub.example.com and *.hub.example.com, or correct jupyterhub_domain"
    ]
    assert certificate.problems(*issued, names) == (expected, [])


def test_a_certificate_with_a_common_name_only() -> None:
    expected = [f"{NO_ALTERNATIVE}with hub.example.com and *.hub.example.com as subjectAltName", EXPIRED]
    issued, names = self_signed(NAME, [], days=-1), [NAME, f"*.{NAME}"]
    assert certificate.problems(*issued, names) == (expected, [])


def test_the_common_name_does_not_count_beside_an_address() -> None:
    assert certificate.problems(*self_signed(NAME, ["192.0.2.10"]), [NAME]) == ([MISMATCH], [])


def test_the_key_of_another_certificate(authority: Authority) -> None:
    chain, key = authority.issue(NAME, f"*.{NAME}").chain, authority.issue(NAME).key
    assert certificate.problems(chain, key, [NAME, f"*.{NAME}"]) == ([OTHER_KEY], [])


def test_a_key_with_a_passphrase_does_not_ask_for_it(authority: Authority) -> None:
    chain, key = authority.issue(NAME).chain, key_pem(new_key(), b"secret")
    expected = "the key has a passphrase; remove it from jupyterhub_tls_key with `openssl pkey`"
    assert certificate.problems(chain, key, [NAME]) == ([expected], [])


def test_a_file_without_a_certificate(authority: Authority) -> None:
    issued = authority.issue(NAME)
    expected = "the file of the certificate has none in PEM format; set jupyterhub_tls_certificate to the certificate "
    assert certificate.problems(issued.key, issued.key, [NAME]) == ([f"{expected}in PEM format"], [])


def test_a_file_without_a_key(authority: Authority) -> None:
    issued = authority.issue(NAME)
    expected = "the file of the key has none in PEM format; set jupyterhub_tls_key to the private key in PEM format"
    assert certificate.problems(issued.chain, issued.chain, [NAME]) == ([expected], [])


def test_a_chain_without_its_intermediate_authority(authority: Authority, bundle: str) -> None:
    faults, warnings = certificate.problems(*authority.issue(NAME, intermediate=False), [NAME], bundle)
    assert faults == []
    assert warnings == [
        "is not trusted by this host (unable to get local issuer certificate); browsers may show a warning; its file "
        "has one certificate: append the intermediate ones, or see docs/how-to/https.md for an authority of your own"
    ]


def test_an_authority_that_the_host_does_not_know(authority: Authority) -> None:
    faults, warnings = certificate.problems(*authority.issue(NAME), [NAME])
    assert faults == []
    assert warnings[0].startswith("is not trusted by this host (")
    assert warnings[0].endswith("); browsers may show a warning; see docs/how-to/https.md for an authority of your own")


def test_a_certificate_without_an_authority_lacks_no_intermediate_one() -> None:
    faults, warnings = certificate.problems(*self_signed(NAME, [NAME]), [NAME])
    assert faults == []
    assert re.fullmatch(
        r"is not trusted by this host \(self.signed cert.*\); browsers may show a warning; see docs/.*", warnings[0]
    )


def test_a_certificate_that_ends_soon(authority: Authority, bundle: str) -> None:
    assert certificate.problems(*authority.issue(NAME, days=5.5), [NAME], bundle) == ([], ["ends in 5 days"])


@pytest.mark.parametrize("days", [30.5, -2.5])
def test_a_certificate_is_described_whatever_its_dates_are(authority: Authority, days: float) -> None:
    found = certificate.describe(*authority.issue(NAME, "other.example.com", days=days))
    assert found.names == [NAME, "other.example.com"]
    assert found.days == days // 1


def test_what_is_not_a_certificate_is_not_described(authority: Authority) -> None:
    issued = authority.issue(NAME)
    with pytest.raises(DeployError, match="the file of the certificate has none in PEM format"):
        certificate.describe(issued.key, issued.key)


def test_text_and_files(tmp_path: Path) -> None:
    path = tmp_path / "hub.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    assert certificate.pem_of("x", str(path)) == certificate.pem_of("x", "-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"jupyterhub_tls_key is .*hub\.pem, and this host has no such file"),
        (b"\x30\x82\xff", r"jupyterhub_tls_key cannot be read: .* is not text in UTF-8"),
        (b"secret", r"jupyterhub_tls_key is .*hub\.pem, which is not in PEM format; convert it with openssl"),
    ],
)
def test_a_file_that_is_none(content: bytes | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "hub.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeployError, match=expected):
        certificate.pem_of("jupyterhub_tls_key", str(path))


def test_fetch_describes_the_certificate(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue(NAME)
    with serve_certificate(issued, tmp_path) as port:
        found = certificate.fetch("127.0.0.1", port, NAME, issued.chain)
    assert (found.names, found.issuer, found.days) == ([NAME], "Example University", 89)


def test_fetch_refuses_another_certificate(authority: Authority, tmp_path: Path) -> None:
    other = authority.issue(NAME, intermediate=False)
    expected = rf"https://{NAME}:\d+/ \(at 127.0.0.1\) is served with a wrong certificate"
    with serve_certificate(authority.issue(NAME), tmp_path) as port, pytest.raises(DeployError, match=expected):
        certificate.fetch("127.0.0.1", port, NAME, other.chain)


def test_fetch_refuses_another_certificate_of_the_same_authority(authority: Authority, tmp_path: Path) -> None:
    old, new = authority.issue(NAME, days=5.5), authority.issue(NAME)
    expected = r"is served with another certificate, which ends in 5 days"
    with serve_certificate(old, tmp_path) as port, pytest.raises(certificate.OtherCertificateError, match=expected):
        certificate.fetch("127.0.0.1", port, NAME, new.chain)


def test_fetch_where_nothing_answers() -> None:
    with pytest.raises(DeployError, match=r"does not answer: \[Errno 111\] Connection refused"):
        certificate.fetch("127.0.0.1", 1, NAME, Authority().root)
