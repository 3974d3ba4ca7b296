"""A hub, its proxy and a front of its own as role ``jupyterhub`` creates them, by its modules only: faster than
site.yml, and with every result at hand."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import requests

import jupyterhub_front
import jupyterhub_guard
import jupyterhub_hub
import jupyterhub_proxy
import jupyterhub_resources
from support.hub_http import HubSession
from support.hub_settings import hub_settings
from support.modules import run
from support.named_hub import NamedHub
from support.poller import Notebook

ROOT = Path(__file__).resolve().parents[2]


class ModuleSite(NamedHub):
    """One hub with a name of its own. Nothing exists before :meth:`prepare`.

    Args:
        name: the hub's name, from ``hosts.run.name``.
        hub, proxy, notebook, front: names of the images.
        config_dir: a temporary directory of the test.

    Attributes:
        original: the image of the first proxy.
        directory: the front's.
        settings: of settings.json, on top of the test's defaults.
        sign_in_secrets: those of authenticators.
        front_settings: more options of the front, such as those of HTTPS.
        proxy_url: the proxy's own URL, when it was run.
    """

    def __init__(self, name: str, hub: str, proxy: str, notebook: str, front: str, config_dir: str) -> None:
        super().__init__(name)
        self.image, self.proxy_image, self.notebook_image, self.front_image = hub, proxy, notebook, front
        self.original = proxy
        self.config_dir, self.directory = config_dir, Path("/etc", f"{name}-front")
        self.extra_config = ""
        self.settings: dict[str, Any] = {}
        self.sign_in_secrets: dict[str, Any] = {}
        self.front_settings: dict[str, Any] = {}
        self.proxy_url = ""

    def prepare(self) -> None:
        """Create networks, volume, secrets and the front."""
        run(jupyterhub_resources, **self.resource_arguments())
        self.run_front()

    def resource_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_resources``."""
        return {
            "name": self.name,
            "networks": [f"{self.name}-network", f"{self.name}-control"],
            "fixed_networks": [f"{self.name}-front"],
            "volumes": [f"{self.name}-data"],
            "secrets_dir": f"{self.config_dir}/secrets",
        }

    def front_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_front``."""
        return {
            "name": f"{self.name}-front",
            "directory": str(self.directory),
            "image": self.front_image,
            "hub": self.name,
            "bind_address": "127.0.0.1",
            "http_port": self.port,
            "health_timeout": 60,
            **self.front_settings,
        }

    def proxy_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_proxy``."""
        return {
            "name": f"{self.name}-proxy",
            "hub": self.name,
            "image": self.proxy_image,
            "api_host": f"{self.name}-proxy-api",
            "token_file": f"{self.config_dir}/secrets/proxy_token",
            "api_token_file": f"{self.config_dir}/secrets/api_token",
            "network": f"{self.name}-network",
            "control_network": f"{self.name}-control",
            "front": f"{self.name}-front",
            "front_directory": str(self.directory),
            "front_network": f"{self.name}-front",
            "health_timeout": 60,
            "host_routing": self.settings.get("subdomains", False),
        }

    def hub_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_hub``."""
        template = jinja2.Template((ROOT / "roles/jupyterhub/templates/jupyterhub_config.py.j2").read_text())
        return {
            "name": self.name,
            "image": self.image,
            "notebook_image": self.notebook_image,
            "environment": {
                "DOCKER_NETWORK_NAME": f"{self.name}-network",
                "DOCKER_NOTEBOOK_DIR": "/home/jovyan/work",
                "JUPYTERHUB_ADMIN": "admin",
            },
            "config_dir": self.config_dir,
            "config_files": {
                "jupyterhub_config.py": template.render(jupyterhub_extra_config=self.extra_config),
                "settings.json": json.dumps({**hub_settings(self.name), **self.settings}),
            },
            "public_url": self.settings.get("public_url", ""),
            "subdomains": self.settings.get("subdomains", False),
            "sign_in": self.sign_in_secrets,
            "data_volume": f"{self.name}-data",
            "networks": [f"{self.name}-control", f"{self.name}-network"],
            "public_probe": f"{self.proxy_url or f'{self.url}/'}hub/health",
            "health_timeout": 60,
        }

    def guard_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_guard``."""
        return {
            "name": self.name,
            "image": self.front_image,
            "network": f"{self.name}-network",
            "ports": [self.port],
            "health_timeout": 60,
        }

    def run_guard(self, **options: Any) -> dict[str, Any]:
        """Run the guard's module; return its result."""
        return run(jupyterhub_guard, **{**self.guard_arguments(), **options})

    def run_front(self, **options: Any) -> dict[str, Any]:
        """Run the front's module; return its result."""
        return run(jupyterhub_front, **{**self.front_arguments(), **options})

    def run_proxy(self, **options: Any) -> dict[str, Any]:
        """Run the proxy's module; return its result."""
        result = run(jupyterhub_proxy, **self.proxy_arguments(), **options)
        self.proxy_url = str(result["url"])
        return result

    def run_hub(self, **options: Any) -> dict[str, Any]:
        """Run the hub's module; return its result."""
        return run(jupyterhub_hub, **{**self.hub_arguments(), **options})

    def notebook(self, name: str) -> Notebook:
        """Sign a user up, and start their server with a kernel and its open web socket."""
        session = HubSession(self.url)
        password = secrets.token_hex(8)
        session.sign_up(name, password)
        assert session.sign_in(name, password)
        return Notebook(session, name)

    def observe(self, part: str = "") -> tuple[str, str, int]:
        """Return identity and start time of the hub (or ``proxy``), and what users get from the hub."""
        container = self.client.containers.get(f"{self.name}-{part}" if part else self.name)
        answered = requests.get(f"{self.url}/hub/health", timeout=10).status_code
        return str(container.id), str(container.attrs["State"]["StartedAt"]), answered

    def names(self) -> list[str]:
        """Return the names of its containers but the front, also of stopped ones, without the site's name."""
        return [name.removeprefix(self.name) for name in self.containers() if name != f"{self.name}-front"]

    def admin_password(self) -> str:
        """Return the admin's generated password."""
        return Path(self.config_dir, "secrets", "admin_password").read_text().strip()

    def sign_in(self, name: str, password: str) -> requests.Session | None:
        """Sign in by the form; return the session, or None when refused."""
        session = requests.Session()
        page = session.get(f"{self.url}/hub/login", timeout=10)
        form = {"username": name, "password": password, "_xsrf": session.cookies.get("_xsrf", path="/hub/")}
        assert page.ok
        session.post(f"{self.url}/hub/login", data=form, timeout=30, allow_redirects=False)  # or a server is spawned
        return session if session.get(f"{self.url}/hub/home", timeout=10).url.endswith("/hub/home") else None

    def destroy(self) -> None:
        """Remove it, the front included."""
        super().destroy()
        shutil.rmtree(self.directory, ignore_errors=True)


def killed_run(module: str, step: int | str, arguments: dict[str, Any], scratch: Path) -> bool:
    """Run a module that is killed by SIGKILL right after its n-th change to Docker.

    Args:
        step: which; ``"rename:2"`` for the second rename.

    Returns:
        Whether it was killed; a module that makes fewer changes has to succeed.
    """
    file = scratch / "arguments.json"
    file.write_text(json.dumps(arguments))
    command = [sys.executable, str(ROOT / "tests/support/killed_run.py"), module, str(step), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), f"{module} failed: {done.stdout}{done.stderr}"
    return done.returncode != 0
