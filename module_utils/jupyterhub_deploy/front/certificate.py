"""Certificates: validate those of the operator, and fetch the one that the front serves.

Both by TLS handshakes of the standard library, because the host's Python has no library that reads certificates. They
check what a browser checks: the key, the names, the dates and the chain.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import NotTextError, read_text

TIMEOUT = 10.0  # seconds for a connection
PEM = "-----BEGIN "
DAY = 24 * 3600
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
SOON = 14  # days before the end of a certificate from which on a run warns
NO_CERTIFICATE = "the file of the certificate has none in PEM format"
NO_KEY = "the file of the key has none in PEM format"
ENCRYPTED_KEY = "the key has a passphrase"
OTHER_KEY = "the key does not belong to the certificate"
NO_ALTERNATIVE_NAME = "it has no host name as subjectAltName, and browsers ignore its common name"
# The next ones as OpenSSL says them.
OTHER_NAME = "Hostname mismatch, certificate is not valid for"
EXPIRED = "certificate has expired"
# What the operator does next.
_NEXT = {
    NO_CERTIFICATE: "set jupyterhub_tls_certificate to the certificate in PEM format",
    NO_KEY: "set jupyterhub_tls_key to the private key in PEM format",
    ENCRYPTED_KEY: "remove it from jupyterhub_tls_key with `openssl pkey`",
    OTHER_KEY: (
        "set jupyterhub_tls_key to the key with which the certificate was requested, or jupyterhub_tls_certificate to "
        "the certificate of this key"
    ),
    NO_ALTERNATIVE_NAME: "request a certificate with {names} as subjectAltName",
    OTHER_NAME: "request a certificate for {names}, or correct jupyterhub_domain",
    EXPIRED: "renew it",
    "certificate is not yet valid": "wait, or correct the clock of this host",
}


class OtherCertificateError(DeployError):
    """Another certificate is served than the one that should be."""


class Certificate(NamedTuple):
    """What a certificate says: its names, who issued it, when it ends (seconds since the epoch), and how long it is
    valid in all (seconds)."""

    names: list[str]
    issuer: str
    expires: float
    lifetime: float

    @property
    def days(self) -> int:
        """The days until it ends; negative when it has ended."""
        return int((self.expires - time.time()) // DAY)


def pem_of(setting: str, value: str) -> str:
    """Return the text of a certificate or key.

    :param setting: name of the setting, for messages.
    :param value: its text, or the path of a file on this host.
    :raises DeployError: there is no such file, or it is not PEM.
    """
    if PEM in value:
        return value.strip() + "\n"
    try:
        text = read_text(value)
    except (OSError, NotTextError) as error:
        raise DeployError(f"{setting} cannot be read: {error}") from error
    if text is None:
        raise DeployError(f"{setting} is {value}, and this host has no such file; copy it there, or set its text")
    if PEM not in text:
        raise DeployError(f"{setting} is {value}, which is not in PEM format; convert it with openssl")
    return text.strip() + "\n"


def describe(chain: str, key: str) -> Certificate:
    """Return what a certificate says, whatever its names and dates are.

    :raises DeployError: OpenSSL cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = _written(folder, chain, key)
        fault, found = _checked(_server(paths, chain, key), _client(paths[0], partial=True, check_time=False))
    if found is None:
        raise DeployError(f"a certificate cannot be read ({fault})")
    return found


def problems(chain: str, key: str, names: list[str], ca_bundle: str = "") -> tuple[list[str], list[str]]:
    """Return what is wrong with a certificate, and what browsers may complain about.

    :param chain: PEM, the certificate first, then its intermediate authorities.
    :param key: PEM, without a passphrase.
    :param names: the host names that it is for; ``*.hub.example.com`` for all below one.
    :param ca_bundle: file with more authorities that the users' browsers trust.
    :returns: faults, because of which it is not used, and warnings.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = _written(folder, chain, key)
        try:
            server = _server(paths, chain, key)
        except DeployError as error:
            return [_with_next(str(error), names)], []
        faults, found = _faults(server, paths[0], names)
        if faults or not found:
            return [_with_next(fault, names) for fault in faults], []
        warnings = [f"ends in {found.days} days"] if found.days < SOON else []
        return [], warnings + _distrust(server, chain, names[0], ca_bundle)


def distrust(chain: str, key: str, name: str, ca_bundle: str = "") -> list[str]:
    """Return a warning if this host does not trust a certificate, for a name that it is for; see :func:`problems`.

    :raises DeployError: OpenSSL cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _distrust(_server(_written(folder, chain, key), chain, key), chain, name, ca_bundle)


def _distrust(server: ssl.SSLContext, chain: str, name: str, ca_bundle: str) -> list[str]:
    client = _client("")
    if ca_bundle:
        client.load_verify_locations(ca_bundle)
    fault, _ = _checked(server, client, _example(name))
    if not fault:
        return []
    lacks = chain.count("BEGIN CERTIFICATE") == 1 and not fault.startswith("self")
    append = "its file has one certificate: append the intermediate ones, or " if lacks else ""
    return [
        f"is not trusted by this host ({fault}); browsers may show a warning; {append}see docs/how-to/https.md for an "
        "authority of your own"
    ]


def fetch(address: str, port: int, name: str, trusted: str, check_time: bool = True) -> Certificate:
    """Fetch the certificate that is served for a name, and validate name, dates and chain.

    :param trusted: PEM of the certificate that should be served, with its intermediate authorities.
    :param check_time: whether one that has expired is an error.
    :raises OtherCertificateError: another one is served, which would be valid.
    :raises DeployError: nothing answers, or with a certificate that is not valid.
    """
    if PEM not in trusted:
        raise DeployError(f"the certificate of {name} is missing; run make site")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=trusted)
    if not check_time:
        client.verify_flags |= _NO_CHECK_TIME
    where = f"https://{name}:{port}/ (at {address})"
    try:
        with (
            socket.create_connection((address, port), TIMEOUT) as plain,
            client.wrap_socket(plain, server_hostname=name) as connection,
        ):
            found = _described(connection.getpeercert() or {})
            # All certificates of an authority would pass, because its own one is in the chain.
            same = connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(_first(trusted))
    except ssl.SSLCertVerificationError as error:
        raise DeployError(f"{where} is served with a wrong certificate: {error.verify_message}") from error
    except OSError as error:  # also ssl.SSLError
        raise DeployError(f"{where} does not answer: {error}") from error
    if not same:
        raise OtherCertificateError(f"{where} is served with another certificate, which ends in {found.days} days")
    return found


def _first(chain: str) -> str:
    """Return the first certificate of a chain, without what is before it."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return f"{begin}{chain.partition(begin)[2].partition(end)[0]}{end}"


def _written(folder: str, chain: str, key: str) -> tuple[str, str]:
    """Write both to files, because OpenSSL's interface in Python reads no strings; return their paths."""
    paths = os.path.join(folder, "chain"), os.path.join(folder, "key")
    for path, text in zip(paths, (chain, key)):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    return paths


def _server(paths: tuple[str, str], chain: str, key: str) -> ssl.SSLContext:
    """Return the context of a server with a certificate.

    :raises DeployError: OpenSSL cannot load it.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password is for an encrypted key: without it, OpenSSL would ask on the terminal.
        server.load_cert_chain(*paths, password="")
    except ssl.SSLError as error:
        raise DeployError(_unusable(error, chain, key)) from error
    return server


def _client(trusted: str, partial: bool = False, check_time: bool = True) -> ssl.SSLContext:
    """Return the context of a client that trusts the certificates in a file, or the host's authorities."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False  # browsers ignore it
    if trusted:
        client.load_verify_locations(trusted)
    else:
        client.load_default_certs()
    if partial:
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not check_time:
        client.verify_flags |= _NO_CHECK_TIME
    return client


def _checked(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "") -> tuple[str, Certificate | None]:
    """Do a handshake in memory, for any name or a certain one; return what is wrong, or the certificate."""
    client.check_hostname = bool(name)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name or None),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message.rstrip("."), None
            except ssl.SSLError as error:
                return str(error.reason or error), None
    return "", _described(ends[0].getpeercert() or {})


def _described(peer: dict[str, Any]) -> Certificate:
    issuer = {key: value for part in peer.get("issuer", ()) for key, value in part}
    names = [value for kind, value in peer.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    issued_by = issuer.get("organizationName") or issuer.get("commonName", "unknown")
    begins, ends = (ssl.cert_time_to_seconds(peer[name]) for name in ("notBefore", "notAfter"))
    return Certificate(names, issued_by, ends, ends - begins)


def _faults(server: ssl.SSLContext, path: str, names: list[str]) -> tuple[list[str], Certificate | None]:
    """Return all that is wrong with a certificate, and what it says. OpenSSL stops at the first fault.

    :param path: file of the certificate.
    """
    fault, found = _checked(server, _client(path, partial=True, check_time=False))
    if not found:
        return [fault], None
    clients = [(_client(path, partial=True), "")]
    if found.names:
        clients += [(_client(path, partial=True, check_time=False), _example(name)) for name in names]
    faults = {_checked(server, client, name)[0] for client, name in clients} - {""}
    return ([] if found.names else [NO_ALTERNATIVE_NAME]) + sorted(faults), found


def _example(name: str) -> str:
    """Return a host name for which a certificate for a name is valid."""
    return name.replace("*", "example").lower()


def _with_next(fault: str, names: list[str]) -> str:
    """Return a fault, with what the operator does next where that is known."""
    step = next((step for beginning, step in _NEXT.items() if fault.startswith(beginning)), "")
    return f"{fault}; {step.format(names=' and '.join(names))}" if step else fault


def _unusable(error: ssl.SSLError, chain: str, key: str) -> str:
    """Return why OpenSSL does not load a certificate; for most reasons it only says "PEM lib"."""
    if "BEGIN CERTIFICATE" not in chain:
        return NO_CERTIFICATE
    if "PRIVATE KEY" not in key:
        return NO_KEY
    if "ENCRYPTED" in key:
        return ENCRYPTED_KEY
    if error.reason == "KEY_VALUES_MISMATCH":
        return OTHER_KEY
    return f"OpenSSL cannot load it ({error.reason or error})"
