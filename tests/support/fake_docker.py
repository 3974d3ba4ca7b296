"""A host with a fake Docker: its answers on a socket, and a ``dockerd`` that does not start."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info

VERSION = {"Version": "26.1.5+dfsg1", "ApiVersion": "1.45", "Components": [{"Name": "Engine"}]}
INFO = {
    "DockerRootDir": "/srv/docker",
    "Driver": "overlay2",
    "LiveRestoreEnabled": True,
    "ContainersRunning": 2,
    "Containers": 4,
    "Images": 3,
    "Debug": False,
    "Labels": [],
    "RegistryConfig": {
        "Mirrors": ["https://mirror.example.com/"],
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {"registry.example.com:5000": {"Secure": False}},
    },
}


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(path: Path, answers: dict[str, tuple[int, object]]) -> _UnixServer:
    """Answer HTTP on a Unix socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode() if content else b"")

        def address_string(self) -> str:
            return "local"

        def log_message(self, *args: object) -> None:
            pass

    server = _UnixServer(str(path), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def isolate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide this machine's Docker, files and service manager from the modules; return the directory of the fake ones."""
    monkeypatch.setattr(daemon_info, "BINARY_PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(daemon_info, "RECORD_FILE", str(tmp_path / "record.json"))
    monkeypatch.setattr(daemon_info, "ENABLED_LINK", str(tmp_path / "wants"))
    monkeypatch.setattr(daemon_info, "service_manager", lambda: "none")
    paths = {name: str(tmp_path / name) for name in ("socket_path", "config_file", "pid_file")}
    observe = daemon_info.observe
    monkeypatch.setattr(daemon_info, "observe", lambda minimum: observe(minimum, **paths))
    return tmp_path


def install_dockerd(places: Path, version: str, refusal: str = "") -> None:
    """Install a ``dockerd`` that has a version, and accepts each file or refuses it with a message."""
    (places / "bin").mkdir()
    program = places / "bin" / "dockerd"
    program.write_text(
        f"""#!/bin/sh
[ "$1" = --version ] && {{ echo 'Docker version {version}, build 5d6db84'; exit; }}
[ "$1" = --validate ] || exit 125
[ -z "{refusal}" ] && exit
echo "unable to configure the Docker daemon with file $3: {refusal}" >&2
exit 1
"""
    )
    program.chmod(0o755)
