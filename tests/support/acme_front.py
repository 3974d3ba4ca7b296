"""The front's image in a container with a network of its own, one name, and a server behind it; for tests of ACME."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.jupyterhub_deploy.front import acme

from hosts.images import docker

HUB = "jupyterhub"
_HTTP = """\
user www-data;
error_log stderr;
pid /run/nginx.pid;
events {{}}
http {{
  access_log off;
  server {{
    listen 80;
    location /.well-known/acme-challenge/ {{ root /etc/front/challenges; }}
  }}
{https}}}
"""
_HTTPS = """\
  server {{
    listen 443 ssl;
    ssl_certificate /etc/front/acme/live/{hub}/fullchain.pem;
    ssl_certificate_key /etc/front/acme/live/{hub}/privkey.pem;
    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 1h;
    }}
  }}
"""


class Front:
    """A running front.

    Args:
        image: of the front.
        name: of the container; it must not exist.
        directory: becomes its ``/etc/front``.
        renew_seconds: between two rounds of the loop.
    """

    def __init__(self, image: str, name: str, directory: Path, renew_seconds: float = 3600) -> None:
        self.name, self.directory = name, directory
        self.configure()
        # As the role starts it, but for the network: the ports are not this machine's.
        docker(
            "run", "--detach", "--name", name, "--volume", f"{directory}:/etc/front",
            "--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/nginx", "--tmpfs", "/var/log",
            "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--cap-add", "SETUID", "--cap-add", "SETGID",
            "--cap-add", "CHOWN", "--security-opt", "no-new-privileges",
            "--env", f"FRONT_RENEW_SECONDS={renew_seconds}", image,
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return docker("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", self.name)

    def configure(self, upstream: str = "") -> None:
        """Write nginx's configuration; with a server behind it, which needs a certificate."""
        https = _HTTPS.format(hub=HUB, upstream=upstream) if upstream else ""
        (self.directory / "nginx.conf").write_text(_HTTP.format(https=https), encoding="utf-8")

    def execute(self, command: list[str]) -> tuple[int, str]:
        """Run a command in it; return its exit code and output."""
        done = subprocess.run(
            ["docker", "exec", self.name, *command],
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    def serve(self, upstream: str) -> None:
        """Serve what a server behind it answers, with the certificate."""
        self.configure(upstream)
        code, output = self.execute(["nginx", "-c", "/etc/front/nginx.conf", "-s", "reload"])
        assert code == 0, output
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection((self.address, 443), timeout=5).close()
                return
            time.sleep(0.1)
        raise AssertionError(f"nginx does not listen: {self.logs()}")

    def request(self, names: list[str], settings: acme.AcmeSettings, force: bool = False) -> tuple[int, str]:
        """Write certbot's settings and request a certificate; return the exit code and the output."""
        for path, file in acme.files(HUB, settings).items():
            target = self.directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.text, encoding="utf-8")
            target.chmod(file.mode)
        return self.execute(acme.certonly(HUB, names, settings, force))

    @property
    def certificate(self) -> str:
        """PEM text of the certificate on the disk and its chain; empty when there is none."""
        path = self.directory / "acme/live" / HUB / "fullchain.pem"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def last_renewal(self) -> dict[str, Any]:
        """Return the result of the last round, waiting for the first one."""
        path = self.directory / "acme/last_renewal.json"
        for _ in range(100):
            if path.exists():
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
            time.sleep(0.5)
        raise AssertionError(f"no round of renewals has ended: {self.logs()}")

    def logs(self) -> str:
        """Return what it has printed."""
        done = subprocess.run(["docker", "logs", self.name], check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)  # fmt: skip
        return done.stdout

    def remove(self) -> None:
        """Remove the container."""
        subprocess.run(["docker", "rm", "--force", "--volumes", self.name], check=False, capture_output=True)
