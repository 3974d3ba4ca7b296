"""A hub of a test's own with HTTPS: its own front, ports, and an authority that issues its certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.factories.certificates import Authority
from support.hub_http import HubSession
from support.local_site import LocalSite
from support.ports import free_port

DOMAIN = "hub.example.com"


class HttpsSite(LocalSite):
    """A hub that gets HTTPS when the settings of :meth:`secure` are its own.

    Args:
        name: the hub's name, from ``hosts.run.name``.
        folder: where its certificates are.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.authority = Authority()
        self.folder = folder
        self.bundle = folder / "root.pem"
        self.bundle.write_text(self.authority.root, encoding="utf-8")
        self.http_port, self.https_port = free_port(), free_port()

    @property
    def secure_url(self) -> str:
        """The URL in the users' browsers, without a trailing slash."""
        return f"https://{DOMAIN}:{self.https_port}"

    def secure(self) -> dict[str, Any]:
        """Write a new certificate; return the settings that use it."""
        issued = self.authority.issue(DOMAIN)
        for name, text in (("hub.pem", issued.chain), ("hub.key", issued.key)):
            (self.folder / name).write_text(text, encoding="utf-8")
        return {
            "jupyterhub_https": "own", "jupyterhub_domain": DOMAIN, "jupyterhub_http_port": self.http_port,
            "jupyterhub_https_port": self.https_port, "jupyterhub_tls_certificate": str(self.folder / "hub.pem"),
            "jupyterhub_tls_key": str(self.folder / "hub.key"),
        }  # fmt: skip

    def session(self) -> HubSession:
        """Return a session with the hub at its HTTPS address."""
        session = HubSession(self.secure_url)
        session.verify = str(self.bundle)
        return session
