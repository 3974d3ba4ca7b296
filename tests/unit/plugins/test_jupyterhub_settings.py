"""Invalid settings and unsuitable hosts: the messages name the setting, the reason and the remedy."""

from __future__ import annotations

import pytest

import jupyterhub_settings

TESTED = ["5.5.4", "6.1.1"]
GOOD = {
    "name": "jupyterhub",
    "port": 8000,
    "public_url": "",
    "image_source": "auto",
    "pull_policy": "missing",
    "keep_images": 2,
    "native_signup": "open",
    "old_servers": "keep",
    "old_servers_idle_seconds": 3600,
    "version": "5.5.4",
    "admin_user": "admin",
    "admin_password": "",
    "native_minimum_password_length": 8,
    "users": [],
    "undeclared_admins": "keep",
    "registry_logins": [],
    "extra_config": "",
    "notebook_dir": "/home/jovyan/work",
    "config_dir": "/etc/jupyterhub",
}


def problems(**changes):
    return jupyterhub_settings.setting_problems({**GOOD, **changes}, TESTED)


def test_good_settings_have_no_problem():
    assert problems() == []
    assert (
        problems(
            port="443",
            public_url="https://hub.example.com/",
            admin_user="alice@example.com",
            admin_password="correct horse",
            registry_logins=[{"registry": "registry.example.com", "username": "alice", "password": "x"}],
            extra_config="c.JupyterHub.allow_named_servers = True\n",
        )
        == []
    )


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("name", "Lab_1", "jupyterhub_name is 'Lab_1'; use at most 40 lower-case letters, digits and dashes"),
        (
            "name",
            "jupyter-ann",
            "jupyterhub_name is 'jupyter-ann', which servers or volumes of another hub's users may have",
        ),
        ("name", "lab-user", "jupyterhub_name is 'lab-user', which servers or volumes of another hub's users may have"),
        ("port", 0, "jupyterhub_port is 0; use a number from 1 to 65535"),
        ("port", "http", "jupyterhub_port is 'http'; use a number from 1 to 65535"),
        ("public_url", "hub.example.com", "use a complete URL such as https://hub.example.com/"),
        ("image_source", "docker", "jupyterhub_image_source is 'docker'; use one of auto, pull, build"),
        ("pull_policy", "allways", "jupyterhub_pull_policy is 'allways'; use one of missing, always, never"),
        (
            "keep_images",
            "all",
            "jupyterhub_keep_images is 'all'; use the number of earlier images of each kind to keep",
        ),
        ("keep_images", -2, "or -1 to keep all"),
        ("old_servers", "idle", "jupyterhub_old_servers is 'idle'; use one of keep, stop-idle, stop"),
        (
            "old_servers_idle_seconds",
            599,
            "jupyterhub_old_servers_idle_seconds is 599; use a whole number of at least 600",
        ),
        ("old_servers_idle_seconds", "1 h", "jupyterhub_old_servers_idle_seconds is '1 h'; use a whole number"),
        ("native_signup", True, "jupyterhub_native_signup is True; use one of open, approval, closed"),
        (
            "version",
            "4.1.6",
            "jupyterhub_version is 4.1.6, which this deployment is not tested with; use 5.5.4 or 6.1.1",
        ),
        ("version", 5.5, "use 5.5.4 or 6.1.1"),
        ("admin_user", "Admin", "jupyterhub_admin_user is 'Admin'; use lower-case letters"),
        ("admin_user", "a:b", "jupyterhub_admin_user is 'a:b'"),
        ("admin_password", "short", "jupyterhub_admin_password has 5 characters, fewer than"),
        ("admin_password", "é" * 37, "jupyterhub_admin_password has more than 72 bytes"),
        ("users", ["alice"], "jupyterhub_users is not a list of users with names; write each as {name: alice}"),
        ("users", {"alice": {}}, "jupyterhub_users is not a list of users with names"),
        ("users", [{"name": "alice"}, {"name": "alice"}], "jupyterhub_users: alice is declared 2 times"),
        ("users", [{"name": "alice", "group": ["a"]}], "alice has group, which is not known; did you mean groups?"),
        (
            "users",
            [{"name": "alice", "state": "away"}],
            "state of alice is 'away'; use one of present, disabled",
        ),
        (
            "users",
            [{"name": "alice", "update_password": True}],
            "update_password of alice is True; use one of",
        ),
        ("users", [{"name": "alice", "password": "short"}], "the password of alice has 5 characters, fewer than"),
        ("users", [{"name": "alice", "password": ""}], "the password of alice has 0 characters, fewer than"),
        ("users", [{"name": "alice", "password": "é" * 37}], "the password of alice has more than 72 bytes"),
        ("undeclared_admins", "remove", "jupyterhub_undeclared_admins is 'remove'; use one of keep, demote"),
        ("registry_logins", [{"registry": "r"}], "jupyterhub_registry_logins: entry 1 lacks username, password"),
        (
            "extra_config",
            "x = 1\nif True\n",
            "jupyterhub_extra_config is not valid Python, line 2: expected ':', at: if True",
        ),
        ("notebook_dir", "work", "jupyterhub_notebook_dir is 'work'; use an absolute path"),
    ],
)
def test_each_bad_setting_is_named_with_its_remedy(setting, value, message):
    found = problems(**{setting: value})
    assert len(found) == 1
    assert message in found[0]


def test_all_bad_settings_are_reported_at_once():
    assert len(problems(port=0, version="1", extra_config="(")) == 3


def test_no_problem_repeats_a_password():
    assert "s3cret" not in " ".join(problems(admin_password="s3cret"))
    assert "s3cret" not in " ".join(problems(users=[{"name": "alice", "password": "s3cret", "state": "x"}]))


def test_a_misspelt_setting_is_refused_with_the_nearest_that_exists():
    found = jupyterhub_settings.unknown_settings(
        ["jupyterhub_prot", "jupyterhub_name"], ["jupyterhub_port", "jupyterhub_name"], {}
    )
    assert found == [
        "jupyterhub_prot is not a setting; did you mean jupyterhub_port? docs/reference/settings.md lists them all"
    ]


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


HOST = {"port_holder": None, "disk_path": "/var/lib/docker", "disk_free_bytes": 50 * 2**30}


def host_problems(distribution="Debian", version="12", **host):
    facts = {"distribution": distribution, "distribution_version": version}
    return jupyterhub_settings.host_problems({**HOST, **host}, facts, port=8000, minimum_free_gib=5)


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


def test_a_taken_port_is_refused_with_its_holder():
    (problem,) = host_problems(port_holder="nginx (pid 12)")
    assert problem == "jupyterhub_port 8000 is taken by nginx (pid 12); stop it or choose another jupyterhub_port"


def test_too_little_disk_is_refused_with_the_figures():
    (problem,) = host_problems(disk_free_bytes=2**30)
    assert problem.startswith("/var/lib/docker has 1.0 GiB free, less than jupyterhub_minimum_free_gib (5)")
