"""The configuration of nginx in the front. Pure: no I/O.

One server for each hub and port, and one for requests with a name that no hub has, except at the port of a hub
without HTTPS, which has it for itself. The version of the configuration, a
digest of its text, is served at :data:`VERSION_PATH`, so that the module sees whether nginx uses it.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.front import target
from ansible.module_utils.jupyterhub_deploy.front.site import (
    ACME,
    ALL_ADDRESSES,
    CHAIN,
    CHALLENGES,
    KEY,
    MOUNTED,
    Site,
)

IPV6 = "/proc/net/if_inet6"  # exists where the kernel has IPv6
VERSION_PATH = "/.well-known/jupyterhub-front"
VERSION = f"location = {VERSION_PATH} {{ default_type text/plain; return 200 @version@; }}"

# Limits of the hub's pages, most of them for one client's address, which a whole class may share.
HUB_BODY = "2m"  # bytes: the hub's pages send small forms
HUB_CONNECTIONS = 1000  # each start of a server holds a connection for its progress
# The pages for signing in and signing up take the hub longest. Of these requests, so many a second reach it; so many
# more do not wait, then so many wait, and others are refused. 100 users who sign in within a minute need 5 a second.
SIGN_IN_RATE = 10
SIGN_IN_AT_ONCE = 20
SIGN_IN_WAITING = 280
RETRY_SECONDS = (SIGN_IN_AT_ONCE + SIGN_IN_WAITING) // SIGN_IN_RATE
# Of one address, so that nobody takes all connections of the front: a class of 200 with 20 each.
SERVER_CONNECTIONS = 4000
# How long an upload to a user's server, or a download, may pause. A slow browser reads the next part only then.
SERVER_PAUSE = "1h"

ANY_VERSION: tuple[int, ...] = (0, 0, 0)
HTTP2, HTTP2_DIRECTIVE = "http2 on;", (1, 25, 1)  # the first version; before, it is a parameter of ``listen``
REJECT, REJECTS = "ssl_reject_handshake on;", (1, 19, 4)  # the first version; before, other names get a certificate
# For the server that a port has by default. With ``reuseport``, the container that replaces this one listens beside it.
DEFAULT = " default_server reuseport backlog=4096"

# Mozilla's intermediate profile, version 5.7 (https://wiki.mozilla.org/Security/Server_Side_TLS), without DHE, which
# only browsers before 2014 need.
TLS = """\
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
ssl_prefer_server_ciphers off;
ssl_session_timeout 1d;
ssl_session_cache shared:tls:10m;
ssl_session_tickets off;"""

# A reload leaves open connections, such as web sockets of kernels, to the old worker processes for a day.
MAIN = """\
# Managed by Ansible: the next run overwrites changes made here.
user www-data;
worker_processes auto;
worker_shutdown_timeout 1d;
pid /run/nginx.pid;
error_log stderr warn;
include /run/limits*.conf;  # start.sh: as many open files as the container may have
events {
    worker_connections 16384;
}
http {
"""

HTTP = """\
# The addresses of users' pages can contain tokens. The hub logs requests without them.
access_log off;
error_log stderr crit;
server_tokens off;
default_type application/octet-stream;
large_client_header_buffers 8 32k;  # as many cookies as the hub's own server accepts
client_header_timeout 20s;
client_body_timeout 60s;
send_timeout 60s;
client_max_body_size 0;
server_names_hash_bucket_size 512;  # for the longest domains
# A client has an IPv4 address, or a /64 of IPv6, of which it can use any address. nginx does not start to use another
# key in a zone that it has, so a change of the key needs other names of the zones.
map $binary_remote_addr $client {
    default $binary_remote_addr;
    "~(?s)^\\x00{10}\\xff{2}(?<ipv4>.{4})\\z" $ipv4;  # ::ffff:192.0.2.1
    "~(?s)^(?<network>.{8}).{8}\\z" $network;
}
limit_conn_zone $client zone=hub_pages_of_client:2m;
limit_conn_zone $client zone=servers_of_client:2m;
limit_conn_status 429;
# The pages for signing in, as the hub understands the path: it decodes none of it. With several authenticators, the
# path has the name of one. A request for a token may have a password as well.
map $request_uri $signs_in { default 0; "~^/hub/([^/?]+/)?(login|signup)" 1; "~^/hub/api/users/[^/?]+/tokens" 1; }
map $signs_in $client_that_signs_in { default ""; 1 $client; }  # nginx does not limit requests with an empty value
limit_req_zone $client_that_signs_in zone=sign_in_of_address:2m rate=@rate@r/s;
limit_req_status 429;
# A form on another site, or on a user's server, must not sign its reader in as somebody else. Browsers tell over HTTPS.
map $signs_in:$request_method:$http_sec_fetch_site $foreign_form {
    default 0;
    1:POST:same-site 1;
    1:POST:cross-site 1;
}

# Each request has a connection of its own, so that a proxy which is replaced leaves no idle one behind.
map $http_upgrade $connection_header { default upgrade; '' close; }
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_header;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-Proto $protocol;
# Other headers by which a client could name its protocol or the host.
proxy_set_header Forwarded "";
proxy_set_header X-Forwarded-Host "";
proxy_set_header X-Scheme "";
proxy_buffering off;
proxy_request_buffering off;
proxy_connect_timeout 10s;
proxy_read_timeout 1d;
proxy_send_timeout 1d;
""".replace("@rate@", str(SIGN_IN_RATE))

AWAY = (
    "<!doctype html><title>JupyterHub</title><meta http-equiv=refresh content=5><p>JupyterHub does not answer at the "
    "moment. This page tries again every five seconds.</p>"
)
TOO_LARGE = (
    "<!doctype html><title>JupyterHub</title><p>This request has more than 2 MiB, the limit of the pages of JupyterHub "
    "itself. Upload files in your server, where there is no such limit."
)
TOO_MANY = (
    "<!doctype html><title>JupyterHub</title><p>Too many requests for these pages came from your network address in a "
    f"short time. Try again in {RETRY_SECONDS} seconds."
)


class Socket(NamedTuple):
    """An address and port on which nginx listens."""

    address: str
    port: int
    tls: bool


def render(sites: Iterable[Site], ipv6: bool, version: tuple[int, ...] = ANY_VERSION) -> str:
    """Return the text of ``nginx.conf``.

    :param sites: of all hubs of the host.
    :param ipv6: whether the host has IPv6.
    :param version: of nginx. Newer versions accept what is for any version, too: the parameter ``http2`` of ``listen``,
        with a warning.
    """
    ordered = sorted(sites, key=lambda site: site.hub)
    blocks = [HTTP, TLS + "\n", f"include {MOUNTED}/{target.DIRECTORY}/*.conf;  # the hubs' proxies\n"]
    blocks += [_behind(number, site) for number, site in enumerate(ordered) if not site.ends_tls]
    for socket, owners in sockets(ordered).items():
        if not any(site.has_own_port for site in owners):
            blocks.append(_others(socket, owners, ipv6, version))
    for number, site in enumerate(ordered):
        blocks += [_http_server(number, site, ipv6), *([_https_server(site, ipv6)] if site.certificate else [])]
    body = "\n".join(blocks)
    if version >= HTTP2_DIRECTIVE:
        body = re.sub(r"^( *listen .* ssl) http2\b", r"\1", body, flags=re.MULTILINE)
        body = re.sub(r"^( *)(ssl_certificate_key .*)$", rf"\1\2\n\1{HTTP2}", body, flags=re.MULTILINE)
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return MAIN + textwrap.indent(body.replace("@version@", digest), "    ") + "}\n"


def for_any_version(config: str) -> str:
    """Return a configuration that :func:`render` made, without what only newer versions of nginx know."""
    if HTTP2 in config:
        config = re.sub(r"^( *listen .* ssl)\b", r"\1 http2", config, flags=re.MULTILINE)
        config = re.sub(rf"^ *{HTTP2}\n", "", config, flags=re.MULTILINE)
    certificate = re.search(r"^ *ssl_certificate .*\n *ssl_certificate_key .*\n", config, re.MULTILINE)
    return re.sub(rf"^ *{REJECT}\n", certificate[0], config, flags=re.MULTILINE) if certificate else config


def version_of(config: str) -> str:
    """Return the version in a configuration that :func:`render` made, empty when it has none."""
    found = re.search(rf"location = {re.escape(VERSION_PATH)} {{ default_type text/plain; return 200 (\w+);", config)
    return found[1] if found else ""


def sockets(sites: Iterable[Site]) -> dict[Socket, list[Site]]:
    """Return where nginx listens, with the sites that use each of them."""
    found: dict[Socket, list[Site]] = {}
    for site in sites:
        found.setdefault(Socket(site.bind_address, site.http_port, tls=False), []).append(site)
        if site.certificate and site.ends_tls:
            found.setdefault(Socket(site.bind_address, site.https_port, tls=True), []).append(site)
    return found


def chain_and_key(site: Site) -> tuple[str, str]:
    """Return the paths of a site's certificate and key in the container."""
    return f"{MOUNTED}/{site.certificate}/{CHAIN}", f"{MOUNTED}/{site.certificate}/{KEY}"


def acme_directory(hub: str) -> str:
    """Return the directory of a hub's certificate from ACME, below that of the front."""
    return f"{ACME}/live/{hub}"


def _listen(socket: Socket, ipv6: bool, options: str = "") -> str:
    flags = (" ssl http2" if socket.tls else "") + options
    lines = [f"listen {socket.address}:{socket.port}{flags};"]
    if ipv6 and socket.address == ALL_ADDRESSES:
        lines.append(f"listen [::]:{socket.port}{flags}{' ipv6only=on' if options else ''};")
    return "\n".join(lines)


def _server(lines: Iterable[str]) -> str:
    return "server {\n" + textwrap.indent("\n".join(lines), "    ") + "\n}\n"


def _others(socket: Socket, sites: list[Site], ipv6: bool, version: tuple[int, ...]) -> str:
    """Return the server for requests with a name that no hub has. It does not tell the names of the hubs."""
    return _server(
        [
            _listen(socket, ipv6, DEFAULT),
            *(_reject(sites, version) if socket.tls else []),
            VERSION,
            "default_type text/plain;",
            'location / { return 404 "No JupyterHub has this name.\\n"; }',
        ]
    )


def _reject(sites: list[Site], version: tuple[int, ...]) -> list[str]:
    return [REJECT] if version >= REJECTS else _certificate(sites[0])


def _certificate(site: Site) -> list[str]:
    chain, key = chain_and_key(site)
    return [f"ssl_certificate {chain};", f"ssl_certificate_key {key};"]


def _names(site: Site) -> str:
    return f"server_name {site.domain}{f' *.{site.domain}' if site.subdomains else ''};"


def _http_server(number: int, site: Site, ipv6: bool) -> str:
    socket = Socket(site.bind_address, site.http_port, tls=False)
    lines = [_listen(socket, ipv6, DEFAULT)] if site.has_own_port else [_listen(socket, ipv6), _names(site)]
    lines.append(VERSION)
    if site.domain:  # also before the hub has its first certificate
        challenges = f"{MOUNTED}/{CHALLENGES}"
        lines.append(f"location ^~ /.well-known/acme-challenge/ {{ default_type text/plain; root {challenges}; }}")
    if not site.ends_tls:
        lines += [f"set_real_ip_from {proxy};" for proxy in site.trusted_proxies]
        lines += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;", *_pass(site, f"$protocol_{number}")]
    elif site.certificate:
        port = "" if site.https_port == 443 else f":{site.https_port}"
        lines.append(f"location / {{ return 301 https://$host{port}$request_uri; }}")
    else:
        # nginx refuses a variable that no server sets.
        lines += ["set $protocol http;", "default_type text/plain;"]
        lines.append('location / { return 503 "The certificate of this JupyterHub is not there yet.\\n"; }')
    return _server(lines)


def _https_server(site: Site, ipv6: bool) -> str:
    lines = [_listen(Socket(site.bind_address, site.https_port, tls=True), ipv6), _names(site), *_certificate(site)]
    return _server([*lines, *_hsts(site), *_pass(site, "https")])


def _hsts(site: Site) -> list[str]:
    """Return the header for a server, and for each location with another header, which replaces those of the server."""
    if not site.hsts_seconds or not site.ends_tls:
        return []
    return [f'add_header Strict-Transport-Security "max-age={site.hsts_seconds}" always;']


def _pass(site: Site, protocol: str) -> list[str]:
    pass_on = f"proxy_pass http://{target.name(site.hub)};"
    # In each location: nginx decodes a path such as /hub/login/..%2F..%2Fuser%2Fx before it chooses one.
    sign_in = [
        "if ($foreign_form) { return 403; }",
        f"limit_req zone=sign_in_of_address burst={SIGN_IN_AT_ONCE + SIGN_IN_WAITING} delay={SIGN_IN_AT_ONCE};",
    ]
    hub = [
        *sign_in,
        f"client_max_body_size {HUB_BODY};",
        # The hub gets a request when all of it is there: slow clients cost it nothing, and long ones do not reach it.
        "proxy_request_buffering on;",
        f"limit_conn hub_pages_of_client {HUB_CONNECTIONS};",
        pass_on,
    ]
    server = [
        *sign_in,
        f"send_timeout {SERVER_PAUSE};",
        f"client_body_timeout {SERVER_PAUSE};",
        f"limit_conn servers_of_client {SERVER_CONNECTIONS};",
        pass_on,
    ]
    retry = [f"add_header Retry-After {RETRY_SECONDS} always;", *_hsts(site)]
    return [
        f"set $protocol {protocol};",
        "error_page 502 504 =503 @away;",
        "error_page 413 @too_large;",
        "error_page 429 @too_many;",
        *_location("@away", ["default_type text/html;", f"return 503 '{AWAY}';"]),
        *_location("@too_large", ["default_type text/html;", f"return 413 '{TOO_LARGE}';"]),
        *_location("@too_many", ["default_type text/html;", *retry, f"return 429 '{TOO_MANY}';"]),
        *_location("/user/", server),
        *_location("/services/", server),
        *_location("/", hub),
    ]


def _location(path: str, lines: Iterable[str]) -> list[str]:
    return [f"location {path} {{", *(f"    {line}" for line in lines), "}"]


def _behind(number: int, site: Site) -> str:
    """Return the variable with the protocol in the browser, which counts only if a trusted proxy says it."""
    trusted = "".join(f" {proxy} 1;" for proxy in site.trusted_proxies)
    return (
        f"geo $realip_remote_addr $trusted_{number} {{ default 0;{trusted} }}\n"
        f"map $trusted_{number}:$http_x_forwarded_proto $protocol_{number} "
        f"{{ default $scheme; 1:https https; 1:http http; }}\n"
    )
