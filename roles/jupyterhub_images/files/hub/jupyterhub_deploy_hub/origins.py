"""An origin of its own for each user (``alice.hub.example.com``), with ``jupyterhub_subdomains``.

Users decide what their servers send to a browser. On the hub's own origin, such a page can use the hub's pages in the
name of anyone who opens it. So servers are on other origins, and the hub answers on none of them: somebody who signed
in there would have a session where the user's pages can use it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from tornado import web

#: Hex digits of the digest in the label of a name that is not a valid label. JupyterHub has 7, for which somebody can
#: find a name with the label of another user within seconds.
DIGITS = 20
#: JupyterHub's labels with a digest. No other label has two dashes, except those of IDNA, which begin with ``xn--``.
_SHORTENED = re.compile(r"^(u-[a-z0-9]{1,8}--)[0-9a-f]{7}((?:--[a-z]+)?\..*)")


def configure(c: Any, subdomains: bool, public_url: str) -> None:
    """Configure `c` for origins of users below the host of `public_url`, or for the same origin for all."""
    c.JupyterHub.subdomain_host = public_url.rstrip("/") if subdomains else ""
    if subdomains:
        c.JupyterHub.subdomain_hook = subdomain
        # Cookies that no page on another origin of this domain can replace. They need HTTPS.
        c.JupyterHub.cookie_host_prefix_enabled = urlsplit(public_url).scheme == "https"


def subdomain(name: str, domain: str, kind: str) -> str:
    """Return the host name of a user or service: JupyterHub's own, with more digits of the digest."""
    from jupyterhub.utils import subdomain_hook_idna

    return lengthened(name, subdomain_hook_idna(name, domain, kind))


def lengthened(name: str, host: str) -> str:
    """Return a host name of JupyterHub's for `name`; one with a digest gets more of its digits. Pure."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGITS]
    return _SHORTENED.sub(rf"\g<1>{digest}\g<2>", host)


class Elsewhere(web.RequestHandler):
    """The hub's pages on a user's origin: redirect to the hub's own, and accept nothing."""

    def initialize(self, hub: str) -> None:
        """Get the URL of the hub's own origin."""
        self.hub = hub

    def get(self) -> None:
        """Redirect, as for a server that was started before users had origins of their own."""
        self.redirect(self.hub + self.request.uri)

    head = get

    def check_xsrf_cookie(self) -> None:
        """Refuse all other requests in the same way."""

    def post(self) -> None:
        """Refuse."""
        raise web.HTTPError(403, f"The hub is at {self.hub}")

    put = patch = delete = options = post


def close_others(application: Any, hub: str) -> None:
    """Close the hub's pages on all hosts below its own.

    `hub` is the URL of its origin; nothing happens when it is empty. Servers and the deployment reach the hub by other
    names, on which browsers find no user's pages.
    """
    if hub:
        domain = re.escape(str(urlsplit(hub).hostname))
        application.add_handlers(rf".+\.{domain}\.?", [(r"/hub(?:/.*)?", Elsewhere, {"hub": hub})])
