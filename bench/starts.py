"""How long users wait when all start their servers at once, and how long the hub's pages take meanwhile.

    python -m bench.starts [--users 100] [--pairs 1] [--at-once 0 auto]

Each pair measures the same hub with each number of servers that start at the same time; 0 is without the queue. Users
and measurement are on the machine of the servers: they take its processor time, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupyterhub_resources
from bench.common import ansible, table
from hosts.built_images import REPOSITORY
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.module_site import ModuleSite
from support.modules import run
from support.poller import Answer, get

VERSION = "5.5.4"
RATE = 10  # of the hub's page, each second
PATIENCE = 900.0  # seconds


def build(folder: str) -> dict[str, str]:
    """Build the images on this machine; return their names."""
    built = Path(folder, "images.json")
    facts = f"version={VERSION} result={built} repository={REPOSITORY}"
    ansible("ansible-playbook", "-i", "localhost,", "tests/images.yml", "-e", facts)
    return {part: str(name) for part, name in json.loads(built.read_text(encoding="utf-8")).items()}


def make_site(folder: str) -> ModuleSite:
    """Return a site with its networks, its front and its proxy."""
    images = build(folder)
    site = ModuleSite(
        run_name("starts"), images["hub"], images["proxy"], images["notebook"], images["front"], f"{folder}/etc"
    )
    site.destroy()
    site.prepare()
    site.run_proxy()
    site.settings["cgroup_parent"] = run(jupyterhub_resources, **site.resource_arguments())["cgroup_parent"]
    return site


def sign_in(site: ModuleSite) -> HubSession:
    """Return the admin's session."""
    session = HubSession(site.url)
    assert session.sign_in("admin", site.admin_password())
    return session


def start_one(admin: HubSession, token: str, name: str, began: float) -> float | str:
    """Start a user's server and follow its progress; return the seconds until it was ready, or what was wrong."""
    session, url = HubSession(admin.url), f"{admin.url}/hub/api/users/{name}/server"
    session.headers["Authorization"] = f"token {token}"
    answer = session.post(url, timeout=PATIENCE)
    if answer.status_code not in (201, 202):
        return f"{answer.status_code} {answer.text}"
    with session.get(f"{url}/progress", stream=True, timeout=PATIENCE) as progress:
        for line in progress.iter_lines():
            event = json.loads(line.removeprefix(b"data: ") or "{}")
            if event.get("failed"):
                return str(event["message"])
            if event.get("ready"):
                return time.monotonic() - began
    return "the progress ended"


class Pages:
    """Asks for the hub's page on a fixed schedule while the ``with`` block runs; ``answers`` has the results."""

    def __init__(self, session: HubSession) -> None:
        self._url = session.url
        self._cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers: list[Answer] = []

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        def one(sent: float) -> None:
            problem = get(self._url, "/hub/home", self._cookies)
            self.answers.append(Answer(sent, time.monotonic() - sent, problem))

        with ThreadPoolExecutor(RATE * 20) as crowd:
            due = time.monotonic()
            while not self._stop.is_set():
                crowd.submit(one, due)
                due += 1 / RATE
                time.sleep(max(0.0, due - time.monotonic()))


def measure(site: ModuleSite, names: list[str], at_once: int | str) -> list[object]:
    """Start all servers with a hub that starts so many at the same time; return a row of the table.

    Raises:
        SystemExit: a page of the hub failed.
    """
    site.settings["concurrent_starts"] = at_once
    site.run_hub()
    admin = sign_in(site)
    admin.api("POST", "/users", json={"usernames": names})
    token = admin.api("POST", "/users/admin/tokens", json={"expires_in": 3600}).json()["token"]
    with Pages(admin) as pages, ThreadPoolExecutor(len(names)) as users:
        began = time.monotonic()
        results = list(users.map(lambda name: start_one(admin, token, name, began), names))
    for container in [one for one in site.containers() if "-jupyter-" in one]:
        site.client.containers.get(container).remove(force=True, v=True)
    site.client.containers.get(site.name).remove(force=True)  # the next one finds that no server runs
    seconds = [result for result in results if isinstance(result, float)]
    failures = [result for result in results if isinstance(result, str)]
    problems = [answer.problem for answer in pages.answers if answer.problem]
    if problems:
        raise SystemExit(f"{len(problems)} pages of the hub failed: {problems[0]}")
    waited = [answer.seconds * 1000 for answer in pages.answers]
    quantiles = statistics.quantiles(waited, n=20)
    median, last = statistics.median(seconds), max(seconds)
    print(f"{at_once}: median {median:.1f} s, last {last:.1f} s, failed {failures[:1]}", flush=True)
    return [at_once, len(failures), min(seconds), median, last, median / last, quantiles[9], quantiles[-1], max(waited)]


HEADER = ["at once", "failed", "first (s)", "median", "last", "median / last", "/hub/home: median (ms)", "p95", "most"]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--at-once", nargs="+", default=["0", "auto"])
    options = parser.parse_args()
    names = [f"user-{number}" for number in range(options.users)]
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(folder)
        try:
            rows = [
                measure(site, names, int(number) if number.isdigit() else number)
                for _ in range(options.pairs)
                for number in options.at_once
            ]
        finally:
            site.destroy()
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()
