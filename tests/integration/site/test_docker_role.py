"""Role `docker` on real machines: one without a service manager, and Debian 12 and 13 under systemd.

A machine serves all tests of its class, because a new installation takes longest. What its first two runs did is
recorded; before each other test, Docker has the options of the first run again.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hosts.hosts import Host

ROOT = Path(__file__).resolve().parents[3]
RECORD = "/etc/jupyterhub-deploy/docker-engine.json"
FILES = ("/etc/docker/daemon.json", RECORD)

# The smallest image that keeps a container running, from the host's files: no registry is reachable.
MAKE_IMAGE = (
    "tar -C / -chf - bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*' | sed 's,^/,,') | docker import - sleep:test"
)

# An apt repository with the structure of download.docker.com: $1 is the suite. The key is created for this machine.
MAKE_REPOSITORY = """
apt-get install -qq --no-install-recommends gnupg
arch=$(dpkg --print-architecture)
cd /srv && mkdir -p docker/pool docker/dists/$1/stable/binary-$arch && cd docker
packages=dists/$1/stable/binary-$arch/Packages
for name in docker-ce docker-ce-cli containerd.io; do
  mkdir -p /tmp/$name/DEBIAN
  printf 'Package: %s\\nVersion: 5:99.0\\nArchitecture: all\\nMaintainer: ops@example.com\\nDescription: empty\\n' \
    $name > /tmp/$name/DEBIAN/control
  dpkg-deb --build /tmp/$name pool/$name.deb
  dpkg-deb --field pool/$name.deb >> $packages
  printf 'Filename: pool/%s.deb\\nSize: %s\\nSHA256: %s\\n\\n' $name $(stat -c %s pool/$name.deb) \
    $(sha256sum pool/$name.deb | cut -d' ' -f1) >> $packages
done
cd dists/$1
index=stable/binary-$arch/Packages
printf 'Suite: %s\\nComponents: stable\\nArchitectures: %s\\nDate: %s\\nSHA256:\\n %s %s %s\\n' $1 $arch "$(date -Ru)" \
  $(sha256sum $index | cut -d' ' -f1) $(stat -c %s $index) $index > Release
export GNUPGHOME=$(mktemp -d)
gpg --batch --quiet --passphrase '' --quick-generate-key repository@example.com rsa3072 sign
gpg --batch --yes --clearsign --output InRelease Release
gpg --armor --export > /srv/docker/gpg
"""


def is_of_the_first_pool(bridge: str) -> bool:
    """Return whether a network is in the role's first pool; which one depends on the Docker of this machine."""
    network = ipaddress.IPv4Network(bridge)
    return network.prefixlen == 22 and network.subnet_of(ipaddress.IPv4Network("198.18.0.0/16"))


class Run(NamedTuple):
    """The result of a run of the role."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        found = re.search(r"changed=(\d+)", self.output)
        assert found, self.output
        return int(found.group(1))


class Machine:
    """A test host on which the role runs, with the results of the first runs.

    Attributes:
        plan: what check mode showed before Docker was installed.
        left_by_plan: what was on the machine after it, of what the role installs.
        first_bridge: the network that Docker chose for its default bridge at its first start.
    """

    plan: Run
    left_by_plan: str
    first_bridge: str

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        (directory / "role.yml").write_text(
            "- hosts: all\n  gather_facts: true\n  gather_subset: ['!all', '!min', distribution]\n  roles: [docker]\n",
            encoding="utf-8",
        )

    def inventory(self) -> str:
        """Return an inventory with the current address of the machine, which a reboot may change."""
        machine = self.host.inventory()
        if machine["ansible_connection"] == "ssh":
            machine["ansible_become"] = True
        return json.dumps({"jupyterhub": {"hosts": {"machine": machine}}})

    def run(self, *arguments: str, fails: bool = False, playbook: str = "role.yml", **settings: Any) -> Run:
        """Run the role, or a playbook, with settings; assert that it succeeds, or fails if ``fails``."""
        (self.directory / "hosts.json").write_text(self.inventory(), encoding="utf-8")
        command = ["ansible-playbook", "-i", "hosts.json", playbook, "-e", json.dumps(settings), *arguments]
        paths = {
            "ANSIBLE_LIBRARY": str(ROOT / "library"),
            "ANSIBLE_MODULE_UTILS": str(ROOT / "module_utils"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            command, cwd=self.directory, env={**os.environ, **paths}, text=True, check=False, timeout=900,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout
        # Long messages are wrapped for the screen.
        return Run(done.returncode, re.sub(r"\s+", " ", done.stdout))

    def info(self, key: str) -> Any:
        """Return one value of ``docker info``."""
        return json.loads(self.host.run(["docker", "info", "--format", "{{json ." + key + "}}"]).stdout)

    def docker_pid(self) -> str:
        return self.host.read("/var/run/docker.pid").strip()

    def bridge(self) -> str:
        """Return the network of Docker's default bridge, which Docker chooses at its first start."""
        form = "{{(index .IPAM.Config 0).Subnet}}"
        return self.host.run(["docker", "network", "inspect", "--format", form, "bridge"]).stdout.strip()

    def options(self) -> dict[str, Any]:
        return dict(json.loads(self.host.read("/etc/docker/daemon.json")))

    def install(self) -> None:
        """Run the role for the first time, in check mode and then for real, and record the results."""
        self.plan = self.run("--check", "--diff")
        self.left_by_plan = self.host.run("ls -d /etc/docker /etc/jupyterhub-deploy; which dockerd", check=False).stdout
        self.run()
        self.first_state, self.first_files = self.state(), {path: self.host.read(path) for path in FILES}
        self.first_bridge = self.bridge()
        self.host.run(MAKE_IMAGE)

    def state(self) -> str:
        """Return the options of Docker and the arguments of its process; another text when it does not run."""
        return self.host.run(
            f"exec 2> /dev/null; cat {' '.join(FILES)}; tr '\\0' ' ' < /proc/$(cat /var/run/docker.pid)/cmdline; "
            "systemctl is-enabled docker; docker info --format running",
            check=False,
        ).stdout

    def reset(self) -> None:
        """Give Docker the options of the first run again, unless it has them."""
        if self.state() == self.first_state:
            return
        self.stop_docker()
        self.host.run("rm -rf /etc/docker")
        for path, text in self.first_files.items():
            self.host.write(path, text)
        self.run()
        assert self.state() == self.first_state

    def stop_docker(self) -> None:
        """Stop Docker; its containers keep running."""
        self.host.run(
            "if test -d /run/systemd/system; then systemctl stop docker.socket docker.service; "
            "elif pid=$(pidof dockerd); then kill $pid; while kill -0 $pid; do sleep 0.1; done 2>/dev/null; fi"
        )

    def start_container(self) -> str:
        """Start a container if it does not run; return its state, which changes with a restart."""
        self.host.run("docker start alive || docker run --detach --name alive sleep:test /bin/sleep 100000")
        return self.container_state()

    def container_state(self) -> str:
        """Return the start time and process id of the container."""
        return self.host.run(
            ["docker", "inspect", "--format", "{{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}", "alive"]
        ).stdout


def installed_machine(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(Host.create(kind), tmp_path_factory.mktemp(kind))
    try:
        machine.install()
        yield machine
    finally:
        machine.host.destroy()


@pytest.fixture(scope="module")
def one_bare(tmp_path_factory) -> Iterator[Machine]:
    yield from installed_machine("bare", tmp_path_factory)


@pytest.fixture
def bare(one_bare: Machine) -> Machine:
    one_bare.reset()
    return one_bare


@pytest.fixture
def foreign(bare: Machine) -> Machine:
    """A machine on which somebody else started Docker, with a flag and without a file."""
    bare.stop_docker()
    bare.host.run(
        f"rm -r {RECORD} /etc/docker; "
        "setsid dockerd --default-address-pool base=172.20.0.0/14,size=24 > /dev/null 2>&1 < /dev/null & "
        "until docker info > /dev/null 2>&1; do sleep 0.2; done"
    )
    return bare


@pytest.fixture(scope="module", params=["debian13", pytest.param("debian12", marks=pytest.mark.long)])
def one_server(request, tmp_path_factory) -> Iterator[Machine]:
    yield from installed_machine(request.param, tmp_path_factory)


@pytest.fixture
def server(one_server: Machine) -> Machine:
    one_server.reset()
    return one_server


def assert_nothing_installed(machine: Machine) -> None:
    """Assert that check mode left the machine as it was."""
    left = machine.left_by_plan
    assert "cannot access '/etc/docker'" in left
    assert "cannot access '/etc/jupyterhub-deploy'" in left
    assert "dockerd" not in left


class TestBareMachine:
    """A machine without Docker and without a service manager."""

    def test_check_mode_shows_the_plan_and_changes_nothing(self, one_bare):
        shown = one_bare.plan.output
        assert "install Docker 20.10 or newer; install Python's docker SDK; write default-address-pools" in shown
        assert "start Docker" in shown
        assert_nothing_installed(one_bare)

    def test_docker_runs_with_the_defaults(self, bare):
        assert bare.info("LiveRestoreEnabled") is True
        assert bare.info("DefaultAddressPools")[0] == {"Base": "198.18.0.0/16", "Size": 22}
        assert is_of_the_first_pool(bare.first_bridge)
        bare.host.run(["/usr/bin/python3", "-c", "import docker; docker.from_env().ping()"])
        assert bare.host.run(["stat", "-c", "%a %U", RECORD]).stdout == "600 root\n"

    def test_a_second_run_changes_nothing(self, bare):
        before = bare.docker_pid()

        assert bare.run().changed == 0
        assert bare.docker_pid() == before

    def test_check_mode_reports_no_change(self, bare):
        assert bare.run("--check", "--diff").changed == 0

    @pytest.mark.long
    def test_a_killed_dockerd_is_started_and_containers_keep_running(self, bare):
        life = bare.start_container()
        bare.host.run(
            "pid=$(cat /var/run/docker.pid); kill -9 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.1; done"
        )
        # The stale pid file contains the id of another running program: process 1.
        bare.host.run("echo 1 > /var/run/docker.pid")

        run = bare.run()

        assert run.changed == 1
        assert bare.container_state() == life
        assert bare.run().changed == 0

    @pytest.mark.long
    def test_an_interrupted_installation_is_completed(self, bare):
        """The packages were unpacked and not configured, and the socket of a killed dockerd is still there."""
        bare.host.run(
            "cd /root && apt-get --quiet download docker.io && pid=$(cat /var/run/docker.pid) && kill -9 $pid &&"
            " while kill -0 $pid 2>/dev/null; do sleep 0.1; done; dpkg --unpack docker.io_*.deb"
        )
        state = "dpkg-query --show --showformat='${db:Status-Status}' docker.io"
        assert bare.host.run(state).stdout == "unpacked"

        assert bare.run().changed > 0
        assert bare.host.run(state).stdout == "installed"
        assert bare.docker_pid()
        bare.host.run("test ! -e /usr/sbin/policy-rc.d")
        assert bare.run().changed == 0

    def test_a_mirror_is_applied_without_a_restart(self, bare):
        before, life = bare.docker_pid(), bare.start_container()

        bare.run(docker_registry_mirrors=["https://mirror.example.com"])

        assert bare.info("RegistryConfig")["Mirrors"] == ["https://mirror.example.com/"]
        assert bare.docker_pid() == before
        assert bare.container_state() == life
        assert bare.run(docker_registry_mirrors=["https://mirror.example.com"]).changed == 0
        # An option that is not set any more is removed.
        assert bare.run().changed == 1
        assert "registry-mirrors" not in bare.options()

    @pytest.mark.long
    def test_log_options_are_applied_by_a_restart_that_containers_outlive(self, bare):
        before, life = bare.docker_pid(), bare.start_container()

        bare.run(docker_daemon_options={"log-opts": {"max-size": "5m"}})

        assert bare.options()["log-opts"] == {"max-size": "5m", "max-file": "3"}
        assert bare.docker_pid() != before
        assert bare.container_state() == life

    @pytest.mark.long
    def test_options_of_others_are_kept(self, bare):
        changed = {**bare.options(), "labels": ["rack=b"], "log-opts": {"max-size": "7m", "max-file": "3"}}
        bare.host.write("/etc/docker/daemon.json", json.dumps(changed))

        run = bare.run(docker_registry_mirrors=["https://mirror.example.com"])

        assert bare.options() == {**changed, "registry-mirrors": ["https://mirror.example.com"]}
        assert "replaces" not in run.output
        run = bare.run(docker_daemon_options={"log-opts": {"max-size": "9m"}})
        assert bare.options() == {**changed, "log-opts": {"max-size": "9m", "max-file": "3"}}
        assert "log-opts.max-size in /etc/docker/daemon.json was set by somebody else" in run.output
        assert len(bare.host.run("ls /etc/docker/daemon.json.*~").stdout.split()) >= 2

    @pytest.mark.long
    def test_a_misspelt_option_is_rolled_back_without_a_restart(self, bare):
        # Docker 20.10 cannot validate a file. It refuses it at a reload, while the containers keep running.
        before, file = bare.docker_pid(), bare.host.read("/etc/docker/daemon.json")

        run = bare.run(docker_daemon_options={"live-restor": True, "mtu": 1400}, fails=True)

        assert "don't match any configuration option: live-restor" in run.output
        assert "as it was before, and Docker is running with it again. Correct docker_daemon_options" in run.output
        assert bare.host.read("/etc/docker/daemon.json") == file
        assert bare.docker_pid() == before

    @pytest.mark.long
    def test_an_option_that_prevents_the_start_is_rolled_back(self, bare):
        options, life = bare.options(), bare.start_container()

        run = bare.run(docker_daemon_options={"seccomp-profile": "/nonsense"}, fails=True)

        assert "Docker stopped again. The end of its log (/var/log/dockerd.log)" in run.output
        assert "nonsense" in run.output
        assert "as it was before, and Docker is running with it again" in run.output
        assert bare.options() == options
        assert bare.container_state() == life

    def test_docker_of_somebody_else_is_not_changed(self, foreign):
        before = foreign.docker_pid()

        assert foreign.run().changed == 0
        assert foreign.docker_pid() == before
        assert foreign.host.run("test -e /etc/docker/daemon.json", check=False).returncode != 0

    @pytest.mark.long
    def test_a_conflict_with_flags_is_reported(self, foreign):
        before = foreign.docker_pid()
        pools = [{"base": "198.18.0.0/16", "size": 24}]

        run = foreign.run(docker_daemon_options={"default-address-pools": pools}, fails=True)

        assert "default-address-pools cannot be set in daemon.json while dockerd is started with" in run.output
        assert "--default-address-pool." in run.output
        assert foreign.docker_pid() == before

    @pytest.mark.long
    def test_a_restart_for_the_operators_option_keeps_the_flags(self, foreign):
        foreign.run(docker_daemon_options={"log-level": "warn"})

        assert foreign.options() == {"log-level": "warn"}
        assert foreign.info("DefaultAddressPools")[0]["Base"] == "172.20.0.0/14"

    @pytest.mark.long
    def test_an_unavailable_minimum_version_is_reported_with_the_next_step(self, bare):
        run = bare.run(docker_minimum_version="99", fails=True)

        assert "is the newest version in the host's packages, but docker_minimum_version is 99" in run.output
        assert "install Docker from Docker's repository (docker_package_source: docker)" in run.output


class TestServer:
    """Debian under systemd."""

    def test_check_mode_shows_the_plan_and_changes_nothing(self, one_server):
        assert one_server.plan.changed > 0
        assert_nothing_installed(one_server)

    def test_docker_runs_with_the_defaults(self, server):
        assert server.info("LiveRestoreEnabled") is True
        assert is_of_the_first_pool(server.first_bridge)
        assert server.host.run("systemctl is-active docker; systemctl is-enabled docker").stdout == "active\nenabled\n"
        server.host.run(["/usr/bin/python3", "-c", "import docker; docker.from_env().ping()"])

    def test_a_second_run_changes_nothing(self, server):
        assert server.run().changed == 0

    @pytest.mark.parametrize(
        "playbook",
        [pytest.param(str(ROOT / "site.yml"), id="site.yml"), pytest.param("role.yml", marks=pytest.mark.long)],
    )
    def test_check_mode_without_root_fails_instead_of_reporting_a_bare_host(self, server, playbook):
        run = server.run("--check", playbook=playbook, fails=True, ansible_become=False)

        assert run.output.count("FAILED!") == 1
        assert "run the play with become: true" in run.output
        assert "would be created" not in run.output
        assert run.changed == 0

    def test_containers_outlive_a_changed_option(self, server):
        life, before = server.start_container(), server.docker_pid()

        server.run(docker_insecure_registries=["registry.example.com:5000"])
        assert server.docker_pid() == before
        assert server.info("RegistryConfig")["IndexConfigs"]["registry.example.com:5000"]["Secure"] is False

        server.run(docker_daemon_options={"mtu": 1400})
        assert server.docker_pid() != before
        assert server.container_state() == life

    def test_an_option_that_prevents_the_start_is_rolled_back(self, server):
        options, life = server.options(), server.start_container()

        run = server.run(docker_daemon_options={"mtu": 1400, "seccomp-profile": "/nonsense"}, fails=True)

        assert "The end of its log (journalctl -u docker)" in run.output
        assert "as it was before, and Docker is running with it again" in run.output
        assert server.options() == options
        assert server.container_state() == life

    @pytest.mark.parametrize(
        "wrong",
        [{"colour-of-the-whale": "blue"}, pytest.param({"max-concurrent-downloads": "5"}, marks=pytest.mark.long)],
        ids=lambda wrong: next(iter(wrong)),
    )
    def test_an_option_that_docker_does_not_know_is_refused_without_a_restart(self, server, wrong):
        options, before = server.options(), server.docker_pid()

        run = server.run(docker_daemon_options={"mtu": 1400, **wrong}, fails=True)

        assert next(iter(wrong)) in run.output
        assert server.options() == options
        assert server.docker_pid() == before
        if server.host.kind == "debian13":  # Docker 23.0 and newer validate a file, also in check mode
            assert "Docker refuses these options, nothing was changed" in run.output
            assert f"Correct {next(iter(wrong))} in docker_daemon_options" in run.output
            checked = server.run("--check", docker_daemon_options={"mtu": 1400, **wrong}, fails=True)
            assert "Docker refuses these options, nothing was changed" in checked.output
        else:
            assert "as it was before, and Docker is running with it again" in run.output

    def test_docker_runs_after_a_reboot(self, server):
        server.host.reboot(power_cut=True)

        assert server.host.run("systemctl is-active docker").stdout == "active\n"

    def test_stopped_docker_is_started(self, server):
        server.host.run("systemctl disable docker; systemctl stop docker.socket docker.service")

        assert server.run().changed == 1
        assert server.host.run("systemctl is-active docker; systemctl is-enabled docker").stdout == "active\nenabled\n"

    @pytest.mark.long
    def test_packages_come_from_dockers_repository_if_set(self, server):
        # download.docker.com is not reachable here: this repository has the same structure and empty packages. So
        # Docker keeps its version, which is reported.
        suite = server.host.run(". /etc/os-release; echo $VERSION_CODENAME").stdout.strip()
        server.host.run(["sh", "-ec", MAKE_REPOSITORY, "make-repository", suite])
        packages = "docker-ce docker-ce-cli containerd.io"
        try:
            run = server.run(
                docker_package_source="docker",
                docker_repository_url="file:///srv/docker",
                docker_minimum_version="99",
                fails=True,
            )
            installed = server.host.run(f"dpkg-query --show {packages}").stdout.split()
            warnings = server.host.run("apt-get update 2>&1 | grep -c ^[WE]:", check=False).stdout
        finally:
            server.host.run(
                f"dpkg --purge {packages}; rm -rf /srv/docker /etc/apt/keyrings/docker.asc "
                "/etc/apt/sources.list.d/docker.sources; apt-get update",
                check=False,
            )

        assert "is the newest version in the host's packages, but docker_minimum_version is 99" in run.output
        assert installed == ["containerd.io", "5:99.0", "docker-ce", "5:99.0", "docker-ce-cli", "5:99.0"]
        assert warnings == "0\n"
