"""What notebooks reach and use on Debian 12 and 13, also after the rules were removed, Docker was restarted, the hub
replaced, and the server rebooted.

Docker's driver of control groups is systemd, as on a real server. The tests are a sequence, once for each release.
"""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.fixtures import MakeHost
from hosts.registry import Registry
from support.debian_site import ALLOWED, DNS, OPEN_NETWORKS, DebianSite
from support.memory import answers, use_together
from support.mixins.site import inspect
from support.molecule import environment
from support.poller import Poll, get

pytestmark = pytest.mark.long

SLICE = "jupyterhub-jupyterhub.slice"
#: What the status says when Docker's rules are gone.
NO_WAY_OUT = "NO OUTGOING CONNECTIONS from hub and servers: "
#: Seconds in which removed rules are back.
AGAIN = 10
#: Seconds from the end of the boot until the hub answers.
BOOT = 180


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def site(
    request: pytest.FixtureRequest, make_host: MakeHost, image_registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> DebianSite:  # fmt: skip
    """A hub without isolation, and the servers of two users."""
    host, environ = make_host(request.param), environment(image_registry, tmp_path_factory.mktemp("ansible"))
    made = DebianSite(host, environ, tmp_path_factory.mktemp("site"))
    made.settings |= {
        "docker_daemon_options": {"exec-opts": ["native.cgroupdriver=systemd"], "mtu": 1400},
        "jupyterhub_memory_limit": "512M",
        "jupyterhub_total_memory_limit": "700M",
    }
    made.play(jupyterhub_isolation="none")
    made.surround()
    made.host.run(OPEN_NETWORKS)
    made.start_users()
    return made


def changes(output: str) -> int:
    """Return the number of changes of a run of a playbook."""
    return int(re.findall(r"changed=(\d+)", output)[-1])


def limit(site: DebianSite) -> str:
    """Return the memory limit of the slice in bytes, as the kernel and as systemd have it."""
    old, new = "memory/jupyterhub.slice", "jupyterhub.slice"  # the versions of control groups
    files = f"{old}/{SLICE}/memory.limit_in_bytes {new}/{SLICE}/memory.max"
    found = site.host.run(f"cd /sys/fs/cgroup && cat $(ls {files} 2> /dev/null)").stdout
    assert site.host.run(f"systemctl show --value --property=MemoryMax {SLICE}").stdout == found
    return found.strip()


def tables(site: DebianSite) -> list[str]:
    """Return the hub's tables in the kernel."""
    listed = site.host.run("docker exec jupyterhub-guard nft list tables", check=False).stdout
    return sorted(line for line in listed.splitlines() if line.endswith(" jh-jupyterhub"))


def test_servers_run_in_a_slice_with_a_limit(site: DebianSite) -> None:
    assert site.host.run(["docker", "info", "--format", "{{.CgroupDriver}}"]).stdout == "systemd\n"
    assert limit(site) == str(700 << 20)
    for user in site.users:
        container = inspect(site.host, f"jupyter-{user}")
        groups = site.host.read(f"/proc/{container['State']['Pid']}/cgroup")
        assert f":/jupyterhub.slice/{SLICE}/docker-{container['Id']}.scope\n" in groups


def test_networks_have_the_mtu_of_docker(site: DebianSite) -> None:
    shown = site.host.run(["docker", "exec", "jupyter-alice", "cat", "/sys/class/net/eth0/mtu"]).stdout
    assert shown == "1400\n"


def test_all_servers_together_cannot_take_the_memory_of_the_hub(site: DebianSite) -> None:
    before = site.containers()
    printed, statuses = use_together(site.users, site.url)
    assert printed
    assert (site.containers(), statuses) == (before, {200})
    assert wait_until(lambda: all(answers(user) for user in site.users.values()), 60)


def test_the_limit_of_all_servers_is_changed_once(site: DebianSite) -> None:
    site.settings["jupyterhub_total_memory_limit"] = "4G"
    assert changes(site.play(jupyterhub_isolation="none"))
    assert limit(site) == str(4 << 30)
    assert changes(site.play(jupyterhub_isolation="none")) == 0


def test_a_hub_without_isolation_opens_everything(site: DebianSite) -> None:
    site.start_users()  # their kernels were ended
    reached = site.reached()
    assert reached > ALLOWED
    assert len(reached - ALLOWED) == 12, reached


def test_an_existing_hub_is_isolated_without_interruption(site: DebianSite) -> None:
    before = site.containers()
    with Poll(site.users["alice"]) as poll:
        site.play()
    assert poll.report.uninterrupted, poll.report
    assert site.containers() == before
    assert site.reached() == ALLOWED


def test_removed_rules_come_back(site: DebianSite) -> None:
    """As after a restart of nftables.service, the rules of Docker are gone, too."""
    before = site.containers()
    site.host.run("docker exec jupyterhub-guard nft flush ruleset")
    assert wait_until(lambda: len(tables(site)) == 2, AGAIN)
    # Only Docker's rules make the notebooks' questions come back from a DNS server elsewhere.
    assert site.reached() | {DNS} == ALLOWED
    assert NO_WAY_OUT in site.play("status.yml")
    assert site.containers() == before


def test_a_restart_of_docker(site: DebianSite) -> None:
    before = site.containers()
    site.host.run("systemctl restart docker")
    assert len(tables(site)) == 2
    assert NO_WAY_OUT not in site.play("status.yml")
    site.host.run(OPEN_NETWORKS)
    assert site.reached() == ALLOWED
    assert site.containers() == before


def test_a_firewall_that_blocks_the_port_of_the_hub_is_reported(site: DebianSite) -> None:
    rules = ["-i lo", "-m conntrack --ctstate RELATED,ESTABLISHED", "-p tcp --dport 22"]
    for rule in rules:
        site.host.run(f"iptables -A INPUT {rule} -j ACCEPT")
    site.host.run("iptables -P INPUT DROP")
    blocked = "NOT REACHABLE from other machines: the firewall of this host blocks port 8000"
    try:
        assert blocked in site.play("status.yml", fails=True)
    finally:
        site.host.run("iptables -P INPUT ACCEPT")
        for rule in rules:
            site.host.run(f"iptables -D INPUT {rule} -j ACCEPT")
    assert blocked not in site.play("status.yml")


def test_an_allowed_network_and_a_replacement_of_the_hub(site: DebianSite) -> None:
    before = site.containers()
    site.settings |= {
        "jupyterhub_allowed_networks": ["192.168.77.8/29"],
        "jupyterhub_extra_config": "c.JupyterHub.allow_named_servers = True\n",
    }
    with Poll(site.users["alice"]) as poll:
        site.play()
    assert poll.report.uninterrupted, poll.report
    after = site.containers()
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert site.reached() == ALLOWED | {"a private address"}


def test_a_reboot(site: DebianSite) -> None:
    site.host.reboot(power_cut=site.host.kind == "debian13")
    assert wait_until(lambda: len(tables(site)) == 2, AGAIN)
    assert wait_until(lambda: not get(site.url, "/hub/health"), BOOT)
    assert limit(site) == str(4 << 30)
    site.surround()
    site.host.run(OPEN_NETWORKS)
    site.start_users()
    assert site.reached() == ALLOWED | {"a private address"}
    assert changes(site.play()) == 0
