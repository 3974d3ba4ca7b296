"""Time until servers are ready, of this project's notebook image and of one that plain pip made, in the same hub.

    python -m bench.spawn [--pairs 3] [--users 10]

Each pair starts one server, and then all users' servers at once, with each image. All start at the same time, without
the queue. One failure ends the measurement with an error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.images.build import read_certificates, read_mirrors

from bench.common import table
from bench.starts import VERSION, make_site, sign_in, start_one
from hosts.built_images import REPOSITORY
from hosts.run import name as run_name
from support.module_site import ModuleSite

#: What the documentation of JupyterHub names, on the same base image, with the newest releases that fit.
PLAIN = """\
FROM {base}
COPY ca-bundle.crt /build/
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv --without-pip /opt/plain \\
 && PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) PIP_CERT=/build/ca-bundle.crt /opt/plain/bin/python -m pip \\
    install --quiet --no-cache-dir jupyterhub=={version} jupyterlab notebook \\
 && useradd --uid 1000 --gid 100 --create-home jovyan && install -d -o 1000 -g 100 /home/jovyan/work
ENV PATH=/opt/plain/bin:$PATH
WORKDIR /home/jovyan
USER 1000:100
CMD ["jupyterhub-singleuser"]
"""


class Seconds(NamedTuple):
    """From the request until the server was ready: of one server, and of the first, median and last of many."""

    one: float
    first: float
    median: float
    last: float


def build_plain(site: ModuleSite, folder: str) -> str:
    """Build the image with plain pip; return its name."""
    name, context = run_name("spawn") + "/plain:1", Path(folder, "plain")
    base = site.client.images.list(name=f"{REPOSITORY}/base")[0].tags[0]
    context.mkdir()
    (context / "Dockerfile").write_text(PLAIN.format(base=base, version=VERSION), encoding="utf-8")
    (context / "ca-bundle.crt").write_bytes(read_certificates("/etc/ssl/certs/ca-certificates.crt"))
    site.client.images.build(path=str(context), tag=name, buildargs=read_mirrors(), rm=True)
    return name


def measure(site: ModuleSite, image: str, names: list[str]) -> Seconds:
    """Start servers with an image.

    Raises:
        SystemExit: a start failed.
    """
    site.notebook_image = image
    site.run_hub()
    admin = sign_in(site)
    admin.api("POST", "/users", json={"usernames": names})
    token = admin.api("POST", "/users/admin/tokens", json={"expires_in": 3600}).json()["token"]

    def start(users: list[str]) -> list[float]:
        with ThreadPoolExecutor(len(users)) as pool:
            began = time.monotonic()
            results = list(pool.map(lambda name: start_one(admin, token, name, began), users))
        for user in users:
            admin.stop(user)
        seconds = [result for result in results if isinstance(result, float)]
        if len(seconds) < len(users):
            raise SystemExit(f"{image}: {next(result for result in results if not isinstance(result, float))}")
        return seconds

    start(names[:1])  # reads the image from the disk
    (one,) = start(names[:1])
    many = start(names)
    return Seconds(one, min(many), statistics.median(many), max(many))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--users", type=int, default=10)
    options = parser.parse_args()
    names = [f"user-{number}" for number in range(options.users)]
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(folder)
        site.settings["concurrent_starts"] = 0
        ours = site.notebook_image
        plain = build_plain(site, folder)
        found: dict[str, list[Seconds]] = {ours: [], plain: []}
        try:
            for number in range(options.pairs):
                for image in (ours, plain) if number % 2 else (plain, ours):
                    found[image].append(measure(site, image, names))
                    print(image, json.dumps(found[image][-1]), flush=True)
        finally:
            site.destroy()
            site.client.images.remove(plain, force=True)
    medians = {image: [statistics.median(values) for values in zip(*found[image], strict=True)] for image in found}
    ratios = [
        statistics.median(mine / other for mine, other in zip(mines, others, strict=True))
        for mines, others in zip(zip(*found[ours], strict=True), zip(*found[plain], strict=True), strict=True)
    ]
    many = f"{options.users} at once:"
    rows = [
        ["plain pip", *medians[plain]],
        ["this project", *medians[ours]],
        ["ratio (median of pairs)", *(f"{ratio:.2f}" for ratio in ratios)],
    ]
    print(table(["seconds to ready", "one server", f"{many} first", "median", "last"], rows))


if __name__ == "__main__":
    main()
