"""An ACME server and a DNS server for tests, on a machine of their own: Debian's pebble and bind9.

The zone ``example.test`` is empty at first. Pebble asks the DNS server for the names that it checks, and fetches
challenges from port 80 of their addresses.
"""

from __future__ import annotations

import json
import re
import time
from typing import NamedTuple

import requests

from hosts.hosts import Host

ZONE = "example.test"
#: Pebble refuses to issue certificates for this name.
REFUSED = f"refused.{ZONE}"
#: The one external account.
EAB_KEY_ID, EAB_HMAC_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

_DIRECTORY = "/srv/acme"
_NAMED = f"""\
include "{_DIRECTORY}/key.conf";
options {{ directory "{_DIRECTORY}"; listen-on {{ any; }}; listen-on-v6 {{ none; }}; recursion no; }};
zone "{ZONE}" {{ type primary; file "zone"; allow-update {{ key acme; }}; }};
"""
_ZONE = """\
$TTL 1
@ IN SOA ns hostmaster 1 60 60 60 1
@ IN NS ns
ns IN A 127.0.0.1
"""
ECHO_PORT = 8080
_ECHO = f"""\
import socketserver

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        lines = []
        while (line := self.rfile.readline().strip()):
            lines.append(line.lower())
        if b"upgrade: echo" not in lines:
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\npong")
            return
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: upgrade\\r\\n\\r\\n")
        while (line := self.rfile.readline()):
            self.wfile.write(line)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100

Server(("0.0.0.0", {ECHO_PORT}), Echo).serve_forever()
"""


class Pebble(NamedTuple):
    """A running ACME server.

    Attributes:
        port: of its API.
        url: of its directory.
        root: PEM text of the authority that issues its certificates; a new one with each start.
    """

    port: int
    url: str
    root: str


class AcmeHost:
    """The machine with the servers.

    Args:
        host: of kind ``acme``; a fresh one, or one on which another process has started the servers.

    Attributes:
        authority: PEM text of the certificate of the ACME servers' own API.
        tsig: name, algorithm and secret of the key that may change the zone.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ports = iter(range(14000, 14100, 2))
        if host.run(["test", "-e", f"{_DIRECTORY}/named.conf"], check=False).returncode:
            self._start_dns()
        self.authority = host.read(f"{_DIRECTORY}/api.pem")
        secret = re.search(r'secret "([^"]+)"', host.read(f"{_DIRECTORY}/key.conf"))
        assert secret
        self.tsig = ("acme", "HMAC-SHA256", secret[1])

    def _start_dns(self) -> None:
        host = self.host
        host.run(
            f"mkdir -p {_DIRECTORY} && cd {_DIRECTORY} && tsig-keygen acme > key.conf && "
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout api-key.pem -out api.pem -days 30 "
            f"-subj /CN={host.address} -addext subjectAltName=IP:{host.address} 2>&1"
        )
        host.write(f"{_DIRECTORY}/named.conf", _NAMED)
        host.write(f"{_DIRECTORY}/zone", _ZONE)
        host.run(f"chown -R bind: {_DIRECTORY} && named -u bind -c {_DIRECTORY}/named.conf")

    def start(self, seconds: int = 90 * 86400, eab: bool = False, http_port: int = 80) -> Pebble:
        """Start an ACME server, beside those that run.

        Args:
            seconds: how long its certificates are valid.
            eab: whether it requires an external account.
            http_port: of the hosts that it checks by HTTP.

        Raises:
            AssertionError: it does not answer; has its log.
        """
        port = next(self._ports)
        settings = {
            "listenAddress": f"0.0.0.0:{port}",
            "managementListenAddress": f"0.0.0.0:{port + 1}",
            "certificate": f"{_DIRECTORY}/api.pem",
            "privateKey": f"{_DIRECTORY}/api-key.pem",
            "httpPort": http_port,
            "tlsPort": 443,
            "certificateValidityPeriod": seconds,
            "domainBlocklist": [REFUSED],
            "externalAccountBindingRequired": eab,
            "externalAccountMACKeys": {EAB_KEY_ID: EAB_HMAC_KEY} if eab else {},
        }
        file = f"{_DIRECTORY}/pebble-{port}"
        self.host.write(f"{file}.json", json.dumps({"pebble": settings}))
        self.host.run(
            f"PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0 nohup pebble -config {file}.json "
            f"-dnsserver 127.0.0.1:53 > {file}.log 2>&1 & echo $! > {file}.pid"
        )
        session = requests.Session()
        session.trust_env = False
        known = self.host.state / "acme.pem"
        known.write_text(self.authority, encoding="utf-8")
        for _ in range(60):
            try:
                answer = session.get(f"https://{self.host.address}:{port + 1}/roots/0", verify=str(known), timeout=5)
                return Pebble(port, f"https://{self.host.address}:{port}/dir", answer.text)
            except requests.ConnectionError:
                time.sleep(0.5)
        raise AssertionError(f"pebble does not answer: {self.host.read(f'{file}.log')}")

    def stop(self, pebble: Pebble) -> None:
        """End an ACME server."""
        self.host.run(f"kill $(cat {_DIRECTORY}/pebble-{pebble.port}.pid)")

    def asked(self, pebble: Pebble, path: str) -> int:
        """Return how many requests an ACME server got for a path of its API, such as ``order-plz``."""
        return self.host.read(f"{_DIRECTORY}/pebble-{pebble.port}.log").count(f"POST /{path} ->")

    def start_echo(self) -> str:
        """Start a server behind the front, and return its address and port.

        It answers ``pong``, and echoes lines after an upgrade of the connection.
        """
        self.host.write(f"{_DIRECTORY}/echo.py", _ECHO)
        self.host.run(f"nohup python3 {_DIRECTORY}/echo.py > {_DIRECTORY}/echo.log 2>&1 &")
        return f"{self.host.address}:{ECHO_PORT}"

    def set_address(self, name: str, address: str) -> None:
        """Let a name in the zone have one IPv4 address."""
        name_of_key, _, secret = self.tsig
        lines = ["server 127.0.0.1", f"update delete {name}. A", f"update add {name}. 1 A {address}", "send", ""]
        self.host.run(["nsupdate", "-y", f"hmac-sha256:{name_of_key}:{secret}"], stdin="\n".join(lines))

    def records(self, name: str) -> list[str]:
        """Return the TXT records of a name."""
        return self.host.run(["dig", "+short", "@127.0.0.1", name, "TXT"]).stdout.split()
