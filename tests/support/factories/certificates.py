"""Certificates for tests: an authority, and what it issues."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Issued(NamedTuple):
    """A certificate with those of its intermediate authorities, and its key, both PEM."""

    chain: str
    key: str


class Authority:
    """A certificate authority, with an intermediate authority that issues certificates."""

    def __init__(self, name: str = "Example University") -> None:
        self._root_key, self._key = _key(), _key()
        root = _name(f"{name} Root")
        self._name = _name(name)
        self.root = _pem(_certificate(root, root, self._root_key, self._root_key, authority=True))
        self.intermediate = _pem(_certificate(self._name, root, self._key, self._root_key, authority=True))

    def issue(self, *names: str, days: float = 90, since: float = -1, intermediate: bool = True) -> Issued:
        """Issue a certificate.

        Args:
            names: host names; the first is the subject's common name.
            days: from now until it ends; negative when it has ended.
            since: days from now until it is valid.
            intermediate: whether the chain has the intermediate authority.
        """
        key = _key()
        since = min(since, days - 1)
        made = _certificate(_name(names[0]), self._name, key, self._key, list(names), days, since)
        return Issued(_pem(made) + (self.intermediate if intermediate else ""), key_pem(key))


def self_signed(common_name: str, names: list[str], days: float = 90) -> Issued:
    """Return a certificate that no authority has signed.

    Args:
        common_name: of the subject.
        names: host names and IPv4 addresses that it has as subjectAltName.
        days: from now until it ends; negative when it has ended.
    """
    key, subject = _key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return Issued(_pem(_certificate(subject, subject, key, key, names, days, min(-1, days - 1))), key_pem(key))


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    """Return a key as PEM."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )  # fmt: skip
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()  # fmt: skip


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a key that belongs to no certificate."""
    return _key()


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signed_by: ec.EllipticCurvePrivateKey,
    names: list[str] | None = None, days: float = 90, since: float = -1, authority: bool = False,
) -> x509.Certificate:  # fmt: skip
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=since))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
    )
    if names:
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(IPv4Address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        )
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(signed_by, hashes.SHA256())
