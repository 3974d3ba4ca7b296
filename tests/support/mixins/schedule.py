"""What a host with scheduled backups under systemd keeps to; a test class takes it over by inheriting.

A class that inherits gives a fixture ``site``. Nothing here needs Ansible: the host does it by itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

from hosts.hosts import Host
from support.mixins.site import Site

TIMER, SERVICE = "jupyterhub-backup.timer", "jupyterhub-backup.service"
RECORD = "/var/lib/jupyterhub-deploy/backup-jupyterhub.json"
METRICS = "/var/lib/jupyterhub-deploy/metrics/jupyterhub_backup_jupyterhub.prom"
BACKUPS = "/var/backups/jupyterhub"
# Like `systemctl edit`; below /run, so that nothing stays.
OFTEN = f"/run/systemd/system/{TIMER}.d/often.conf"
EVERY_TWO_SECONDS = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nAccuracySec=100ms\nRandomizedDelaySec=0\n"
RELOAD = f"systemctl daemon-reload && systemctl restart {TIMER}"


def record(host: Host) -> dict[str, Any]:
    """Return the record of the last run."""
    return dict(json.loads(host.read(RECORD)))


def metric(host: Host, name: str) -> float:
    """Return a metric whose only label is the hub."""
    (line,) = (line for line in host.read(METRICS).splitlines() if line.startswith(f"jupyterhub_backup_{name}{{"))
    return float(line.split()[1])


class ScheduleTests:
    """Runs that the timer starts, and runs that fail."""

    def test_the_timer_starts_a_full_backup(self, site: Site) -> None:
        host = site.host
        assert host.run(f"systemctl is-enabled {TIMER}; systemctl is-active {TIMER}").stdout.split() == [
            "enabled",
            "active",
        ]
        host.run(f"rm -f {RECORD}")
        host.write(OFTEN, EVERY_TWO_SECONDS)
        try:
            host.run(RELOAD)
            deadline = time.monotonic() + 60
            while host.run(f'grep -q \'"last_success": "\' {RECORD}', check=False).returncode:
                assert time.monotonic() < deadline, host.run(f"journalctl --no-pager -u {SERVICE} -u {TIMER}").stdout
                time.sleep(1)
        finally:
            host.run(f"rm {OFTEN} && {RELOAD}")
        host.run(f"systemctl start {SERVICE}")  # waits for a run in progress
        volumes = host.run("docker volume ls --quiet --filter name=jupyterhub-user-").stdout.split()
        listed = host.run("jupyterhub-backup list").stdout.splitlines()
        assert {line.split()[0] for line in listed} == {"hub", *volumes}
        newest = {line.split()[0]: line for line in listed}
        assert all(line.endswith("  good") for line in newest.values()), listed
        assert metric(host, "last_run_success") == 1
        assert metric(host, "last_success_timestamp_seconds") == metric(host, "last_run_timestamp_seconds")
        assert "is good, " in host.run(f"journalctl --no-pager -u {SERVICE}").stdout

    def test_a_failed_run_is_visible_everywhere_until_one_succeeds(self, site: Site) -> None:
        host = site.host
        # systemd refuses the sixth start within ten seconds; those of the tests before count.
        host.run(f"systemctl reset-failed {SERVICE}")
        host.run(f"systemctl start {SERVICE}")
        before = record(host)
        host.run(f"mv {BACKUPS} {BACKUPS}.away && touch {BACKUPS}")
        try:
            assert host.run(f"systemctl start {SERVICE}", check=False).returncode
            found = record(host)
            assert metric(host, "last_run_success") == 0
        finally:
            host.run(f"rm {BACKUPS} && mv {BACKUPS}.away {BACKUPS}")
        assert found["error"] in host.run(f"systemctl status {SERVICE}", check=False).stdout
        assert found["error"] in host.run(f"journalctl --no-pager -p err -u {SERVICE}").stdout
        assert SERVICE in host.run("systemctl --failed --no-legend --plain").stdout
        assert "directory /var/backups/jupyterhub for backups cannot be created" in str(found["error"])
        assert found["last_success"] == before["last_success"]

        host.run(f"systemctl start {SERVICE} || (journalctl --no-pager --lines 40 -u {SERVICE}; exit 1)")
        assert SERVICE not in host.run("systemctl --failed --no-legend --plain").stdout
        assert (record(host)["error"], metric(host, "last_run_success")) == (None, 1)

    def test_the_command_ignores_an_ansible_on_the_host(self, site: Site) -> None:
        fake = "/usr/lib/python3/dist-packages/ansible"
        site.host.write(f"{fake}/__init__.py", "raise SystemExit('the wrong one')\n")
        try:
            site.host.run("jupyterhub-backup list", env={"PYTHONPATH": "/usr/lib/python3/dist-packages"})
        finally:
            site.host.run(["rm", "-r", fake])
