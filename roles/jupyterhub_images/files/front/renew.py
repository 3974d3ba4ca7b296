"""Renew the certificates of all hubs on this host that are due, now and then, until nginx is told to end.

Certbot decides what is due: it renews when a third of the lifetime is left, half of a short one, or when the ACME
server says so. One round runs certbot once for each hub, so that the failure of one does not keep others from renewal.
Then nginx reloads, if it serves other certificates than those on the disk. A reload interrupts no connection.

The result of the last round is in ``/etc/front/acme/last_renewal.json``:

    {"time": "2026-11-27T18:00:00+00:00", "exit_code": 1, "error": "jupyterhub: …",
     "hubs": {"jupyterhub": {"exit_code": 1, "error": "…"}}}

``exit_code`` is 0 when nothing failed, also when nothing was due. ``error`` has the last lines that a program printed,
without secrets.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FRONT = Path("/etc/front")
#: Seconds between two rounds; certbot's authors recommend two rounds a day or more.
INTERVAL = 6 * 3600
#: The first round is soon after the start: a front that was away for long may have a certificate that is due.
FIRST = 30
#: Seconds that certbot may take for one hub; DNS providers take minutes to publish a record.
PATIENCE = 900
#: Lines of a program's output that are kept.
LINES = 12
#: Shorter settings are names and numbers, not secrets.
SECRET_LENGTH = 8


class Outcome(NamedTuple):
    """How a program ended: its exit code, and its last lines if it failed."""

    exit_code: int
    error: str = ""


def run(command: list[str], environment: dict[str, str] | None = None) -> Outcome:
    """Run a program; it is not interrupted by the signal that ends the front."""
    try:
        done = subprocess.run(
            command, check=False, text=True, errors="replace", timeout=PATIENCE, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(124, f"{command[0]} did not end within {PATIENCE} s")
    except OSError as error:
        return Outcome(127, f"{command[0]} cannot be run: {error.strerror}")
    return Outcome(done.returncode, tail(done.stdout) if done.returncode else "")


def tail(output: str) -> str:
    """Return the last lines of a text, without empty ones and lines that only separate others."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip(" -")]
    return "\n".join(lines[-LINES:])


def secrets(settings: Path) -> list[str]:
    """Return the values in the settings of a hub that must not be shown, longest first."""
    values = []
    for path in settings.glob("*.ini"):
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if path.name != "certbot.ini" or key.strip().startswith("eab-"):
                values.append(value.strip().strip("\"'"))
    return sorted((value for value in values if len(value) >= SECRET_LENGTH), key=len, reverse=True)


def renew(front: Path, hub: str) -> Outcome:
    """Renew the certificate of one hub if it is due."""
    settings = front / "acme/settings" / hub
    bundle = settings / "ca.pem"
    command = ["certbot", "renew", "--config", str(settings / "certbot.ini"), "--cert-name", hub]
    outcome = run(command, {"REQUESTS_CA_BUNDLE": str(bundle)} if bundle.exists() else None)
    error = outcome.error
    for secret in secrets(settings):
        error = error.replace(secret, "…")
    return outcome._replace(error=error)


def hubs(front: Path) -> list[str]:
    """Return the hubs that have both a certificate to renew and settings for it."""
    names = sorted(path.stem for path in (front / "acme/renewal").glob("*.conf"))
    return [name for name in names if (front / "acme/settings" / name / "certbot.ini").exists()]


def served(front: Path) -> dict[str, str]:
    """Return the file of each hub's certificate, to which ``live/<hub>/fullchain.pem`` is a link."""
    return {path.parent.name: os.path.realpath(path) for path in (front / "acme/live").glob("*/fullchain.pem")}


def reload(front: Path) -> Outcome:
    """Make nginx read its configuration and the certificates again, if the configuration is valid."""
    nginx = ["nginx", "-c", str(front / "nginx.conf")]
    tested = run([*nginx, "-t", "-q"])
    return tested if tested.exit_code else run([*nginx, "-s", "reload"])


@contextlib.contextmanager
def locked(front: Path) -> Iterator[None]:
    """Wait until no other certbot uses the directory, also that of another container."""
    with (front / "acme/front.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(front: Path, outcomes: dict[str, Outcome], general: Outcome) -> None:
    """Write the result of a round."""
    errors = [f"{hub}: {outcome.error}" for hub, outcome in outcomes.items() if outcome.exit_code]
    errors += [general.error] if general.exit_code else []
    codes = [outcome.exit_code for outcome in [*outcomes.values(), general]]
    result = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "exit_code": next((code for code in codes if code), 0),
        "error": "\n".join(errors),
        "hubs": {hub: outcome._asdict() for hub, outcome in outcomes.items()},
    }
    target = front / "acme/last_renewal.json"
    draft = target.with_suffix(".new")
    draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draft.replace(target)


def renew_all(front: Path, known: dict[str, str]) -> dict[str, str]:
    """Do one round, with the lock; return the certificates that nginx serves after it.

    :param known: the certificates that nginx has read.
    """
    outcomes = {hub: renew(front, hub) for hub in hubs(front)}
    now = served(front)
    reloaded = reload(front) if now != known else Outcome(0)
    write(front, outcomes, reloaded)
    for name, outcome in [*outcomes.items(), ("nginx", reloaded)]:
        if outcome.exit_code:
            print(f"front: {name}: {' '.join(outcome.error.split())}", file=sys.stderr, flush=True)
    return known if reloaded.exit_code else now


def main() -> int:
    """Do a round now and then, until a signal arrives."""
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    interval = float(os.environ.get("FRONT_RENEW_SECONDS") or INTERVAL)
    known = served(FRONT)
    delay = min(FIRST, interval)
    while not stop.wait(delay):
        delay = interval
        try:
            with locked(FRONT):
                if not stop.is_set():
                    known = renew_all(FRONT, known)
        except (OSError, ValueError) as error:  # a full disk, for example; the next round may work
            print(f"front: the certificates cannot be renewed: {error}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
