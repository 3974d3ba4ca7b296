"""Build a base image from the packages of the distribution, without a registry."""

from __future__ import annotations

import glob
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.parallel import check
from ansible.module_utils.jupyterhub_deploy.images.plan import LABEL, Image
from ansible.module_utils.jupyterhub_deploy.images.reference import parse
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Files that a server in a container never reads: 40 MB of a minimal system. Copyright files are kept.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")

# How often to check whether another step has failed (seconds), and the maximum that is sent to Docker at once (bytes).
STOP_INTERVAL = 0.5
BLOCK = 1024 * 1024

SOURCE_LINE = re.compile(
    r"^\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+?)\s*(?:#.*)?$"
)


def archive_sources(files: dict[str, str], suite: str) -> list[str]:
    """Return the apt sources of the host's own distribution, as one-line entries.

    Sources of third parties are left out: the images need none of their packages, and their keys may be missing. The
    sources of the distribution are recognised by their suite (``bookworm``, ``bookworm-updates`` …) and the component
    ``main``.

    :param files: contents by file name, ``*.list`` in the one-line style and ``*.sources`` in the deb822 style.
    :param suite: the distribution's code name.
    """
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    entries = []
    for name in sorted(files):
        read = _deb822 if name.endswith(".sources") else _one_line
        for options, uri, its_suite, components in read(files[name]):
            if its_suite in suites and "main" in components and re.match(r"https?://", uri):
                prefix = f"[{options}] " if options else ""
                entries.append(f"deb {prefix}{uri} {its_suite} {' '.join(components)}")
    return list(dict.fromkeys(entries))


def _one_line(text: str) -> list[tuple[str, str, str, list[str]]]:
    """Return options, URI, suite and components of each entry in a ``.list`` file."""
    found = [SOURCE_LINE.match(line) for line in text.splitlines()]
    return [(m["options"] or "", m["uri"], m["suite"], m["components"].split()) for m in found if m]


def _deb822(text: str) -> list[tuple[str, str, str, list[str]]]:
    """Return the same for a ``.sources`` file.

    A key inside the file is left out: apt then uses its trusted keys.
    """
    entries = []
    for stanza in re.split(r"\n\s*\n", "\n".join(line for line in text.splitlines() if not line.startswith("#"))):
        fields: dict[str, list[str]] = {}
        field = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields.setdefault(field, []).extend(line.split())
            elif ":" in line:
                field, _, value = line.partition(":")
                field = field.strip().lower()
                fields[field] = value.split()
        if "deb" not in fields.get("types", []) or fields.get("enabled", ["yes"])[0].lower() in ("no", "false"):
            continue
        key = fields.get("signed-by", [])
        options = f"signed-by={','.join(key)}" if key and all(path.startswith("/") for path in key) else ""
        for uri in fields.get("uris", []):
            entries += [(options, uri, suite, fields.get("components", [])) for suite in fields.get("suites", [])]
    return entries


def read_sources() -> dict[str, str]:
    """Return this host's apt sources by file name."""
    files = {}
    folder = "/etc/apt/sources.list.d"
    for path in ["/etc/apt/sources.list", *glob.glob(f"{folder}/*.list"), *glob.glob(f"{folder}/*.sources")]:
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                files[path] = file.read()
    return files


def proxy_options() -> list[str]:
    """Return mmdebstrap's options for the proxy of this host's apt: mmdebstrap does not read the host's settings."""
    options = []
    for scheme in ("http", "https"):
        key = f"Acquire::{scheme}::Proxy"
        found = subprocess.run(
            ["apt-config", "shell", "value", key], capture_output=True, text=True, check=False
        ).stdout
        value = found.strip().partition("=")[2].strip("'")
        if value:
            options.append(f'--aptopt={key} "{value}"')
    return options


def command(suite: str, packages: str, sources_file: str, extra: list[str]) -> list[str]:
    """Return the mmdebstrap command that writes a root file system to its standard output as a tarball."""
    excludes = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    return [
        # An incomplete root file system is removed as a whole, so files need not be flushed to the disk one by one.
        "mmdebstrap", "--variant=minbase", f"--include={packages}", "--dpkgopt=force-unsafe-io", *excludes,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", '--aptopt=APT::Install-Recommends "false"', *extra,
        suite, "-", sources_file,
    ]  # fmt: skip


def bootstrap(client: Any, image: Image, progress: Reporter, stop: threading.Event) -> str:
    """Build the base image and return its id.

    :param image: its args are ``suite`` (code name) and ``packages`` (comma-separated).
    :param stop: set when another step has failed.
    :raises DeployError: when mmdebstrap is missing or fails.
    """
    suite = image.args["suite"]
    if not shutil.which("mmdebstrap"):
        raise DeployError(
            "mmdebstrap is not installed on this host; the role jupyterhub_images installs it before it builds"
        )
    sources = archive_sources(read_sources(), suite)
    if not sources:
        raise DeployError(
            f"none of this host's apt sources is of the suite {suite} with the component main; "
            "fix /etc/apt/sources.list, or name a base image in jupyterhub_images_base"
        )
    progress.say(f"{image.purpose} image: {suite} from the distribution's packages")
    with tempfile.NamedTemporaryFile("w", suffix=".list", prefix="jupyterhub-deploy-") as file:
        file.write("\n".join(sources) + "\n")
        file.flush()
        reference = parse(image.name)
        with subprocess.Popen(
            command(suite, image.args["packages"], file.name, proxy_options()),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False,
            # Not /tmp: systemd mounts a tmpfs there with nodev, where a root file system cannot be created.
            env={**os.environ, "TMPDIR": "/var/tmp", "LC_ALL": "C.UTF-8"},  # noqa: S108 (root's mmdebstrap creates its own directory)
        ) as process:  # fmt: skip
            log: list[str] = []
            reader = threading.Thread(target=_read_log, args=(process.stderr, log, image.purpose, progress))
            reader.start()
            client.import_image_from_stream(
                _read_output(process, stop), repository=reference.remote, tag=reference.tag,
                changes=[f"LABEL {LABEL}={image.digest}", "ENV LANG=C.UTF-8", 'CMD ["/bin/bash"]'],
            )  # fmt: skip
            reader.join()
    if process.returncode:
        client.remove_image(image.name)  # incomplete: Docker imports whatever it receives
        raise DeployError(
            f"mmdebstrap could not make {image.name}: {' / '.join(log[-5:])}; check this host's apt sources"
        )
    return str(client.inspect_image(image.name)["Id"])


def _read_output(process: subprocess.Popen[bytes], stop: threading.Event) -> Iterator[bytes]:
    """Yield the output of mmdebstrap; stop mmdebstrap when another step has failed."""
    output: Any = process.stdout
    try:
        while True:
            check(stop)
            if select.select([output], [], [], STOP_INTERVAL)[0]:
                block = output.read1(BLOCK)
                if not block:
                    return
                yield block
    except BaseException:
        process.terminate()
        raise


def _read_log(stream: Any, log: list[str], purpose: str, progress: Reporter) -> None:
    """Collect the log of mmdebstrap, and report its milestones."""
    for raw in stream:
        line = raw.decode(errors="replace").strip()
        log.append(line)
        if line.startswith("I: ") and "running --" not in line:
            progress.update(f"{purpose} image: {line[3:].rstrip('.')}")
