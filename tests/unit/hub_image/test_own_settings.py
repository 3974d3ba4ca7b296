"""The deployment's own settings remain, or the check names what was lost (tests/integration/hub/test_config.py runs
both in the hub image)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jupyterhub_deploy_hub import container_settings, own_settings

USERS = "work-{username}"  # a volume of the operator's for each user
OWN = [{"name": "deploy"}, {"name": "deploy-culler"}]
HOME = {"hub-user-{username}": "/home/jovyan/work"}


class Spawner:
    pass


class DockerSpawner(Spawner):
    pass


class HubSpawner(DockerSpawner):
    pass


class Mine(HubSpawner):
    pass


class Authenticator:
    pass


class HubNative(Authenticator):
    pass


class Config(dict[str, Any]):
    """The part of a traitlets Config that these functions use."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __missing__(self, name: str) -> Config:
        section = self[name] = Config()
        return section


def own() -> Config:
    """Return a configuration as it is before the operator's text."""
    c = Config()
    c.JupyterHub.authenticator_class = HubNative
    c.JupyterHub.spawner_class = HubSpawner
    c.JupyterHub.db_url = "sqlite:////data/jupyterhub.sqlite"
    c.JupyterHub.hub_ip = "0.0.0.0"
    c.JupyterHub.template_paths = ["/ours"]
    c.JupyterHub.trusted_downstream_ips = ["172.18.0.1"]
    c.JupyterHub.tornado_settings = {
        "cookie_options": {"samesite": "Lax"},
        "headers": {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"},
    }
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    c.Authenticator.admin_users = {"admin"}
    c.Spawner.start_timeout = 180
    c.DockerSpawner.volumes = dict(HOME)
    c.DockerSpawner.prefix = "jupyter"
    c.DockerSpawner.remove = True
    c.DockerSpawner.notebook_dir = "/home/jovyan/work"
    c.DockerSpawner.extra_host_config = {}
    return c


def loaded(change: Callable[[Config], None]) -> Config:
    """Return a configuration after the operator's text `change`."""
    c = own()
    restore = own_settings.keep(c, ["native"], OWN, OWN)
    change(c)
    restore()
    return c


def found(change: Callable[[Config], None]) -> list[str]:
    return [f"c.{section}.{trait}: {text}" for section, trait, text in own_settings.problems(own(), loaded(change))]


def assign(section: str, trait: str, value: Any) -> Callable[[Config], None]:
    def change(c: Config) -> None:
        c[section][trait] = value

    return change


@pytest.mark.parametrize(
    ("section", "trait", "value", "result"),
    [
        ("Authenticator", "admin_users", {"alice"}, {"admin", "alice"}),
        ("Authenticator", "admin_users", ["alice"], {"admin", "alice"}),
        ("HubNative", "admin_users", {"alice"}, {"admin", "alice"}),
        ("DockerSpawner", "volumes", {"course": "/srv/course"}, {**HOME, "course": "/srv/course"}),
        ("HubSpawner", "volumes", {"course": "/srv/course"}, {**HOME, "course": "/srv/course"}),
        ("DockerSpawner", "volumes", {"/x/{username}": "/home/jovyan/work/"}, {"/x/{username}": "/home/jovyan/work/"}),
        ("DockerSpawner", "volumes", {"x": {"bind": "/home/jovyan/work"}}, {"x": {"bind": "/home/jovyan/work"}}),
        ("JupyterHub", "template_paths", ["/theirs"], ["/theirs", "/ours"]),
        ("JupyterHub", "services", [{"name": "culler"}], [{"name": "culler"}, *OWN]),
        ("JupyterHub", "trusted_downstream_ips", ["10.0.0.1"], ["10.0.0.1", "172.18.0.1"]),
        ("JupyterHub", "trusted_downstream_ips", ["172.18.0.1"], ["172.18.0.1"]),
        (
            "JupyterHub", "tornado_settings", {"headers": {"Referrer-Policy": "no-referrer"}, "slow_spawn_timeout": 1},
            {
                "cookie_options": {"samesite": "Lax"},
                "headers": {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"},
                "slow_spawn_timeout": 1,
            },
        ),
    ],
)  # fmt: skip
def test_own_entries_are_added_again(section: str, trait: str, value: Any, result: Any) -> None:
    assert loaded(assign(section, trait, value))[section][trait] == result
    assert found(assign(section, trait, value)) == []


def test_entries_of_another_class_are_left_as_they_are() -> None:
    """The administrator of native accounts must not become one of a provider's users."""
    assert loaded(assign("GitHubOAuthenticator", "admin_users", {"bob"})).GitHubOAuthenticator.admin_users == {"bob"}


def test_nothing_is_added_where_nothing_was_assigned() -> None:
    c = loaded(lambda c: None)
    assert set(c) == set(own())
    assert found(lambda c: None) == []


@pytest.mark.parametrize(
    ("section", "trait", "value", "text"),
    [
        ("JupyterHub", "db_url", "sqlite:////data/other.sqlite", "the deployment's own database; remove the line"),
        ("JupyterHub", "cookie_secret_file", "/data/cookie_secret", "cookie secret; remove the line"),
        ("JupyterHub", "hub_ip", "jupyterhub", "looks for the hub at its own address"),
        ("JupyterHub", "cleanup_servers", True, "would stop the servers of all users"),
        ("JupyterHub", "public_url", "https://hub.example.com/", "set jupyterhub_public_url instead"),
        ("JupyterHub", "subdomain_host", "https://hub.example.com", "set jupyterhub_subdomains instead"),
        ("JupyterHub", "active_server_limit", 7, "set jupyterhub_server_limit instead"),
        ("JupyterHub", "ip", "127.0.0.1", "the front listens for the hub, at jupyterhub_bind_address"),
        ("JupyterHub", "bind_url", "http://127.0.0.1:8000", "the front listens for the hub"),
        ("JupyterHub", "bind_url", "http://localhost:8000/", "the front listens for the hub"),
        ("JupyterHub", "bind_url", "http://[::1]:8000/", "the front listens for the hub"),
        ("JupyterHub", "ssl_key", "/srv/key.pem", "set jupyterhub_https instead"),
        ("JupyterHub", "ssl_cert", "/srv/cert.pem", "set jupyterhub_https instead"),
        ("JupyterHub", "concurrent_spawn_limit", 7, "set jupyterhub_concurrent_starts instead"),
        ("JupyterHub", "spawner_class", DockerSpawner, "DockerSpawner is not a subclass of"),
        ("JupyterHub", "authenticator_class", Authenticator, "set that instead"),
        ("CryptKeeper", "keys", ["0" * 64], "secrets/crypt_key"),
        ("ConfigurableHTTPProxy", "should_start", True, "in its own container"),
        ("DockerSpawner", "network_name", "bridge", "could not reach each other"),
        ("HubSpawner", "prefix", "nb", "by its own names"),
        ("DockerSpawner", "name_template", "nb-{username}", "by its own names"),
        ("DockerSpawner", "escape", "legacy", "by its own names"),
        ("DockerSpawner", "remove", False, "with its old image"),
        ("DockerSpawner", "image", "example/other:1", "jupyterhub_notebook_image"),
        ("Spawner", "cmd", ["start-singleuser.sh"], "jupyterhub_notebook_command"),
        ("Spawner", "notebook_dir", "/srv", "jupyterhub_notebook_dir"),
        ("Spawner", "volumes", {"a": "/a"}, "has no effect, because the deployment sets c.DockerSpawner.volumes"),
        ("DockerSpawner", "extra_host_config", {"cap_drop": []}, "c.HubSpawner.drop_capabilities = False"),
        (
            "DockerSpawner", "extra_host_config", {"security_opt": ["no-new-privileges:false"]},
            "c.HubSpawner.no_new_privileges = False",
        ),
        ("DockerSpawner", "extra_host_config", {"auto_remove": True}, "would remove running servers"),
        ("DockerSpawner", "extra_host_config", {"network_mode": "host"}, "could not reach each other"),
        ("DockerSpawner", "container_image", "example/other:1", "jupyterhub_notebook_image"),
        ("HubSpawner", "container_prefix", "nb", "by its own names"),
        ("DockerSpawner", "container_name_template", "nb-{username}", "by its own names"),
        ("DockerSpawner", "remove_containers", False, "with its old image"),
        ("DockerSpawner", "use_internal_ip", False, "the hub could not reach the servers"),
        ("DockerSpawner", "mounts", [{"source": USERS, "target": "/w"}], f"the volume {USERS} of the earlier one"),
        ("DockerSpawner", "mounts", [{"type": "volume", "source": "w-{raw_username}", "target": "/w"}], "next user"),
        ("HubSpawner", "read_only_volumes", {USERS: "/w"}, "use c.DockerSpawner.volumes"),
        ("DockerSpawner", "extra_host_config", {"binds": [f"{USERS}:/w"]}, "use c.DockerSpawner.volumes"),
        ("DockerSpawner", "extra_host_config", {"binds": {USERS: {"bind": "/w"}}}, "use c.DockerSpawner.volumes"),
        (
            "DockerSpawner", "extra_host_config", {"mounts": [{"Type": "volume", "Source": USERS, "Target": "/w"}]},
            "use c.DockerSpawner.volumes",
        ),
        ("DockerSpawner", "volumes", {"/srv/{username!s}": "/w"}, "by {username!s} in /srv/{username!s}; write the"),
        ("DockerSpawner", "volumes", {"w-{raw_username:s}": "/w"}, "by {raw_username:s} in w-{raw_username:s}; write"),
        ("DockerSpawner", "read_only_volumes", {"/srv/{safe_username!r:>9}": "/w"}, "by {safe_username!r:>9} in"),
        ("DockerSpawner", "extra_host_config", {"binds": ["/srv/{username:s}:/w:ro"]}, "in /srv/{username:s}; write"),
        ("Spawner", "ip", "127.0.0.1", "the hub could not reach the servers"),
        ("Spawner", "hub_connect_url", "http://192.0.2.1:8081", "the servers could not reach the hub"),
        ("HubSpawner", "cgroup_parent", "/lab", "set jupyterhub_total_memory_limit instead"),
        ("DockerSpawner", "extra_create_kwargs", {"host_config": {"Privileged": True}}, "use extra_host_config"),
        ("JupyterHub", "proxy_api_ip", "127.0.0.1", "the hub could not reach the deployment's proxy"),
        ("JupyterHub", "admin_users", {"alice"}, "set c.Authenticator.admin_users instead"),
        ("JupyterHub", "services", [{"name": "deploy"}], "the name deploy is that of the deployment's own entry"),
        ("JupyterHub", "load_roles", [{"name": "deploy"}], "the name deploy is that of the deployment's own entry"),
        ("JupyterHub", "services", [{"name": "deploy-culler"}], "the name deploy-culler is that of the"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_named(section: str, trait: str, value: Any, text: str) -> None:
    (problem,) = found(assign(section, trait, value))
    assert problem.startswith(f"c.{section}.{trait}: ")
    assert text in problem


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("base_url", "/jupyter/"),
        ("bind_url", "http://:8000/jupyter/"),
        ("hub_bind_url", "http://0.0.0.0:9000"),
        ("hub_port", 9000),
        ("hub_prefix", "/jupyter/hub/"),
        ("hub_routespec", "/jupyter/"),
        ("hub_connect_url", "http://hub.example.com:8081"),
        ("internal_ssl", True),
    ],
)
def test_another_address_of_the_hub_is_refused(trait: str, value: Any) -> None:
    (problem,) = found(assign("JupyterHub", trait, value))
    assert problem.startswith(f"c.JupyterHub.{trait}: ")
    assert "remove the line" in problem


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("base_url", "/"),
        ("bind_url", "http://:443"),
        ("bind_url", "https://hub.example.com:443/"),
        ("hub_port", 8081),
        ("bind_url", "http://0.0.0.0:8000"),
        ("bind_url", "http://*:8000"),
        ("ip", "0.0.0.0"),
        ("ip", ""),
        ("ssl_key", ""),
        ("port", 443),
    ],
)
def test_an_address_without_an_effect_is_accepted(trait: str, value: Any) -> None:
    assert found(assign("JupyterHub", trait, value)) == []


@pytest.mark.parametrize(
    ("section", "trait", "value"),
    [
        ("JupyterHub", "db_url", "sqlite:////data/jupyterhub.sqlite"),
        ("HubSpawner", "prefix", "jupyter"),
        ("JupyterHub", "spawner_class", Mine),
        ("Mine", "start_timeout", 30),
        ("DockerSpawner", "start_timeout", 30),
        ("DockerSpawner", "extra_host_config", {"shm_size": "1g"}),
        ("DockerSpawner", "extra_host_config", {"cap_drop": ["NET_RAW"], "security_opt": ["seccomp=unconfined"]}),
        ("DockerSpawner", "extra_host_config", lambda spawner: {}),
        ("DockerSpawner", "container_prefix", "jupyter"),
        ("DockerSpawner", "remove_containers", True),
        ("DockerSpawner", "use_internal_ip", True),
        ("DockerSpawner", "container_ip", "127.0.0.1"),
        ("DockerSpawner", "hub_ip_connect", "192.0.2.1"),
        ("Spawner", "ip", "0.0.0.0"),
        ("JupyterHub", "admin_users", set()),
        ("DockerSpawner", "extra_create_kwargs", {"user": "root"}),
        ("DockerSpawner", "extra_host_config", {"cgroup_parent": "", "ipc_mode": "shareable"}),
        ("Spawner", "group_overrides", {"x": {"groups": ["a"], "spawner_override": {"volumes": {USERS: "/w"}}}}),
        ("Spawner", "group_overrides", lambda spawner: {}),
        ("DockerSpawner", "volumes", {USERS: {"bind": "/w", "mode": "ro"}}),
        ("DockerSpawner", "mounts", [{"source": "shared", "target": "/w"}]),
        ("DockerSpawner", "mounts", [{"type": "bind", "source": "/srv/{username}", "target": "/w"}]),
        ("DockerSpawner", "mounts", [{"source": next(iter(HOME)), "target": "/w", "subpath": "course"}]),
        ("DockerSpawner", "mounts", ["not a mount"]),
        ("DockerSpawner", "read_only_volumes", {"/srv/{username}": "/w"}),
        ("DockerSpawner", "volumes", {"/srv/{username}/{servername!s:.9}": "/w", "/{": "/x", "{{username!s}}": "/y"}),
        ("DockerSpawner", "extra_host_config", {"binds": ["/srv/{username}:/w", "shared:/s"]}),
    ],
)
def test_other_settings_are_the_operators(section: str, trait: str, value: Any) -> None:
    assert found(assign(section, trait, value)) == []


def test_a_named_setting_turns_the_hardening_off() -> None:
    def change(c: Config) -> None:
        c.HubSpawner.drop_capabilities = False
        c.HubSpawner.no_new_privileges = False
        c.DockerSpawner.extra_host_config = {"cap_drop": [], "security_opt": []}

    assert found(change) == []


def test_sections_of_a_derived_spawner_count() -> None:
    def change(c: Config) -> None:
        c.JupyterHub.spawner_class = Mine
        c.Mine.volumes = {"course": "/srv/course"}
        c.Mine.prefix = "nb"

    assert loaded(change).Mine.volumes == {**HOME, "course": "/srv/course"}
    assert [text.partition(":")[0] for text in found(change)] == ["c.Mine.prefix"]


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "the function returned NoneType; return a dictionary"),
        ({"binds": ["work-b-2eb:/w"]}, "the next user of a name would get the volume work-b-2eb of the earlier one"),
        ({"binds": {"b.b_work": {"bind": "/w"}}}, "the volume b.b_work of the earlier one"),
        ({"mounts": [{"Type": "volume", "Source": USERS, "Target": "/w"}]}, f"the volume {USERS} of the earlier one"),
        ({"binds": ["/srv/{username!s}:/w"]}, "by {username!s} in /srv/{username!s}"),
        ({"cap_drop": []}, "cap_drop: "),
        ({"security_opt": ["no-new-privileges=false"]}, "security_opt: "),
        ({"auto_remove": True}, "auto_remove: "),
        ({"network_mode": "host"}, "network_mode: "),
        ({"privileged": True}, "privileged: servers would control the host"),
        ({"pid_mode": "host"}, "pid_mode: servers would see the processes of the host"),
        ({"ipc_mode": "host"}, "ipc_mode: "),
        ({"volumes_from": ["hub"]}, "volumes_from: "),
        ({"cgroup_parent": "/"}, "cgroup_parent: jupyterhub_total_memory_limit would not apply"),
        ({"binds": ["/srv/b.b:/w"]}, "backups and the deletion of users do not know the directory /srv/b.b"),
        ({"binds": ["/srv/{username}:/w"]}, "do not know the directory /srv/{username}"),
    ],
)
def test_what_a_function_returns_for_a_user_is_refused_as_a_value_would_be(returned: Any, text: str) -> None:
    (problem,) = container_settings.returned_problems(returned, {}, {"b.b", "b-2eb"}, True, True)
    assert text in problem


@pytest.mark.parametrize(
    "returned",
    [
        {},
        {"shm_size": "1g", "binds": ["shared:/s", "lab-b-2ebc:/x", "/srv/course:/w"], "ipc_mode": "shareable"},
        {"mounts": [{"Type": "volume", "Source": source} for source in (*HOME, "hub-user-b-2eb")]},
    ],
)
def test_a_function_may_add_shared_volumes_directories_and_the_users_own_volume(returned: dict[str, Any]) -> None:
    own = {*HOME, "hub-user-b-2eb"}
    assert container_settings.returned_problems(returned, own, {"b.b", "b-2eb"}, True, True) == []


def test_a_function_may_return_what_a_named_setting_allows() -> None:
    returned: dict[str, Any] = {"cap_drop": [], "security_opt": [], "privileged": True}
    assert container_settings.returned_problems(returned, {}, {"bob"}, False, False) == []
