"""A change while a user works: this deployment against the reference deployment, as the user's notebook sees it.

    git clone https://github.com/jupyterhub/jupyterhub-deploy-docker
    python -m bench.upgrade --reference jupyterhub-deploy-docker [--pairs 5] [--plot docs/images/upgrade.svg]

Both run on this machine's engine with the same JupyterHub, the same packages and the same notebook image. The reference
has hub and proxy in one container and its own ``basic-example/jupyterhub_config.py`` as it is published; what
``docker compose up -d`` does after a change is done by equal ``docker`` commands. Its base image may be out of reach,
so a stand-in is built from our hub image with node and the proxy from our proxy image.

When a user's server was lost, the user starts it again as soon as the hub responds, so a gap of the reference ends as
soon as possible.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.common import ansible, table, wait_until
from support.hub_http import HubSession
from support.local_site import LocalSite
from support.poller import Answer, Notebook, Poll, Report, get
from support.ports import free_port

NAME = "jhd-bench-upgrade"
VERSION = "5.5.4"
PASSWORD = "a-long-enough-passphrase-of-the-bench"
#: Seconds to keep polling after the hub is back.
AFTERMATH = 3.0
#: What a user of the reference is called: its configuration gives containers and volumes fixed names with this in it.
USER = f"bench{secrets.token_hex(4)}"
STAND_IN = """\
FROM {proxy} AS proxy
FROM {hub}
COPY --from=proxy /opt/proxy /opt/proxy
RUN ln -s /opt/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy /usr/local/bin/
ENV PATH=/opt/jupyterhub/bin:/opt/proxy/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT []
CMD ["jupyterhub", "-f", "/srv/jupyterhub/jupyterhub_config.py"]
"""


class Seen(NamedTuple):
    """One change: the report, its start, each response for the plot, and whether the server was lost."""

    report: Report
    began: float
    answers: list[Answer]
    hub_answers: list[Answer]
    server_lost: bool


def docker(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Run the Docker client and return its output."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


class Ours:
    """This deployment: a site of its own name, changed by site.yml."""

    def __init__(self, notebook: str) -> None:
        self.site = LocalSite(NAME, jupyterhub_version=VERSION, jupyterhub_notebook_image=notebook)
        self.url = self.site.url

    def start(self) -> None:
        """Make the site."""
        self.site.destroy()
        self.site.run()

    def new_image(self, name: str) -> None:
        """Change the notebook image of new servers."""
        self.site.settings["jupyterhub_notebook_image"] = name
        self.site.run()

    def new_config(self) -> None:
        """Change the hub's configuration."""
        self.site.settings["jupyterhub_extra_config"] = f"# {time.time()}"
        self.site.run()

    def server(self) -> str:
        """Return the identity of the user's container."""
        return docker("inspect", "--format", "{{.Id}}", f"{NAME}-jupyter-{USER}")

    def remove(self) -> None:
        """Remove everything."""
        self.site.destroy()


class Theirs:
    """The reference deployment: one container with hub and proxy, named and started as its compose file says."""

    def __init__(self, notebook: str, image: str, example: Path, scratch: Path) -> None:
        self.notebook = notebook
        self.image = image
        # A copy, because a change of the configuration is a change of this file.
        self.config = scratch / "jupyterhub_config.py"
        self.config.write_text((example / "jupyterhub_config.py").read_text(encoding="utf-8"), encoding="utf-8")
        self.name = "jhd-bench-reference"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Do what the first ``docker compose up -d`` does."""
        self.remove()
        docker("network", "create", f"{self.name}-network")
        docker("volume", "create", f"{self.name}-data")
        self._create(self.name)
        docker("start", self.name)

    def _create(self, name: str) -> None:
        settings = {
            "JUPYTERHUB_ADMIN": "admin",
            "DOCKER_NETWORK_NAME": f"{self.name}-network",
            "DOCKER_NOTEBOOK_IMAGE": self.notebook,
            "DOCKER_NOTEBOOK_DIR": "/home/jovyan/work",
        }
        docker(
            "create", "--name", name, "--restart", "always",
            "--network", f"{self.name}-network", "--network-alias", "jupyterhub",
            "--volume", f"{self.config}:/srv/jupyterhub/jupyterhub_config.py:ro",
            "--volume", "/var/run/docker.sock:/var/run/docker.sock:rw", "--volume", f"{self.name}-data:/data",
            "--publish", f"127.0.0.1:{self.port}:8000",
            *(part for setting in settings.items() for part in ("--env", "=".join(setting))),
            self.image,
        )  # fmt: skip

    def new_image(self, name: str) -> None:
        """Do what ``docker compose up -d`` does when the compose file names another notebook image."""
        self.notebook = name
        self._create(f"{self.name}-recreated")
        docker("stop", "--time", "10", self.name)
        docker("rm", self.name)
        docker("rename", f"{self.name}-recreated", self.name)
        docker("start", self.name)

    def new_config(self) -> None:
        """Change the mounted file, which compose does not look into, and do what ``docker compose restart`` does."""
        with self.config.open("a", encoding="utf-8") as stream:
            stream.write(f"# {time.time()}\n")
        docker("restart", "--time", "10", self.name)

    def server(self) -> str:
        """Return the identity of the user's container."""
        return docker("inspect", "--format", "{{.Id}}", f"jupyter-{USER}")

    def remove(self) -> None:
        """Remove everything."""
        docker("rm", "--force", "--volumes", self.name, f"{self.name}-recreated", f"jupyter-{USER}", check=False)
        docker("volume", "rm", "--force", f"{self.name}-data", f"jupyterhub-user-{USER}")
        docker("network", "rm", f"{self.name}-network", check=False)


def healthy(netloc: str) -> bool:
    """Return whether the hub responds."""
    return not get(f"http://{netloc}", "/hub/health")


def watch(deployment: Ours | Theirs, change: Callable[[], None]) -> Seen:
    """Change the deployment while the user works, and poll until the notebook responds again."""
    session = HubSession(deployment.url)
    if not session.sign_in(USER, PASSWORD):
        session.sign_up(USER, PASSWORD)
        assert session.sign_in(USER, PASSWORD), f"{deployment.url} does not let {USER} in"
    notebook = Notebook(session, USER)
    server = deployment.server()
    netloc = notebook.address.netloc
    with Poll(notebook) as poll:
        began = time.monotonic()
        change()
        wait_until(partial(healthy, netloc), 300, f"a response from {netloc}")
        if notebook.is_running():
            time.sleep(AFTERMATH)
        else:
            session.spawn(USER)
    notebook.socket.close()
    return Seen(poll.report, began, poll.answers, poll.hub_answers, deployment.server() != server)


def row(change: str, whose: str, seen: list[Seen]) -> list[object]:
    """Return a row of the table: medians, and how many of all were lost."""
    reports = [one.report for one in seen]

    def lost(which: Callable[[Seen], bool]) -> str:
        return f"{sum(map(which, seen))} of {len(seen)}"

    return [
        change,
        whose,
        f"{statistics.median(report.failed for report in reports):.0f}",
        float(statistics.median(report.longest_gap for report in reports)),
        float(statistics.median(report.hub_down for report in reports)),
        float(statistics.median(report.hub_wait for report in reports)),
        lost(lambda one: one.server_lost),
        lost(lambda one: one.server_lost or bool(one.report.variable)),
        lost(lambda one: bool(one.report.socket)),
    ]


def plot(rows: list[tuple[str, Seen]]) -> str:
    """Return an SVG: each request of a run as a mark at its time, good or failed; a row each for notebook and hub."""
    left, scale_width, height, gap = 250, 640, 16, 10
    start = min(min(one.answers).sent - one.began for _, one in rows)
    end = max(max(one.answers).sent - one.began for _, one in rows)

    def x(second: float) -> float:
        return round(left + (second - start) / (end - start) * scale_width, 1)

    lines, y = [], 34
    for label, one in rows:
        for what, answers in (("notebook", one.answers), ("hub", one.hub_answers)):
            lines.append(f'<text x="{left - 10}" y="{y + 12}" text-anchor="end">{label}: {what}</text>')
            for good, colour in ((True, "#2e8b57"), (False, "#c62828")):
                marks = [x(answer.sent - one.began) for answer in answers if good == (not answer.problem)]
                path = "".join(f"M{mark} {y}v{height}" for mark in marks)
                lines.append(f'<path d="{path}" stroke="{colour}" stroke-width="1.5"/>' if path else "")
            y += height + (gap // 3 if what == "notebook" else gap)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if (end - start) / step <= 12)
    for second in range(0, int(end) + 1, step):
        lines.append(f'<path d="M{x(second)} 28V{y}" stroke="#999" stroke-dasharray="2 3"/>')
        lines.append(f'<text x="{x(second)}" y="{y + 14}" text-anchor="middle">{second} s</text>')
    title = "Each request while the notebook image is changed: green was answered, red failed; the change begins at 0"
    body = "\n  ".join(line for line in lines if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + scale_width + 30} {y + 24}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12">\n  <title>{title}</title>\n'
        f'  <rect width="{left + scale_width + 30}" height="{y + 24}" fill="#fff"/>\n'
        f'  <text x="12" y="18">{title}</text>\n  {body}\n</svg>\n'
    )


def built_images(scratch: Path) -> dict[str, Any]:
    """Build the project's own images on this machine and return their names."""
    result = scratch / "images.json"
    ansible("ansible-playbook", "tests/images.yml", "-e", f"version={VERSION} result={result}")
    return dict(json.loads(result.read_text(encoding="utf-8")))


def main() -> None:
    """Measure, print the table, and draw the plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reference", type=Path, required=True, help="a clone of jupyterhub/jupyterhub-deploy-docker")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="where to write the plot, an SVG")
    options = parser.parse_args()
    changes = ("notebook image", "configuration")
    seen: dict[tuple[str, str], list[Seen]] = {}
    notebooks = [f"{NAME}/notebook:{number}" for number in range(options.pairs + 1)]
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        images = built_images(scratch)
        for number, name in enumerate(notebooks):
            docker("build", "--quiet", "--tag", name, "-", stdin=f"FROM {images['notebook']}\nLABEL number={number}\n")
        stand_in = f"{NAME}/reference"
        docker("build", "--quiet", "--tag", stand_in, "-", stdin=STAND_IN.format(**images))
        ours = Ours(notebooks[0])
        theirs = Theirs(notebooks[0], stand_in, options.reference / "basic-example", scratch)
        try:
            for deployment in (ours, theirs):
                deployment.start()
                netloc = deployment.url.partition("//")[2]
                wait_until(partial(healthy, netloc), 120, f"a response from {netloc}")
            for pair in range(options.pairs):
                for change in changes:
                    for whose, deployment in (("this deployment", ours), ("reference", theirs)):
                        name = notebooks[pair + 1]
                        action = partial(deployment.new_image, name) if change == changes[0] else deployment.new_config
                        one = watch(deployment, action)
                        seen.setdefault((change, whose), []).append(one)
                        print(change, whose, one.report, file=sys.stderr)
        finally:
            ours.remove()
            theirs.remove()
            docker("rmi", "--force", stand_in, *notebooks, check=False)
    header = ["change", "", "failed requests", "notebook away (s)", "hub away (s)", "longest wait for it (s)",
              "servers lost", "kernels lost", "web sockets lost"]  # fmt: skip
    print(table(header, [row(change, whose, many) for (change, whose), many in seen.items()]))
    sent = statistics.median(one.report.sent for many in seen.values() for one in many)
    print(f"\nMedians of {options.pairs} pairs in turn; about {sent:.0f} requests to the notebook for each change.")
    if options.plot:
        typical = [(whose, many[len(many) // 2]) for (change, whose), many in seen.items() if change == changes[0]]
        options.plot.write_text(plot(typical), encoding="utf-8")


if __name__ == "__main__":
    main()
