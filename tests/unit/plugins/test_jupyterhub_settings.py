"""Invalid settings and unsuitable hosts: the messages name the setting, the reason and the remedy."""

from __future__ import annotations

import pytest

import jupyterhub_settings

TESTED = ["5.5.4", "6.1.1"]
GOOD = {
    "port": 8000,
    "bind_address": "0.0.0.0",
    "public_url": "",
    "https": "none",
    "domain": "",
    "http_port": 80,
    "https_port": 443,
    "tls_certificate": "",
    "tls_key": "",
    "hsts_seconds": 0,
    "trusted_proxies": [],
    "subdomains": False,
    "http_proxy": "http://proxy.example.com:3128",
    "keep_images": 2,
    "image_max_age_days": 30,
    "old_servers_idle_seconds": 3600,
    "version": "5.5.4",
    "admin_user": "admin",
    "admin_password": "",
    "native_minimum_password_length": 8,
    "users": [],
    "extra_config": "",
    "docker_start_timeout": 120,
    "backup_keep": {"last": 3},
    "backup_parallel": 2,
    "token_max_days": 36500,
    "registry_logins": [{"registry": "docker.io", "username": "alice", "password": "s3cret"}],
    "docker_repository_url": "https://download.docker.com/linux/debian",
    "docker_repository_key_url": "file:///srv/docker/gpg",
    "docker_registry_mirrors": ["https://mirror.example.com"],
    "docker_insecure_registries": ["registry.example.com:5000", "10.0.0.1/8"],
}


def problems(**changes):
    return jupyterhub_settings.setting_problems({**GOOD, **changes}, TESTED)


def test_good_settings_have_no_problem():
    assert problems() == []
    assert (
        problems(
            port=443,
            bind_address="192.0.2.10",
            public_url="https://hub.example.com/",
            admin_user="alice@example.com",
            admin_password="correct horse",
            extra_config="c.JupyterHub.allow_named_servers = True\n",
        )
        == []
    )


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("port", 0, "jupyterhub_port is 0; use a number from 1 to 65535"),
        ("bind_address", "localhost", "jupyterhub_bind_address is 'localhost'; use an IPv4 address of the host"),
        ("bind_address", "::", "jupyterhub_bind_address is '::'; use an IPv4 address of the host"),
        ("bind_address", "", "jupyterhub_bind_address is ''; use an IPv4 address of the host"),
        ("bind_address", "224.0.0.1", "jupyterhub_bind_address is '224.0.0.1'; use an IPv4 address of the host"),
        ("bind_address", "255.255.255.255", "use an IPv4 address of the host"),
        ("github_url", "github.example.com", "jupyterhub_github_url is 'github.example.com'; use a complete URL"),
        ("github_url", "https://github.example.com:99999", "use a complete URL such as https://github.example.com"),
        (
            "gitlab_url",
            "https://:443",
            "jupyterhub_gitlab_url is 'https://:443'; use a complete URL such as https://gitlab",
        ),
        ("http_proxy", "http://:3128", "use a URL without a user name, such as http://proxy.example.com"),
        ("http_proxy", "http://proxy.example.com:99999", "use a URL without a user name, such as http://proxy.example"),
        ("http_proxy", "proxy.example.com:3128", "use a URL without a user name, such as http://proxy.example.com"),
        ("http_proxy", "http://alice:x@proxy.example.com:3128", "use a URL without a user name"),
        ("public_url", "hub.example.com", "use a complete URL such as https://hub.example.com/"),
        ("public_url", "https://alice@hub.example.com", "use a complete URL such as https://hub.example.com/"),
        (
            "public_url",
            "https://hub.example.com/jupyter/",
            "is 'https://hub.example.com/jupyter/', and a URL with a path is not supported; use https://hub.example.com/",
        ),
        ("public_url", "https://:8000", "is 'https://:8000', which has no host name; use a complete URL"),
        ("public_url", "http://[::1", "is 'http://[::1' (Invalid IPv6 URL); use a complete URL"),
        ("public_url", "https://hub:99999/", "is 'https://hub:99999/' (Port out of range 0-65535); use a complete"),
        ("allowed_networks", ["10.20.0.0/16", "db"], "jupyterhub_allowed_networks has 'db'; use addresses or networks"),
        ("allowed_networks", ["10.20.1.1/16"], "jupyterhub_allowed_networks has '10.20.1.1/16'; use addresses"),
        ("allowed_networks", ["fe80::1%eth0"], "jupyterhub_allowed_networks has 'fe80::1%eth0'; use addresses"),
        ("allowed_networks", ["::/0"], "has '::/0', which allows everything; use jupyterhub_isolation: peers"),
        ("keep_images", -2, "or -1 to keep all"),
        (
            "old_servers_idle_seconds",
            599,
            "jupyterhub_old_servers_idle_seconds is 599; use a whole number of at least 600",
        ),
        (
            "version",
            "4.1.6",
            "jupyterhub_version is 4.1.6, which this deployment is not tested with; use 5.5.4 or 6.1.1",
        ),
        ("admin_user", "Admin", "jupyterhub_admin_user is 'Admin'; use lower-case letters"),
        ("admin_user", "a:b", "jupyterhub_admin_user is 'a:b'"),
        ("admin_password", "short", "jupyterhub_admin_password has 5 characters, fewer than"),
        ("admin_password", "é" * 37, "jupyterhub_admin_password has more than 72 bytes"),
        ("users", [{"name": "alice"}, {"name": "alice"}], "jupyterhub_users: alice is declared 2 times"),
        (
            "users",
            [{"name": "alice"}, {"name": " Alice"}],
            "jupyterhub_users:  Alice, alice are the same user; combine",
        ),
        ("users", [{"name": "admin"}], "admin is jupyterhub_admin_user, always an administrator"),
        ("users", [{"name": "Admin", "admin": True, "password": "a-long-password"}], "admin is jupyterhub_admin_user"),
        ("users", [{"name": "admin", "admin": True, "state": "absent"}], "admin is jupyterhub_admin_user"),
        ("users", [{"name": "Deploy"}], "deploy is the name of a service of the hub"),
        ("users", [{"name": "bob", "state": "disabled", "admin": True}], "bob is declared disabled; remove admin"),
        (
            "users",
            [{"name": "bob", "state": "absent", "admin": True, "password": "a-long-password"}],
            "bob is declared absent; remove admin and password",
        ),
        ("users", [{"name": "alice", "password": "short"}], "the password of alice has 5 characters, fewer than"),
        ("users", [{"name": "alice", "password": ""}], "the password of alice has 0 characters, fewer than"),
        ("users", [{"name": "alice", "password": "é" * 37}], "the password of alice has more than 72 bytes"),
        (
            "extra_config",
            "x = 1\nif True\n",
            "jupyterhub_extra_config is not valid Python, line 2: expected ':', at: if True",
        ),
        ("docker_start_timeout", 0, "docker_start_timeout is 0; use a number of at least 1"),
        ("token_max_days", 36501, "jupyterhub_token_max_days is 36501; use a number from 0 to 36500"),
        ("backup_parallel", 0, "jupyterhub_backup_parallel is 0; use a number of at least 1"),
        (
            "registry_logins",
            [{"registry": "registry example.com", "username": "alice", "password": "s3cret"}],
            "jupyterhub_registry_logins has 'registry example.com'; use the registry's host, with its port if it has",
        ),
        (
            "docker_repository_url",
            "mirror.example.com",
            "docker_repository_url is 'mirror.example.com'; use a complete",
        ),
        ("docker_repository_url", "https://a.example.com\nTrusted: yes", "use a complete URL such as https://mirror."),
        ("docker_repository_key_url", "https:///gpg", "docker_repository_key_url is 'https:///gpg'; use a complete"),
        (
            "docker_registry_mirrors",
            ["mirror.example.com"],
            "docker_registry_mirrors has 'mirror.example.com'; use",
        ),
        ("docker_registry_mirrors", ["https://alice:x@mirror.example.com"], "use complete URLs such as https://mirror"),
        (
            "docker_insecure_registries",
            ["registry..example.com:5000"],
            "docker_insecure_registries has 'registry..example.com:5000'; use the registry's host, with its port if",
        ),
        ("docker_insecure_registries", ["registry.example.com:99999"], "or a network such as 10.0.0.0/8"),
        ("docker_insecure_registries", ["10.0.0.0/255.0.0.0"], "or a network such as 10.0.0.0/8"),
        ("backup_keep", {"daily": -1}, "jupyterhub_backup_keep: daily is -1; use the number of backups to keep, or 0"),
    ],
)
def test_each_bad_setting_is_named_with_its_remedy(setting, value, message):
    found = problems(**{setting: value})
    assert len(found) == 1
    assert message in found[0]


OWN = {
    "https": "own",
    "domain": "hub.example.com",
    "public_url": "https://hub.example.com/",
    "tls_certificate": "/etc/ssl/hub.pem",
    "tls_key": "-----BEGIN PRIVATE KEY-----\n…",
}
BEHIND = {
    "https": "behind",
    "domain": "hub.example.com",
    "public_url": "https://hub.example.com/",
    "trusted_proxies": ["127.0.0.1", "192.0.2.0/28", "2001:db8::1"],
}
PLAIN = {"domain": "hub.example.com", "public_url": "http://lab:8000/"}


@pytest.mark.parametrize("settings", [OWN, BEHIND, OWN | {"public_url": "https://hub.example.com:8443"}, PLAIN])
def test_good_settings_of_https(settings):
    assert problems(**settings) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (OWN | {"public_url": "https://lab.example.com/"}, "which is not at jupyterhub_domain (hub.example.com)"),
        (OWN | {"public_url": ""}, "which is not at jupyterhub_domain (hub.example.com)"),
        (OWN | {"public_url": "hub.example.com"}, "use a complete URL such as https://hub.example.com/"),
        (BEHIND | {"public_url": "https://lab.example.com/"}, "which is not at jupyterhub_domain (hub.example.com)"),
        (OWN | {"public_url": "http://hub.example.com/"}, "but jupyterhub_https: own means https:// for users; leave"),
        (
            OWN | {"https": "acme", "public_url": "http://hub.example.com"},
            "leave it out, or use https://hub.example.com/",
        ),
        (
            BEHIND | {"public_url": "http://hub.example.com:8000/"},
            "but jupyterhub_https: behind means https:// for users; leave",
        ),
        (OWN | {"domain": ""}, "jupyterhub_domain is empty, but jupyterhub_https: own needs it: use the host name"),
        (OWN | {"domain": "192.0.2.10"}, "jupyterhub_domain is '192.0.2.10'; use the host name of the hub"),
        (OWN | {"domain": "hub"}, "jupyterhub_domain is 'hub'; use the host name of the hub"),
        (OWN | {"domain": "hub.example.com; }"}, "jupyterhub_domain is 'hub.example.com; }'; use the host name"),
        (OWN | {"domain": "Hub.example.com"}, "in lower-case letters"),
        (OWN | {"domain": "https://hub.example.com"}, "use the host name of the hub in the users' browsers"),
        (OWN | {"domain": "*.example.com"}, "use the host name of the hub in the users' browsers"),
        (
            OWN | {"http_port": 443},
            "own needs a different number for each of jupyterhub_http_port and",
        ),
        (OWN | {"tls_key": ""}, "jupyterhub_tls_key is empty, but jupyterhub_https: own needs it"),
        (OWN | {"tls_certificate": "hub.pem"}, "jupyterhub_tls_certificate is neither an absolute path nor PEM text"),
        (
            BEHIND | {"trusted_proxies": []},
            "jupyterhub_trusted_proxies is empty, but jupyterhub_https: behind needs it",
        ),
        (BEHIND | {"trusted_proxies": ["proxy"]}, "jupyterhub_trusted_proxies has 'proxy'; use addresses or networks"),
        (BEHIND | {"trusted_proxies": ["10.0.0.0/255.0.0.0"]}, "has '10.0.0.0/255.0.0.0'; use addresses or networks"),
        (BEHIND | {"trusted_proxies": ["10.0.0.0/0.255.255.255"]}, "has '10.0.0.0/0.255.255.255'; use addresses"),
        (BEHIND | {"trusted_proxies": ["fe80::1%eth0"]}, "has 'fe80::1%eth0'; use addresses or networks"),
        (BEHIND | {"trusted_proxies": ["0.0.0.0/0"]}, "has '0.0.0.0/0', so that everybody could choose the address"),
        ({"trusted_proxies": ["127.0.0.1", "::/0"]}, "has '::/0', so that everybody could choose the address"),
        (BEHIND | {"trusted_proxies": ["192.0.2.1/28"]}, "jupyterhub_trusted_proxies has '192.0.2.1/28'"),
    ],
)
def test_each_bad_setting_of_https_is_named(settings, message):
    (problem,) = problems(**settings)
    assert message in problem


@pytest.mark.parametrize(
    "settings",
    [
        {"docker_registry_mirrors": ["https://artifactory.example.com/api/docker/hub", "http://mirror:5000/"]},
        {"docker_insecure_registries": ["http://registry:5000", "[2001:db8::1]:5000", "fd00::/8", "10.0.0.1"]},
        {"docker_repository_url": "mirror+https://mirror.example.com/list"},
        {"registry_logins": [{"registry": "https://index.docker.io/v1/ ", "username": "a", "password": "b"}]},
        {"registry_logins": [{"registry": "registry.example.com:5000 ", "username": "a", "password": "b"}]},
    ],
)
def test_what_docker_and_apt_accept_is_accepted(settings):
    assert problems(**settings) == []


def test_no_problem_shows_a_key():
    assert "secret" not in str(problems(**OWN | {"tls_key": "secret"}))


def test_all_bad_settings_are_reported_at_once():
    assert len(problems(port=0, version="1", extra_config="(")) == 3


def test_a_setting_that_is_missing_is_not_checked():
    """Its type is wrong, which another message says."""
    for setting in GOOD:
        settings = {**GOOD, "version": "1"}
        del settings[setting]
        assert len(jupyterhub_settings.setting_problems(settings, TESTED)) == (setting != "version")


def test_no_problem_repeats_a_password():
    assert "s3cret" not in " ".join(problems(admin_password="s3cret"))
    assert "s3cret" not in " ".join(problems(users=[{"name": "alice", "password": "s3cret"}]))


def test_a_misspelt_setting_is_refused_with_the_nearest_that_exists():
    found = jupyterhub_settings.unknown_settings(
        ["jupyterhub_prot", "jupyterhub_name"], ["jupyterhub_port", "jupyterhub_name"], {}
    )
    assert found == [
        "jupyterhub_prot is not a setting; did you mean jupyterhub_port? docs/reference/settings.md lists them all"
    ]


@pytest.mark.parametrize("name", ["jupyter_hub_port", "jupyerhub_port", "juypterhub_port", "docker_deamon_options"])
def test_a_misspelt_prefix_is_refused(name):
    known = ["jupyterhub_port", "docker_daemon_options"]
    (problem,) = jupyterhub_settings.unknown_settings([name], known, {})
    assert problem.startswith(f"{name} is not a setting; did you mean {known['docker' in name]}?")


@pytest.mark.parametrize("name", ["jupyter_port", "docker_users", "data_dir", "docker_install_compose"])
def test_variables_of_the_operator_are_not_refused(name):
    assert jupyterhub_settings.unknown_settings([name], ["jupyterhub_port", "docker_daemon_options"], {}) == []


def test_a_setting_like_no_other_is_refused_without_a_guess():
    (problem,) = jupyterhub_settings.unknown_settings(["jupyterhub_zzzzzzzzzzz"], ["jupyterhub_port"], {})
    assert "remove it" in problem


def test_a_renamed_setting_is_refused_with_its_new_name():
    renamed = {"jupyterhub_listen": "jupyterhub_port", "docker_mirrors": "docker_registry_mirrors"}
    names = ["jupyterhub_listen", "docker_mirrors", "docker_daemon_options"]
    assert jupyterhub_settings.unknown_settings(names, ["jupyterhub_port"], renamed) == [
        "docker_mirrors is called docker_registry_mirrors now; rename it",
        "jupyterhub_listen is called jupyterhub_port now; rename it",
    ]


HOST: dict[str, object] = {
    "setting_problems": [],
    "name_problems": [],
    "data_problem": None,
    "disk_path": "/var/lib/docker",
    "disk_free_bytes": 50 * 2**30,
}


def host_problems(distribution="Debian", version="12", **host):
    facts = {"distribution": distribution, "distribution_version": version}
    return jupyterhub_settings.host_problems({**HOST, **host}, facts, minimum_free_gib=5)


@pytest.mark.parametrize(
    ("distribution", "version"), [("Debian", "12"), ("Debian", "13.1"), ("Ubuntu", "22.04"), ("Ubuntu", "24.04")]
)
def test_supported_systems_pass(distribution, version):
    assert host_problems(distribution, version) == []


@pytest.mark.parametrize(
    ("distribution", "version"), [("Debian", "11.9"), ("Ubuntu", "20.04"), ("Rocky", "9.4"), ("Alpine", "3.20")]
)
def test_other_systems_are_refused_by_name(distribution, version):
    (problem,) = host_problems(distribution, version)
    assert problem.startswith(f"{distribution} {version} is not supported; use Debian 12 or newer")


def test_too_little_disk_is_refused_with_the_figures():
    (problem,) = host_problems(disk_free_bytes=2**30)
    assert problem.startswith("/var/lib/docker has 1.0 GiB free, less than jupyterhub_minimum_free_gib (5)")


def test_the_host_adds_its_problems_with_settings():
    assert host_problems(setting_problems=["jupyterhub_backup_schedule is 'nightly'"]) == [
        "jupyterhub_backup_schedule is 'nightly'"
    ]


def test_objects_with_the_hubs_names_are_named():
    assert host_problems(name_problems=["container jupyterhub was not"]) == ["container jupyterhub was not"]


@pytest.mark.parametrize(
    "url", ["https://hub.example.com", "http://hub.example.com:8000/", "https://xn--mller-kva.test/"]
)
def test_users_can_have_names_below_the_hubs(url):
    assert problems(subdomains=True, public_url=url) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "jupyterhub_public_url has none"),
        ("https://192.0.2.1/", "192.0.2.1 is an IP address, which has no names below it"),
        ("https://[2001:db8::1]/", "2001:db8::1 is an IP address, which has no names below it"),
        ("http://localhost:8000/", "localhost has no domain"),
        ("http://hub/", "hub has no domain"),
        ("http://my_hub.example.com/", "my_hub.example.com is not a valid host name"),
        ("http://hub.example.com./", "hub.example.com. is not a valid host name"),
        ("http://" + "a.b" * 70 + "/", "is not a valid host name"),
    ],
)
def test_users_cannot_have_names_below_an_address(url, reason):
    (problem,) = problems(subdomains=True, public_url=url)
    assert problem.startswith(
        "jupyterhub_subdomains needs jupyterhub_public_url with the host name of the hub, such as"
    )
    assert problem.endswith(reason)


def test_a_full_data_volume_is_refused():
    assert host_problems(data_problem="the disk of /data is full") == ["the disk of /data is full"]
