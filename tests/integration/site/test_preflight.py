"""Invalid settings and unsuitable hosts stop `site.yml` before anything is changed.

In check mode, so that a preflight that fails to stop changes nothing either.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB

from hosts.run import name as run_name
from support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
NAME = run_name("preflight")
NOTHING = "Nothing was changed."
SYSTEM_PYTHON = "/usr/bin/python3"


def site(*arguments: str, playbook: str = "site.yml", within: Sequence[str] = (), **settings) -> tuple[int, str]:
    """Run site.yml in check mode against this machine; return its exit code and output.

    Args:
        within: the start of a command that runs others, such as ``unshare --net``.
    """
    # A port of its own: a real hub of this machine may have the default one. This machine may have a public address.
    own = {"jupyterhub_name": NAME, "jupyterhub_port": free_port(), "jupyterhub_bind_address": "127.0.0.1"}
    extra = json.dumps({**own, **settings})
    inventory = [] if "-i" in arguments else ["-i", "examples/inventory"]
    tags = ["--tags", "always"] if playbook == "site.yml" else []
    command = [*within, "ansible-playbook", playbook, *inventory, "--check", *tags, "-e", extra]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout + done.stderr


#: Settings that are refused without a look at the host, and those that the host decides: each with the message.
INVALID = [
    ({"jupyterhub_authenticators": ["githb"]}, "jupyterhub_authenticators has 'githb', which is not known; use"),
    ({"jupyterhub_image_source": "docker"}, "jupyterhub_image_source is 'docker'; use one of auto, pull, build"),
    ({"jupyterhub_version": "4.1.6"}, "jupyterhub_version is 4.1.6, which this deployment is not tested with; use"),
    ({"jupyterhub_admin_password": "short"}, "jupyterhub_admin_password has 5 characters, fewer than"),
    ({"jupyterhub_extra_config": "if True\n"}, "jupyterhub_extra_config is not valid Python, line 1"),
    ({"jupyterhub_prot": 80}, "jupyterhub_prot is not a setting; did you mean jupyterhub_port?"),
    ({"jupyterhub_bind_address": "localhost"}, "jupyterhub_bind_address is 'localhost'; use an IPv4 address of"),
    (
        {"jupyterhub_public_url": "https://hub.example.com/jupyter/"},
        "jupyterhub_public_url is 'https://hub.example.com/jupyter/', and a URL with a path is not supported; use https://",
    ),
    ({"jupyterhub_config_dir": "/etc"}, "and only root could enter that directory afterwards"),
    ({"jupyterhub_backup_dir": "/var/lib/jupyterhub-deploy/x"}, "which is in /var/lib/jupyterhub-deploy"),
    ({"jupyterhub_notebook_dir": "/usr"}, "would hide programs of the image; "),
    ({"jupyterhub_backup_metrics_dir": "/srv/a:b"}, "use a path without colons and control characters"),
    ({"jupyterhub_token_max_days": 40000}, "jupyterhub_token_max_days is 40000; use a number from 0 to 36500"),
    ({"jupyterhub_backup_parallel": 0}, "jupyterhub_backup_parallel is 0; use a number of at least 1"),
    ({"jupyterhub_front_name": NAME}, "the name of a container of the hub; "),
    ({"jupyterhub_hub_extra_requirements": ["a>=1"]}, "jupyterhub_hub_extra_requirements has 'a>=1'; pin each package"),
    ({"jupyterhub_http_proxy": "proxy:3128"}, "jupyterhub_http_proxy is 'proxy:3128'; use a URL without a user name"),
    (
        {"jupyterhub_registry_logins": [{"registry": "a b", "username": "alice", "password": "x"}]},
        "jupyterhub_registry_logins has 'a b'; use the registry's host, with its port if it has one",
    ),
    ({"docker_registry_mirrors": ["mirror.example.com"]}, "docker_registry_mirrors has 'mirror.example.com'; use"),
]
INVALID_HTTPS = [
    ({"jupyterhub_https": "behind", "jupyterhub_domain": "hub.example.com"}, NOTHING),
    (
        {"jupyterhub_public_url": "https://lab.example.com/"},
        "which is not at jupyterhub_domain (hub.example.com); leave",
    ),
    ({"jupyterhub_trusted_proxies": ["0.0.0.0/0"]}, "so that everybody could choose the address that the hub sees"),
    (
        {
            "jupyterhub_authenticators": ["github"],
            "jupyterhub_github_client_id": "example",
            "jupyterhub_github_client_secret": "example",
            "jupyterhub_github_allowed_users": ["alice"],
        },
        "jupyterhub_authenticators lacks native, so",
    ),
]
INVALID_HERE = [
    ({"jupyterhub_minimum_free_gib": 10**6}, "free, less than jupyterhub_minimum_free_gib (1000000"),
    ({"jupyterhub_bind_address": "192.0.2.1"}, "jupyterhub_bind_address is 192.0.2.1, which this host cannot use"),
    ({"jupyterhub_backup_schedule": "nightly"}, "jupyterhub_backup_schedule is 'nightly', "),
    ({"jupyterhub_backup_push_to": "nas"}, "jupyterhub_backup_push_to is 'nas'; write it as user@host:/directory"),
    ({}, "jupyterhub_backup_push_host_key is ''; give the other machine's"),
    (
        {"jupyterhub_backup_recipients": [f"AGE-SECRET-KEY-1{'Q' * 58}"]},
        "jupyterhub_backup_recipients: recipient 1 is a private key",
    ),
    ({"jupyterhub_notebook_image": "Lab"}, "jupyterhub_notebook_image: 'Lab' is not an image name: "),
    ({"jupyterhub_images_repository": "My Hub"}, "jupyterhub_images_repository: 'My Hub/hub' is not an image name: "),
    (
        {"jupyterhub_ca_bundle": "/nowhere/ca.pem"},
        "jupyterhub_ca_bundle is /nowhere/ca.pem, and this host has no such file",
    ),
]


@pytest.mark.parametrize("invalid", [INVALID, INVALID_HTTPS, INVALID_HERE], ids=["settings", "https", "host"])
def test_invalid_settings_stop_before_anything_is_changed_and_are_all_shown_at_once(invalid):
    code, output = site(**{name: value for settings, _ in invalid for name, value in settings.items()})
    shown_text = " ".join(output.split())
    assert code != 0
    assert NOTHING in shown_text
    for _, message in invalid:
        assert message in shown_text, shown_text
    assert "changed=0" in shown_text


def test_an_upgrade_inspects_the_host_without_the_role_of_the_images():
    code, output = site(playbook="upgrade.yml", jupyterhub_backup_schedule="nightly")
    assert code != 0
    assert NOTHING in output
    assert "jupyterhub_backup_schedule is 'nightly', " in output
    assert "changed=0" in output


WRONG_TYPES = """
jupyterhub_admin_password: 190735001
jupyterhub_backup_schedule: 22:30
jupyterhub_extra_config:
jupyterhub_notebook_image: "{{ mine }}"
jupyterhub_github_client_secret: "{{ 's3cr-t' + 1 }}"
jupyterhub_github_allowed_users: alice
jupyterhub_users: [{name: 0012345}]
docker_minimum_version: 20.10
jupyterhub_version: "1"
"""


def test_all_values_of_a_wrong_type_are_named_without_their_secrets(tmp_path):
    settings = tmp_path / "settings.yml"
    settings.write_text(WRONG_TYPES)
    code, output = site("-e", f"@{settings}")
    shown_text = " ".join(output.split())
    assert code != 0
    assert "changed=0" in shown_text
    for problem in (
        'jupyterhub_admin_password is a number; put it in quotes: jupyterhub_admin_password: "…"',
        "jupyterhub_backup_schedule is the number 1350; put it in quotes",
        'jupyterhub_extra_config has no value; set it to "" or remove the line',
        "jupyterhub_notebook_image cannot be read: 'mine' is undefined; correct the expression",
        "jupyterhub_github_client_secret cannot be read: its expression fails; correct the expression",
        "jupyterhub_github_allowed_users is 'alice'; use a list such as [alice]",
        'jupyterhub_users: name of entry 1 is the number 5349; put it in quotes: name: "…"',
        'docker_minimum_version is the number 20.1; put it in quotes: docker_minimum_version: "…"',
        "jupyterhub_version is 1, which this deployment is not tested with",  # values of the right type, too
    ):
        assert problem in shown_text, shown_text
    assert "190735001" not in shown_text
    assert "s3cr-t" not in shown_text


def test_encrypted_values_and_expressions_are_read(tmp_path, monkeypatch):
    password = tmp_path / "vault-password"
    password.write_text("of the vault")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    command = ["ansible-vault", "encrypt_string", "12345678", "--name", "jupyterhub_admin_password"]
    encrypted = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    settings = tmp_path / "settings.yml"
    monkeypatch.setenv("OWN_PORT", str(free_port()))
    expression = "jupyterhub_port: \"{{ lookup('ansible.builtin.env', 'OWN_PORT') }}\""
    settings.write_text(f"{encrypted}\n{expression}\n")
    code, output = site("-e", f"@{settings}")
    assert code == 0, output

    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    code, output = site("-e", f"@{settings}")
    assert code != 0
    assert "jupyterhub_admin_password cannot be decrypted; pass the vault's password, as with" in " ".join(
        output.split()
    )


def test_valid_settings_pass():
    code, output = site(jupyterhub_backup_keep={"last": 3})  # a setting of a role that site.yml may leave out
    assert code == 0, output


def test_site_runs_from_any_directory_without_our_ansible_cfg(tmp_path):
    command = [
        "ansible-playbook",
        str(ROOT / "site.yml"),
        "-i",
        str(ROOT / "examples/inventory"),
        "--check",
        "--tags",
        "always",
    ]
    extra = json.dumps({"jupyterhub_name": NAME, "jupyterhub_version": "1"})
    done = subprocess.run([*command, "-e", extra], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "jupyterhub_version is 1, which this deployment is not tested with" in done.stdout, done.stdout + done.stderr


def test_an_incomplete_authenticator_is_refused_with_what_is_missing():
    code, output = site(
        jupyterhub_authenticators=["native", "github", "gitlab"], jupyterhub_github_client_id="example",
        jupyterhub_github_allowed_organizations="course", jupyterhub_gitlab_client_secret="s3cr-t",
    )  # fmt: skip
    shown_text = " ".join(output.split())
    assert code != 0
    assert NOTHING in shown_text
    for problem in (
        "jupyterhub_github_client_secret is empty; docs/how-to/sign-in-github.md explains where GitHub shows it",
        "jupyterhub_github_allowed_organizations is 'course'; use a list such as [course]",
        "jupyterhub_gitlab_client_id is empty; docs/how-to/sign-in-gitlab.md explains where GitLab shows it",
        "jupyterhub_public_url is empty, but GitHub needs it: use the URL in the users' browsers",
        "jupyterhub_authenticators has gitlab, but nobody can sign in with it: set jupyterhub_gitlab_allowed_users,",
    ):
        assert problem in shown_text, shown_text
    assert "s3cr-t" not in shown_text


def test_a_refused_password_is_not_shown():
    _, output = site("-vvv", jupyterhub_admin_password="s3cr-t")
    # -vvv shows the command line of this test; nothing after it may repeat the value.
    shown = [line for line in output.splitlines() if "s3cr-t" in line and not line.startswith("EXEC")]
    assert shown == []


def test_a_port_in_use_is_refused_with_the_process():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, output = site(jupyterhub_port=port)
    assert code != 0
    assert f"jupyterhub_port {port} is taken by" in output
    assert "(pid " in output


def test_another_operating_system_is_refused(hub_image, tmp_path):
    """The host is a container that claims to be Alpine; Ansible only needs its Python."""
    name = f"{NAME}-alpine"
    container = docker.from_env().containers.run(
        hub_image("5.5.4"),
        entrypoint=[
            "sh",
            "-c",
            "rm /etc/os-release /etc/debian_version; "
            "printf 'NAME=\"Alpine Linux\"\\nID=alpine\\nVERSION_ID=3.20.3\\n' > /etc/os-release; exec sleep 600",
        ],
        name=name,
        detach=True,
    )
    try:
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(f"jupyterhub: {{hosts: {{{name}: }}}}\n")
        code, output = site(
            "-i",
            str(inventory),
            ansible_connection="community.docker.docker",
            ansible_become=False,
            ansible_python_interpreter="/usr/bin/python3",
        )
    finally:
        container.remove(force=True)
    assert code != 0
    assert "Alpine Linux 3.20.3 is not supported; use Debian 12 or newer" in output


def test_containers_networks_and_volumes_of_somebody_else_are_refused_by_their_names():
    client = docker.APIClient(version="auto")
    network = client.create_network(
        f"{NAME}-network", driver="bridge", options={"com.docker.network.driver.mtu": "1400"}
    )
    volumes = [f"{NAME}-data", f"{NAME}-user-anna"]
    try:
        for volume in volumes:
            client.create_volume(volume)
        code, output = site()
    finally:
        client.remove_network(network["Id"])
        for volume in volumes:
            client.remove_volume(volume)
    shown = " ".join(output.split())
    assert code != 0
    assert f"network {NAME}-network was not created for hub {NAME}" in shown
    assert f"volume {NAME}-data was not created for hub {NAME}" in shown
    assert f"no label says whose these volumes are, so no user gets them: {NAME}-user-anna; see" in shown
    assert "changed=0" in shown


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"storage-driver": "vfs"}, "→ vfs) in docker_daemon_options would hide"),
        ({"data-root": "/srv/elsewhere"}, "data-root cannot change: Docker's images and volumes would stay behind in"),
        ({"bridge": "none"}, "bridge is none, and images are built in the default bridge network; leave it out"),
        pytest.param(
            {"userns-remap": "default"},
            "userns-remap (unset → default) in docker_daemon_options would hide",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"hosts": ["tcp://127.0.0.1:2375"]}, "hosts has no unix:///var/run/docker.sock", marks=pytest.mark.long
        ),
    ],
)
def test_options_that_hide_what_docker_has_are_refused(option, message):
    client = docker.APIClient(version="auto")
    volume = f"{NAME}-in-use"
    client.create_volume(volume)
    try:
        code, output = site("--tags", "docker", docker_daemon_options=option)
    finally:
        client.remove_volume(volume)
    shown = " ".join(output.split())
    assert code != 0
    assert message in shown
    assert "changed=0" in shown


@pytest.fixture(params=["docker", "requests"])
def broken_sdk(request, tmp_path) -> tuple[Path, str]:
    """A Python of the system with a package that does not fit, and the error that its docker SDK raises."""
    if request.param == "docker":
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/__init__.py").write_text("raise ImportError(\"cannot import name 'x' from 'urllib3'\")\n")
        error = "ImportError: cannot import"
    else:
        show = [SYSTEM_PYTHON, "-c", "import docker; print(docker.__version__)"]
        version = subprocess.run(show, check=True, capture_output=True, text=True).stdout
        if [int(part) for part in version.split(".")[:2]] >= [7, 1]:
            pytest.skip(f"docker {version.strip()} works with this version of requests")
        # The first one that has no adapter for the SDK's URLs.
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            tmp_path,
            "requests==2.32.3",
        ]
        subprocess.run(install, check=True)
        error = "Not supported URL scheme http+docker"
    wrapper = tmp_path / "python3"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {SYSTEM_PYTHON} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper, error


def test_a_broken_docker_sdk_is_named_by_preflight_and_status(broken_sdk):
    """Beside it, Docker and its containers work, and the port belongs to the hub's own proxy."""
    wrapper, error = broken_sdk
    fault = "Python's docker SDK does not work on this host, although Docker may run ("
    with socket.create_server(("127.0.0.1", 0)) as server:  # as if the hub's own proxy listened
        code, output = site(ansible_python_interpreter=str(wrapper), jupyterhub_port=server.getsockname()[1])
    assert code != 0
    assert fault in " ".join(output.split())
    assert error in " ".join(output.split())
    assert "is taken by" not in output

    extra = json.dumps({"jupyterhub_name": NAME, "ansible_python_interpreter": str(wrapper)})
    command = ["ansible-playbook", "status.yml", "-i", "examples/inventory", "-e", extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    shown = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"CANNOT TELL whether hub {NAME} runs: {fault}" in shown
    assert "backups: there are none" in shown


def test_public_addresses_that_outgoing_connections_do_not_use_are_found() -> None:
    """In a network of its own, so that this machine does not get the addresses."""
    code = (
        "import ansible.module_utils; "
        f"ansible.module_utils.__path__.append({str(ROOT / 'module_utils')!r}); "
        "from ansible.module_utils.jupyterhub_deploy.hub import reachability; "
        "print(*reachability.own_addresses())"
    )
    commands = [
        "ip link add net0 type veth peer name net1", "ip link set net0 up",
        "ip address add 192.168.7.2/24 dev net0", "ip address add 9.9.9.9/24 dev net0",
        "ip address add 2600::1/64 dev net0 nodad", "ip route add default via 192.168.7.1",
        f'{sys.executable} -c "{code}"',
    ]  # fmt: skip
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", "\n".join(commands)], capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == ["192.168.7.2", "2600::1", "9.9.9.9"]


#: Runs a command in a network of its own, with a public address and a firewall that blocks all ports.
PUBLIC = """
ip link set lo up
ip link add net0 type veth peer name net1
ip link set net0 up
ip address add 9.9.9.9/24 dev net0
iptables -A INPUT -i lo -j ACCEPT
iptables -P INPUT DROP
exec "$@"
"""


def test_a_public_address_without_https_is_refused_and_a_firewall_is_named() -> None:
    code, output = site(
        within=["unshare", "--net", "sh", "-ec", PUBLIC, "sh"], jupyterhub_bind_address="0.0.0.0", jupyterhub_port=8000
    )
    shown = " ".join(output.split())
    assert code != 0
    assert "everybody can sign up, this host has the public address 9.9.9.9, and without HTTPS passwords are" in shown
    assert "the firewall of this host blocks port 8000, which the front needs, for other machines; open it" in shown


def test_a_front_does_not_take_the_directory_of_another_program() -> None:
    directory = Path(f"/etc/{NAME}-other")
    directory.mkdir()
    try:
        (directory / "their.conf").touch()
        code, output = site(jupyterhub_front_name=directory.name)
    finally:
        shutil.rmtree(directory)
    assert code != 0
    assert f"{directory} has files that are not of a front; choose another name" in " ".join(output.split())


@pytest.fixture
def small_disk() -> Iterator[str]:
    """The directory of the volume for a hub's data, on a disk of its own."""
    client = docker.APIClient(version="auto")
    volume = client.create_volume(f"{NAME}-data", labels={LABEL_HUB: NAME})
    path = volume["Mountpoint"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=10", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)
    client.remove_volume(volume["Name"])


@pytest.mark.parametrize("fault", ["is full", "has no free inode", "is mounted read-only"])
def test_a_disk_on_which_the_hub_cannot_write_is_refused(small_disk: str, fault: str) -> None:
    if fault == "is full":
        Path(small_disk, "file").write_bytes(b"x" * (2 << 20))
    elif fault == "has no free inode":
        for number in range(9):
            Path(small_disk, str(number)).touch()
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, output = site()
    assert code != 0
    assert f"the disk of {small_disk}, which has the database of hub {NAME}, {fault}, so that" in " ".join(
        output.split()
    )


def test_a_missing_docker_sdk_is_named(tmp_path: Path) -> None:
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", tmp_path], check=True)
    extra = json.dumps({"jupyterhub_name": NAME, "ansible_python_interpreter": str(tmp_path / "bin/python3")})
    command = ["ansible-playbook", "backup.yml", "-i", "examples/inventory", "-e", extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert "Python's docker SDK is missing on this host; run make site" in " ".join(done.stdout.split())


def test_a_user_without_permission_is_named() -> None:
    """With the SDK of the system and a copy of the code, because nobody may read the environment of these tests."""
    code = (
        "import sys, types; sys.modules['ansible'] = types.ModuleType('ansible'); "
        "utils = types.ModuleType('ansible.module_utils'); utils.__path__ = ['.']; "
        "sys.modules['ansible.module_utils'] = utils; "
        "from ansible.module_utils.jupyterhub_deploy.docker import client; client.connect()"
    )
    copy = Path("/var/tmp", run_name("nobody"))
    shutil.copytree(ROOT / "module_utils", copy)
    try:
        subprocess.run(["chmod", "--recursive", "a+rX", copy], check=True)
        done = subprocess.run(
            ["setpriv", "--reuid", "65534", "--clear-groups", SYSTEM_PYTHON, "-c", code], cwd=copy, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(copy)
    assert done.stderr.rstrip().endswith(
        "this user may not connect to Docker (/var/run/docker.sock); run the play with become: true"
    )
