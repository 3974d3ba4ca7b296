"""How fast the hub's page and SSH answer while notebooks take all that they can.

    python -m bench.pressure

Four users have kernels on a test host. They take memory, first one of them more than a server can use, then all
together more than all servers can use; they start as many processes as they can; and they compute. Meanwhile, the page
is asked for ten times a second, and a command is run over SSH, one after the other. The users are on the machine that
also measures: what they compute takes its processor time, too.
"""

from __future__ import annotations

import contextlib
import shlex
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from bench.common import Deployed, deployed, table
from bench.starts import Pages
from support.hub_http import HubSession
from support.poller import Notebook

SECONDS = 20.0  # of each measurement
PASSWORD = "seven-green-bottles-on-a-wall"
USERS = ("alice", "bob", "carol", "dave")
MIB = 2**20
#: Each server can use 512 MiB, all together twice that.
SETTINGS = {"jupyterhub_memory_limit": "512M", "jupyterhub_total_memory_limit": "1G", "jupyterhub_pids_limit": 300}
#: Keeps memory that was written to, or is ended.
KEEP = f"import time\ndata = b'x' * ({{size}} * {MIB})\ntime.sleep({SECONDS})"
#: Starts processes whenever that is possible.
FORK = f"""
import subprocess, time
end, started = time.monotonic() + {SECONDS}, []
while time.monotonic() < end:
    try:
        started.append(subprocess.Popen(["sleep", "600"]))
    except OSError:
        time.sleep(0.01)
for one in started:
    one.kill()
"""
COMPUTE = f"import time\nend = time.monotonic() + {SECONDS}\nwhile time.monotonic() < end: pass"
LOADS: Mapping[str, tuple[str, int]] = {
    "nothing": ("pass", 4),
    "one user takes 1 GiB": (KEEP.format(size=1024), 1),
    "four users take 400 MiB each": (KEEP.format(size=400), 4),
    "one user starts processes": (FORK, 1),
    "four users compute": (COMPUTE, 4),
}


@contextlib.contextmanager
def repeated(action: Callable[[], object]) -> Iterator[list[float]]:
    """Repeat an action while the ``with`` block runs; the list gets the milliseconds of each."""
    found: list[float] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            start = time.monotonic()
            action()
            found.append((time.monotonic() - start) * 1000)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def ssh(site: Deployed) -> None:
    """Run a command on the host."""
    facts = site.host.inventory()
    options = shlex.split(facts["ansible_ssh_common_args"])
    target = f"{facts['ansible_user']}@{facts['ansible_host']}"
    subprocess.run(["ssh", *options, "-i", facts["ansible_ssh_private_key_file"], target, "true"], check=True)


def notebook(url: str, name: str) -> Notebook:
    """Sign a user up, and start a server with a kernel."""
    session = HubSession(url)
    session.sign_up(name, PASSWORD)
    assert session.sign_in(name, PASSWORD)
    return Notebook(session, name)


def measure(site: Deployed, what: str) -> list[object]:
    """Return a row of the table.

    Raises:
        SystemExit: a page of the hub failed.
    """
    code, number = LOADS[what]
    users = [notebook(site.url, name) for name in USERS]

    def load(user: Notebook) -> None:
        with contextlib.suppress(ConnectionError):  # the kernel was ended
            user.socket.execute(code, timeout=SECONDS)

    with ThreadPoolExecutor() as pool, Pages(users[-1].session) as pages, repeated(lambda: ssh(site)) as commands:
        for user in users[:number]:
            pool.submit(load, user)
        time.sleep(SECONDS)
    problems = [answer.problem for answer in pages.answers if answer.problem]
    if problems:
        raise SystemExit(f"{what}: {len(problems)} pages of the hub failed: {problems[0]}")
    waited = [answer.seconds * 1000 for answer in pages.answers]
    for user in users:
        user.session.stop(user.name)
    return [what, statistics.median(waited), p95(waited), max(waited), statistics.median(commands), p95(commands)]


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


HEADER = ["load", "/hub/home: median (ms)", "p95", "most", "SSH: median (ms)", "p95", "p95 / p95 of nothing"]


def main() -> None:
    """Provision a hub on a test host, measure, and print the table."""
    with deployed(SETTINGS) as site:
        rows = [measure(site, what) for what in LOADS]
    idle = rows[0]
    print(table(HEADER, [[*row, f"{float(str(row[2])) / float(str(idle[2])):.1f}"] for row in rows]))


if __name__ == "__main__":
    main()
