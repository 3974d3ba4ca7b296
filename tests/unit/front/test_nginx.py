"""The text of nginx.conf. tests/integration/front shows what nginx makes of it."""

from __future__ import annotations

import ipaddress
import re

import pytest
from ansible.module_utils.jupyterhub_deploy.front import nginx
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.front.site import Site

from support.factories.sites import site


def servers(*sites: Site, ipv6: bool = False, version: tuple[int, ...] = nginx.ANY_VERSION) -> list[str]:
    """Return the server blocks of a configuration, each as one line."""
    text = " ".join(nginx.render(sites, ipv6, version).split())
    return re.findall(r"server \{ (.*?) \}(?= server \{| \}$)", text)


def named(blocks: list[str], name: str) -> list[str]:
    return [block for block in blocks if f"server_name {name}" in block]


def test_each_port_has_a_server_for_other_names_and_one_for_the_hub() -> None:
    blocks = servers(site())

    assert len(blocks) == 4
    assert [block.partition(";")[0] for block in blocks] == [
        "listen 0.0.0.0:80 default_server reuseport backlog=4096",
        "listen 0.0.0.0:443 ssl http2 default_server reuseport backlog=4096",
        "listen 0.0.0.0:80",
        "listen 0.0.0.0:443 ssl http2",
    ]
    assert "No JupyterHub has this name." in blocks[0]


def test_http_redirects_to_https() -> None:
    http, https = named(servers(site()), "jupyterhub.example.com;")
    assert "location / { return 301 https://$host$request_uri; }" in http
    assert "proxy_pass" not in http
    assert "ssl_certificate /etc/front/own/jupyterhub/1/fullchain.pem;" in https
    assert "ssl_certificate_key /etc/front/own/jupyterhub/1/privkey.pem;" in https
    assert "set $protocol https;" in https
    limit = "limit_conn servers_of_client 4000;"
    server = f"send_timeout 1h; client_body_timeout 1h; {limit} proxy_pass http://jupyterhub-proxy;"
    sign_in = "if ($foreign_form) { return 403; } limit_req zone=sign_in_of_address burst=300 delay=20;"
    assert all(f"location {path} {{ {sign_in} {server} }}" in https for path in ("/user/", "/services/"))
    assert "delay=20; client_max_body_size 2m; proxy_request_buffering on; limit_conn hub_pages_of_client" in https


def test_another_port_is_part_of_the_redirect() -> None:
    http, _ = named(servers(site(https_port=8443)), "jupyterhub.example.com;")
    assert "return 301 https://$host:8443$request_uri;" in http


def test_without_a_certificate_yet_only_http_is_served() -> None:
    blocks = servers(site(https="acme", certificate=""))
    assert not any("443" in block for block in blocks)
    (http,) = named(blocks, "jupyterhub.example.com;")
    assert "location ^~ /.well-known/acme-challenge/ { default_type text/plain; root /etc/front/challenges; }" in http
    assert "return 503" in http
    assert "set $protocol http;" in http  # nginx refuses a variable that nothing sets


def test_two_hubs_share_the_ports() -> None:
    blocks = servers(site("lab"), site())
    assert len(blocks) == 6
    assert sum("default_server" in block for block in blocks) == 2
    assert ".example.com" not in blocks[0]
    assert "proxy_pass http://lab-proxy;" in named(blocks, "lab.example.com;")[1]


def test_behind_another_proxy_there_is_no_tls() -> None:
    blocks = servers(site(https="behind", certificate="", trusted_proxies=["192.0.2.10", "198.51.100.0/24"]))
    assert len(blocks) == 2
    assert "set_real_ip_from 192.0.2.10; set_real_ip_from 198.51.100.0/24;" in blocks[1]
    assert "set $protocol $protocol_0;" in blocks[1]
    text = nginx.render([site(https="behind", certificate="", trusted_proxies=["192.0.2.10"])], ipv6=False)
    assert "geo $realip_remote_addr $trusted_0 { default 0; 192.0.2.10 1; }" in text


def test_without_https_a_hub_has_its_port_for_itself() -> None:
    plain = site(https="none", domain="", http_port=8000, certificate="", trusted_proxies=["127.0.0.1"])
    (block,) = servers(plain)
    assert block.startswith("listen 0.0.0.0:8000 default_server reuseport backlog=4096; location = /.well-known/")
    assert "server_name" not in block
    assert "set_real_ip_from 127.0.0.1;" in block
    assert "set $protocol $protocol_0;" in block
    assert len(servers(plain, site("lab"))) == 5


def test_ipv6_where_the_host_has_it_and_all_addresses_are_used() -> None:
    assert "[::]:443 ssl http2 default_server reuseport backlog=4096 ipv6only=on;" in servers(site(), ipv6=True)[1]
    assert "[::]" not in nginx.render([site()], ipv6=False)
    assert "[::]" not in nginx.render([site(bind_address="192.0.2.10")], ipv6=True)


def test_http2_as_the_version_of_nginx_has_it() -> None:
    old, new = (nginx.render([site(), site("lab")], True, version) for version in (nginx.ANY_VERSION, (1, 25, 1)))
    assert old.count("ssl http2") == 2 * 3  # for IPv4 and IPv6: all other names, and two hubs
    assert "http2 on;" not in old
    assert "ssl http2" not in new
    assert new.count("http2 on;") == 2  # at the names of the hubs
    assert nginx.version_of(old) != nginx.version_of(new)

    def text(config: str) -> str:
        return config.replace(nginx.version_of(config), "")

    assert text(nginx.for_any_version(new)) == text(old)
    assert nginx.for_any_version(old) == old
    plain = [site(https="none", domain="", certificate="")]
    assert nginx.render(plain, True, (1, 25, 1)) == nginx.render(plain, True)


@pytest.mark.parametrize(
    ("output", "directive"),
    [
        ("nginx version: nginx/1.22.1", False),
        ("nginx version: nginx/1.25.0", False),
        ("nginx version: nginx/1.25.1 (Ubuntu)", True),
        ("nginx version: nginx/1.26.3", True),
        ("container is not running", False),
    ],
)
def test_the_version_of_nginx_is_that_of_the_container(
    output: str, directive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = FrontContainer(object(), "front", 1)
    monkeypatch.setattr(front, "run", lambda command: (0, output))
    assert (nginx.HTTP2 in front.render([site()])) == directive
    assert nginx.HTTP2 not in FrontContainer(None, "front", 1).render([site()])


def test_subdomains() -> None:
    assert "server_name jupyterhub.example.com *.jupyterhub.example.com;" in servers(site(subdomains=True))[3]


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (31536000, True)])
def test_hsts(seconds: int, expected: bool) -> None:
    text = nginx.render([site(hsts_seconds=seconds)], ipv6=False)
    assert ('add_header Strict-Transport-Security "max-age=31536000" always;' in text) == expected


def test_the_pages_for_signing_in_have_a_rate_for_each_address() -> None:
    text = nginx.render([site()], ipv6=False)
    assert "limit_req_zone $client_that_signs_in zone=sign_in_of_address:2m rate=10r/s;" in text
    foreign = r"if \(\$foreign_form\) \{ return 403; \}"
    assert re.search(rf"location / \{{\s+{foreign}\s+limit_req zone=sign_in_of_address burst=300 delay=20;", text)
    found = re.search(r'map \$request_uri \$signs_in \{ default 0; "~(\S+)" 1; "~(\S+)" 1; \}', text)
    assert found
    limited = re.compile("|".join(found.groups()))
    tokens = ["/hub/api/users/me/tokens", "/hub/api/users/a%2F..%2Fb/tokens"]
    pages = ["/hub/login", "/hub/login?next=/", "/hub/signup", "/hub/ldap/login"]
    assert all(limited.search(path) for path in [*pages, *tokens])
    others = (
        "/hub/health", "/hub/api/users/me", "/hub/api/users/me?tokens=/tokens", "/user/a/hub/login",
        "/hub/github/oauth_login", "/hub/static/js/login.js", "/hub/home?next=/login",
    )  # fmt: skip
    assert not any(limited.search(path) for path in others)


@pytest.mark.parametrize("https", ["behind", "own", "acme"])
def test_a_server_that_will_have_a_certificate_of_acme_has_the_challenge(https: str) -> None:
    """The certificate is requested while the hub still is behind another proxy, for example."""
    assert "location ^~ /.well-known/acme-challenge/ {" in nginx.render([site(https=https)], ipv6=False)


@pytest.mark.parametrize(("version", "rejects"), [((1, 18, 0), False), ((1, 19, 4), True), ((1, 26, 0), True)])
def test_other_names_get_no_certificate_where_nginx_can_reject_them(version: tuple[int, ...], rejects: bool) -> None:
    blocks = servers(site(), version=version)
    others = next(text for text in blocks if "listen 0.0.0.0:443 ssl" in text and "default_server" in text)
    assert ("ssl_reject_handshake on;" in others) == rejects
    assert ("ssl_certificate" not in others) == rejects


@pytest.mark.parametrize(
    ("address", "other", "are_one"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8:a0a::a0a", "2001:db8:a0a:0:a0a::", True),  # with line breaks
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_limits_count_addresses_of_ipv6_by_their_network(address: str, other: str, are_one: bool) -> None:
    patterns = re.findall(r'^ +"~(.*)" (\$\w+);', nginx.render([site()], ipv6=False), flags=re.MULTILINE)

    def client(text: str) -> bytes:
        """Return what nginx's map makes of an address."""
        packed = ipaddress.ip_address(text).packed
        for pattern, group in patterns:
            found = re.search(pattern.replace("(?<", "(?P<").replace(r"\z", r"\Z").encode(), packed)
            if found:
                return bytes(found[group[1:]])
        return packed

    assert len(patterns) == 2
    assert (client(address) == client(other)) == are_one


def test_an_answer_of_the_front_itself_has_the_header_of_hsts_too() -> None:
    assert nginx.render([site(hsts_seconds=60)], ipv6=False).count('"max-age=60"') == 2
    behind = site(https="behind", certificate="", trusted_proxies=["192.0.2.10"], hsts_seconds=60)
    assert "max-age" not in nginx.render([behind], ipv6=False)


def test_the_version_changes_with_the_configuration_only() -> None:
    first, second = (nginx.version_of(nginx.render([site(hsts_seconds=one)], ipv6=False)) for one in (0, 1))
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert first != second
    assert first == nginx.version_of(nginx.render([site()], ipv6=False))
    plain = site(https="none", domain="", certificate="")
    assert re.fullmatch(r"[0-9a-f]{16}", nginx.version_of(nginx.render([plain], ipv6=False)))
    assert nginx.version_of("") == ""


def test_the_addresses_of_proxies_are_in_files_of_their_own() -> None:
    assert "include /etc/front/targets/*.conf;" in nginx.render([site()], ipv6=False)


def test_the_order_of_the_hubs_does_not_matter() -> None:
    sites = [site(), site("lab")]
    assert nginx.render(sites, ipv6=False) == nginx.render(sites[::-1], ipv6=False)
