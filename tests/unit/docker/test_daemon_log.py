"""Which lines of Docker's log a message shows."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.docker import daemon_log

CHATTER = 'time="…" level=info msg="[core] Channel Connectivity change to SHUTDOWN" module=grpc'
ERROR = 'time="…" level=error msg="Failed to GetDriver graph" driver=nonsense'
LAST = "failed to start daemon: error initializing graphdriver: driver not supported"


def test_trouble_is_shown_whatever_is_logged_after_it():
    log = [CHATTER, ERROR, *[CHATTER] * 50, LAST, ""]
    assert daemon_log.trouble_lines(log, 15) == f"{ERROR}\n{LAST}"


def test_without_trouble_the_last_lines_are_shown():
    assert daemon_log.trouble_lines(["a level=info", "b level=info"], 1) == "b level=info"
