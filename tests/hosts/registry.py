"""A private container registry for tests: Debian's docker-registry with TLS and a password, on a machine of its own."""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple

import requests

from .hosts import Host

PORT = 5000


class Registry(NamedTuple):
    """A running registry.

    Attributes:
        host: the machine it runs on.
        server: ``address:port``, the beginning of the names of its images.
        username: of the one account.
        password: of the one account.
        certificate: PEM text of its certificate, which no machine trusts yet.
    """

    host: Host
    server: str
    username: str
    password: str
    certificate: str


def start(host: Host) -> Registry:
    """Start the registry on a fresh host of kind ``registry`` and wait until it answers.

    Raises:
        AssertionError: it did not within half a minute; has the registry's log.
    """
    password = secrets.token_urlsafe(16)
    address = host.address
    host.run(
        "mkdir -p /srv/registry && cd /srv/registry && "
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 "
        f"-subj /CN={address} -addext subjectAltName=IP:{address} 2>&1 && "
        "htpasswd -iBc htpasswd alice",
        stdin=password,
    )
    host.write(
        "/srv/registry/config.yml",
        f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: /srv/registry/data}}, delete: {{enabled: true}}}}
http: {{addr: "0.0.0.0:{PORT}", tls: {{certificate: /srv/registry/cert.pem, key: /srv/registry/key.pem}}}}
auth: {{htpasswd: {{realm: test, path: /srv/registry/htpasswd}}}}
""",
    )
    host.run("nohup docker-registry serve /srv/registry/config.yml > /srv/registry/log 2>&1 &")
    made = Registry(host, f"{address}:{PORT}", "alice", password, host.read("/srv/registry/cert.pem"))
    for _ in range(60):
        if _answers(made):
            return made
        time.sleep(0.5)
    raise AssertionError(f"the registry does not answer: {host.read('/srv/registry/log')}")


def _answers(registry: Registry) -> bool:
    session = requests.Session()
    session.trust_env = False  # neither a proxy nor a certificate bundle of the environment
    known = registry.host.state / "registry.pem"
    known.write_text(registry.certificate, encoding="utf-8")
    try:
        answer = session.get(
            f"https://{registry.server}/v2/",
            auth=(registry.username, registry.password), timeout=5, verify=str(known),
        )  # fmt: skip
    except requests.RequestException:
        return False
    return answer.status_code == 200
