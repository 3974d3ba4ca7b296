"""A real hub of the hub image for the sign-in tests: without a proxy, with its own configuration and database.

Requests go to the hub directly, so a test sets ``X-Forwarded-For`` as the proxy would.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import requests
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB

from hosts.run import name as run_name
from support.hub_settings import hub_settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "roles/jupyterhub_images/files/hub/jupyterhub_deploy_hub"
TEMPLATE = ROOT / "roles/jupyterhub/templates/jupyterhub_config.py.j2"
#: The hub's name in its settings, which no hub of this machine has. Tests that spawn servers set a unique one.
HUB = run_name("signin-hub")
ADMIN = "admin"
ADMIN_PASSWORD = "a password by the test"
NO_PROXY = """
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    should_start = False
    routes = {}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)

    async def get_all_routes(self):
        return dict(self.routes)

c.JupyterHub.proxy_class = NoProxy
"""
#: Notebook servers in the hub's own process, which shows whether they are stopped.
SERVERS_INSIDE = """
from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

class ServerInside(Spawner):
    server_inside = None

    async def start(self):
        sockets = bind_sockets(0, "127.0.0.1")
        self.server_inside = HTTPServer(Application())
        self.server_inside.add_sockets(sockets)
        return "127.0.0.1", sockets[0].getsockname()[1]

    async def poll(self):
        return None if self.server_inside else 0

    async def stop(self, now=False):
        self.server_inside.stop()
        self.server_inside = None

c.JupyterHub.spawner_class = ServerInside
"""


def docker(*args: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return subprocess.run(["docker", *args], check=check, text=True, capture_output=True, input=stdin)


def names_of(hub: str) -> dict[str, str]:
    """Return the settings of a hub of that name whose servers and volumes begin with it."""
    return {"name": hub, "server_prefix": hub, "volume_prefix": f"{hub}-user-"}


def write_config(
    directory: Path,
    extra: str = "",
    signin: dict[str, Any] | None = None,
    secret_values: dict[str, Any] | None = None,
    **native: Any,
) -> None:
    """Write the configuration, its settings and the secrets as role ``jupyterhub`` does.

    `native` and `signin` override settings; `secret_values` are those of the authenticators.
    """
    settings = {**hub_settings(HUB, **native), **(signin or {})}
    config, kept = directory / "config", directory / "secrets"
    config.mkdir(parents=True, exist_ok=True)
    kept.mkdir(exist_ok=True)
    (config / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    text = TEMPLATE.read_text(encoding="utf-8").replace("{{ jupyterhub_extra_config }}", extra)
    (config / "jupyterhub_config.py").write_text(text, encoding="utf-8")
    (config / "authenticators.json").write_text(json.dumps({"values": secret_values or {}}))
    for name in ("cookie_secret", "proxy_token", "crypt_key", "api_token", "admin_password"):
        path = kept / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(ADMIN_PASSWORD if name == "admin_password" else secrets.token_hex(32), encoding="utf-8")


class HubContainer:
    """One hub: ``start`` it, send requests, ``remove`` it with its database."""

    def __init__(
        self, image: str, directory: Path, admin: str = ADMIN, socket: bool = False, address: str = "127.0.0.1:"
    ) -> None:
        self.image = image
        self.directory = directory
        self.admin = admin
        self.socket = socket
        self.address = address
        self.notebook_image = "example/notebook:1"
        self.name = run_name(f"signin-{uuid.uuid4().hex[:8]}")
        self.url = ""

    def arguments(self) -> list[str]:
        """Return options of ``docker run`` like those of role ``jupyterhub``, with the package of the work tree."""
        mounts = {
            f"{self.name}-data": "/data",
            str(self.directory / "config"): "/etc/jupyterhub/config:ro",
            str(self.directory / "secrets"): "/etc/jupyterhub/secrets:ro",
            str(PACKAGE): "/opt/jupyterhub-deploy/jupyterhub_deploy_hub:ro",
        }
        if self.socket:
            mounts["/var/run/docker.sock"] = "/var/run/docker.sock"
        environment = {
            "DOCKER_NOTEBOOK_IMAGE": self.notebook_image,
            "DOCKER_NETWORK_NAME": "bridge",
            "DOCKER_NOTEBOOK_DIR": "/home/jovyan/work",
            "JUPYTERHUB_ADMIN": self.admin,
        }
        flags = ["--hostname", self.hub_name(), "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        flags += ["--read-only", "--tmpfs", "/tmp", "--label", f"{LABEL_HUB}={self.name}"]
        flags += [part for host, inside in mounts.items() for part in ("--volume", f"{host}:{inside}")]
        return flags + [part for item in environment.items() for part in ("--env", "=".join(item))]

    def hub_name(self) -> str:
        """Return the hub's name in its settings, by which its own servers reach it."""
        settings = json.loads((self.directory / "config" / "settings.json").read_text(encoding="utf-8"))
        return str(settings["name"])

    def start(self, wait_seconds: float = 90) -> HubContainer:
        """Start the hub and wait until it answers; otherwise raise an error with the logs."""
        publish = ["--publish", f"{self.address}:8081"]
        docker("run", "--detach", "--name", self.name, *publish, *self.arguments(), self.image)
        return self.wait(wait_seconds)

    def wait(self, wait_seconds: float = 90) -> HubContainer:
        """Wait until the hub answers at the port that Docker has assigned (cookies do not depend on it)."""
        published = docker("port", self.name, "8081/tcp", check=False).stdout.split()
        self.url = f"http://{published[0]}/hub/" if published else ""
        end = time.monotonic() + wait_seconds
        while time.monotonic() < end and self.running():
            try:
                if requests.get(self.url + "health", timeout=5).ok:
                    return self
            except requests.ConnectionError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"the hub did not start:\n{self.logs()}")

    def running(self) -> bool:
        """Return whether the container runs."""
        return docker("inspect", "--format", "{{.State.Running}}", self.name, check=False).stdout.strip() == "true"

    def logs(self) -> str:
        """Return the hub's log."""
        done = docker("logs", self.name, check=False)
        return done.stdout + done.stderr

    def logged(self, pattern: str) -> bool:
        """Return whether the hub has logged `pattern`; Docker delivers logs with a delay."""
        end = time.monotonic() + 10
        while not (found := re.search(pattern, self.logs())) and time.monotonic() < end:
            time.sleep(0.2)
        return found is not None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the image with the hub's database and configuration, in the hub if it runs."""
        if self.running():
            return docker("exec", self.name, *command, check=False)
        return docker("run", "--rm", *self.arguments(), self.image, *command, check=False)

    def sql(self, statement: str) -> list[list[Any]]:
        """Read or change the hub's database from another process."""
        code = (
            "import json, sqlite3, sys; db = sqlite3.connect('/data/jupyterhub.sqlite', timeout=10);"
            "print(json.dumps(db.execute(sys.argv[1]).fetchall())); db.commit()"
        )
        done = self.run("python3", "-c", code, statement)
        assert done.returncode == 0, done.stderr
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows

    def stop(self, timeout: int = 10) -> int:
        """Stop the container as Docker does; return its exit code: 137 when Docker killed it after the timeout."""
        docker("stop", "--timeout", str(timeout), self.name)
        return int(docker("inspect", "--format", "{{.State.ExitCode}}", self.name).stdout)

    def restart(self) -> HubContainer:
        """Restart the container, as an operator's change would."""
        docker("restart", self.name)
        return self.wait()

    def remove(self) -> None:
        """Remove the container and its database."""
        docker("rm", "--force", self.name, check=False)
        docker("volume", "rm", "--force", f"{self.name}-data", check=False)


class Browser:
    """A browser at a network address, which keeps cookies and sends the ``_xsrf`` of each form."""

    def __init__(self, hub: HubContainer, address: str = "192.0.2.1") -> None:
        self.hub = hub
        self.session = requests.Session()
        self.session.headers.update({"X-Forwarded-For": address, "User-Agent": "test"})

    def get(self, path: str, **options: Any) -> requests.Response:
        """Open a page."""
        return _utf8(self.session.get(self.hub.url + path, timeout=20, **options))

    def post(self, path: str, data: dict[str, str], form: str | None = None, **options: Any) -> requests.Response:
        """Fill in the form on page `form` (default: `path` itself) and send it, without following redirects."""
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.get(form or path).text)
        assert found, f"no form on {form or path}"
        options.setdefault("allow_redirects", False)
        return _utf8(self.session.post(self.hub.url + path, data={"_xsrf": found[1], **data}, timeout=20, **options))

    def sign_up(self, name: str, password: str, confirmation: str | None = None) -> requests.Response:
        """Send the sign-up form."""
        fields = {"username": name, "signup_password": password}
        return self.post("signup", {**fields, "signup_password_confirmation": confirmation or password})

    def sign_in(self, name: str, password: str) -> requests.Response:
        """Sign in; 302 when it worked."""
        return self.post("login?next=/hub/home", {"username": name, "password": password})

    def signed_in(self) -> bool:
        """Return whether this browser's user is signed in."""
        return self.get("home", allow_redirects=False).status_code == 200

    def change_password(self, old: str, new: str) -> requests.Response:
        """Change the user's password."""
        fields = {"old_password": old, "new_password": new, "new_password_confirmation": new}
        return self.post("change-password", fields)


def _utf8(answer: requests.Response) -> requests.Response:
    answer.encoding = "utf-8"  # as in the page's meta element
    return answer


def shown(answer: requests.Response) -> str:
    """Return the message of a page: the error above the sign-in form, or the alert of another form."""
    place = r'class="(?:login_error|alert alert-[a-z]+(?: col-xs-6)?)"'
    found = re.search(place + r"[^>]*>(.*?)</(?:p|div)>", answer.text, re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split()) if found else ""
