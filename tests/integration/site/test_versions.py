"""The version of the deployment on a real hub: recorded, shown, acknowledged once, and never downgraded by accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.run import name as run_name
from support.local_site import ROOT, LocalSite

NAME = run_name("versions")
RECORD = Path(f"/etc/jupyterhub-deploy/version-{NAME}.json")
BACKUPS = Path("/var/backups", NAME)
VERSION = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
ACKNOWLEDGE = ("-e", f"acknowledge={VERSION}")


@pytest.fixture(scope="module")
def site(built_images) -> Iterator[LocalSite]:
    site = LocalSite(NAME)
    try:
        # As after a run of an earlier version that failed before it created the hub.
        record(acknowledged="0.1.0")
        # Like a run that fails after it has created the hub, this one does not record that it has provisioned it.
        site.run("--tags", "hub")
        assert recorded() == {"acknowledged": VERSION}
        site.run()
        yield site
    finally:
        site.destroy()


def record(**versions: str) -> None:
    """Record versions as an earlier run would have."""
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(versions), encoding="utf-8")


def recorded() -> dict[str, str]:
    """Return the record on the host."""
    return dict(json.loads(RECORD.read_text(encoding="utf-8")))


def refused(site: LocalSite, *arguments: str, playbook: str = "site.yml", check: bool = False) -> str:
    """Run a playbook that has to refuse; return what it says, in one line."""
    before = RECORD.read_text(encoding="utf-8") if RECORD.exists() else None
    hub = site.container()["Id"]
    run = site.run(*arguments, playbook=playbook, check=check, fails=True)
    assert run.recap["changed"] == 0
    assert (RECORD.read_text(encoding="utf-8") if RECORD.exists() else None) == before
    assert site.container()["Id"] == hub
    message = " ".join(run.output.split())
    assert "Nothing was changed." in message
    return message


def test_first_runs_ask_nothing_and_record_the_version(site: LocalSite) -> None:
    assert recorded() == {"version": VERSION}


def test_breaking_changes_are_acknowledged_once(site: LocalSite) -> None:
    record(version="0.1.0")
    for check in (True, False):
        message = refused(site, check=check)
        assert (
            f"the hub was provisioned by version 0.1.0 of this deployment, and version {VERSION} has breaking"
            in message
        )
        assert f"-e acknowledge={VERSION}" in message
        assert "0.2.0: The playbooks" in message
    assert "deployment version 0.1.0; this checkout is" in site.run(playbook="status.yml").output

    assert site.run(*ACKNOWLEDGE, check=True).recap["changed"] == 2
    assert recorded() == {"version": "0.1.0"}

    site.run(*ACKNOWLEDGE)
    assert recorded() == {"version": VERSION}
    assert site.run().recap["changed"] == 0


@pytest.mark.long
def test_a_run_that_fails_later_does_not_ask_again(site: LocalSite) -> None:
    record(version="0.1.0")
    broken = "raise RuntimeError('a fault in the configuration')\n"
    site.run(*ACKNOWLEDGE, fails=True, jupyterhub_extra_config=broken)
    assert recorded() == {"version": "0.1.0", "acknowledged": VERSION}
    site.run()
    assert recorded() == {"version": VERSION}


def test_an_older_checkout_is_refused(site: LocalSite) -> None:
    record(version="99.0.0")
    message = refused(site)
    assert (
        f"provisioned by version 99.0.0 of this deployment, and this checkout is the older version {VERSION}" in message
    )


def test_a_hub_without_a_record_is_upgraded_by_upgrade_yml(site: LocalSite) -> None:
    RECORD.unlink()
    message = refused(site, playbook="upgrade.yml")
    assert "the hub was provisioned by an earlier version of this deployment" in message
    assert not BACKUPS.exists()  # the check comes before the backup

    hub = site.container()["State"]["StartedAt"]
    run = site.run(*ACKNOWLEDGE, playbook="upgrade.yml")
    assert recorded() == {"version": VERSION}
    assert list(BACKUPS.glob("hub/*"))
    assert f"deployment version {VERSION}" in run.output
    assert site.container()["State"]["StartedAt"] == hub


def test_a_renamed_setting_is_refused_with_its_new_name(site: LocalSite) -> None:
    renamed = {"_preflight_renamed_settings": {"jupyterhub_listen": "jupyterhub_port"}, "jupyterhub_listen": 8000}
    assert "jupyterhub_listen is called jupyterhub_port now; rename it" in refused(site, "-e", json.dumps(renamed))
