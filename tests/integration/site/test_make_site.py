"""One command on a bare machine: `make site` in a clone, and once more."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from hosts.fixtures import BareSite
from support.mixins.schedule import RECORD
from support.mixins.site import Site, SiteTests, secrets_of


def recaps(output: str) -> list[dict[str, int]]:
    """Return the numbers of each host in Ansible's closing recap."""
    lines = re.findall(r"^\S+ +: (ok=.*)$", output, flags=re.MULTILINE)
    return [{key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)} for line in lines]


@pytest.fixture(scope="module")
def second_run(bare_site: BareSite, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Type `make site` again and return what it printed."""
    log = Path(tmp_path_factory.mktemp("bare"), "make-site-again.log")
    return bare_site.host.run_logged(f"cd {bare_site.project} && make site", log, timeout=300)


class CronSchedule(NamedTuple):
    """A backup schedule of each minute on the bare machine, which has no systemd.

    Attributes:
        installed: the recaps of the run that installed it, and of a second one.
        table: the text of cron's file.
    """

    installed: list[dict[str, int]]
    table: str


def make_schedule(bare_site: BareSite, scratch: Path) -> dict[str, int]:
    """Install or remove the backup schedule as the inventory says; return the recap."""
    command = f"cd {bare_site.project} && make site ARGS='--tags backup'"
    (recap,) = recaps(bare_site.host.run_logged(command, scratch / "schedule.log", timeout=300))
    return recap


@pytest.fixture(scope="module")
def cron_schedule(bare_site: BareSite, tmp_path_factory: pytest.TempPathFactory) -> CronSchedule:
    scratch = tmp_path_factory.mktemp("schedule")
    setting = "jupyterhub_backup_schedule: '* * * * *'"
    bare_site.host.run(f'echo "{setting}" >> {bare_site.project}/inventory/group_vars/jupyterhub.yml')
    recaps_of_both = [make_schedule(bare_site, scratch) for _ in range(2)]
    return CronSchedule(recaps_of_both, bare_site.host.read("/etc/cron.d/jupyterhub-backup"))


class TestBareSite(SiteTests):
    """All that a site promises, and what only this one shows."""

    @pytest.fixture
    def site(self, bare_site: BareSite) -> Site:
        return Site(bare_site.host, bare_site.url, bare_site.admin, bare_site.password)

    def test_closing_message_says_where_who_and_what_next(self, bare_site: BareSite) -> None:
        end = bare_site.output[bare_site.output.rindex("TASK [") :]
        assert ":8000/" in end
        assert "admin_password" in end
        assert "Admin: admin" in end
        assert "Passwords are sent unencrypted: set jupyterhub_https before others use the hub" in end

    def test_base_image_is_built_while_docker_is_installed(self, bare_site: BareSite) -> None:
        start = bare_site.output.index("jupyterhub_images : Start to build the base image]")
        assert start < bare_site.output.index("docker : Install the packages]")
        assert "running apt-get update" not in bare_site.output[start:]  # mmdebstrap was not started again
        assert bare_site.host.run("ls /var/lib/jupyterhub-deploy").stdout.count("base-image") == 0

    def test_second_run_changes_nothing(self, bare_site: BareSite, second_run: str) -> None:
        assert [recap["changed"] for recap in recaps(second_run)] == [0], second_run
        assert [recap["failed"] for recap in recaps(second_run)] == [0]

    def test_second_run_leaves_the_environment_alone(self, second_run: str) -> None:
        assert "pip" not in second_run.partition("PLAY [")[0]

    def test_secrets_survive_and_never_show(self, bare_site: BareSite, second_run: str) -> None:
        kept = secrets_of(bare_site.host)
        assert kept["admin_password"] == bare_site.password
        for file, secret in kept.items():
            assert secret not in bare_site.output, f"{file} is in the first run's output"
            assert secret not in second_run, f"{file} is in the second run's output"

    def test_cron_is_set_up_where_there_is_no_systemd(self, cron_schedule: CronSchedule) -> None:
        first, second = cron_schedule.installed
        assert first["changed"] == 3  # files, a package, its start
        assert second["changed"] == 0
        assert "* * * * * root " in cron_schedule.table

    def test_a_dead_docker_is_restarted_with_the_hub(self, bare_site: BareSite, site: Site, tmp_path: Path) -> None:
        stop = "pid=$(cat /var/run/docker.pid); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.5; done"
        bare_site.host.run(stop, timeout=60)
        bare_site.host.run_logged(f"cd {bare_site.project} && make site", tmp_path / "log", timeout=300)
        self.test_hub_answers(site)
        # The hub has to reach the new Docker, which starts the servers.
        self.test_user_signs_up_works_and_finds_the_work_again(site)

    def test_cron_starts_backups_until_the_schedule_is_removed(
        self, bare_site: BareSite, cron_schedule: CronSchedule, tmp_path: Path
    ) -> None:
        host, deadline = bare_site.host, time.monotonic() + 100
        while host.run(f'grep -q \'"last_success": "\' {RECORD}', check=False).returncode:
            assert time.monotonic() < deadline, host.run("cat /var/log/jupyterhub-backup.log", check=False).stdout
            time.sleep(1)
        assert "hub " in host.run("jupyterhub-backup list").stdout
        host.run(f"sed -i /^jupyterhub_backup_schedule/d {bare_site.project}/inventory/group_vars/jupyterhub.yml")
        assert make_schedule(bare_site, tmp_path)["changed"] == 1
        left = host.run("find /etc /usr/local /var/log /var/lib/jupyterhub-deploy -path '*jupyterhub*backup*'").stdout
        assert left == "", left
