"""Build an image with Docker's classic builder, from a context that the control machine sent."""

from __future__ import annotations

import configparser
import io
import os
import re
import tarfile
import threading
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images.parallel import check
from ansible.module_utils.jupyterhub_deploy.images.plan import LABEL, Image
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")

# Descriptions of the instructions in our Dockerfiles; the first match is used.
DESCRIPTIONS = (
    ("apt-get install", "install distribution packages"),
    ("uv pip install", "install Python packages"),
    ("npm-cli.js ci", "install node and the proxy's packages"),
    ("pip install", "install the installer"),
    ("compileall", "compile Python code"),
    ("COPY", "copy files"),
)

# The certificates that verify downloads during a build. No Dockerfile copies them into its last stage.
CA_BUNDLE_NAME = "ca-bundle.crt"


def describe(line: str) -> str:
    """Return ``step 7/12, install Python packages`` for a line of the builder, or nothing for a quick step."""
    match = STEP.match(line)
    if not match:
        return ""
    number, count, instruction = match.groups()
    words = next((words for mark, words in DESCRIPTIONS if mark in instruction), "")
    return f"step {number}/{count}, {words}" if words else ""


def mirror_args(environment: dict[str, str], pip_config: str, npm_config: str) -> dict[str, str]:
    """Return the build arguments for using the package indexes of this host.

    Only http and https addresses: a ``file:`` index of the host does not exist inside a build.

    :param environment: variables of the host, ``PIP_INDEX_URL`` and so on; they override the files, as for pip and npm.
    :param pip_config: contents of ``pip.conf``; empty when there is none.
    :param npm_config: contents of ``npmrc``.
    """
    found: dict[str, str] = {}
    pip = configparser.RawConfigParser(strict=False)
    try:
        pip.read_string(pip_config)
    except configparser.Error:
        pip = configparser.RawConfigParser()
    for section in ("global", "install"):
        for option in ("index-url", "extra-index-url"):
            if pip.has_option(section, option):
                found["PIP_" + option.upper().replace("-", "_")] = pip.get(section, option)
    for line in npm_config.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "registry":
            found["NPM_CONFIG_REGISTRY"] = value.strip()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "NPM_CONFIG_REGISTRY"):
        found[name] = environment.get(name, environment.get(name.lower(), found.get(name, "")))
    usable = {name: re.findall(r"https?://\S+", value) for name, value in found.items()}
    return {name: " ".join(urls) for name, urls in usable.items() if urls}


def read_mirrors() -> dict[str, str]:
    """Return :func:`mirror_args` of this host, from the settings of root's package managers."""
    pip = _read_first("/root/.config/pip/pip.conf", "/root/.pip/pip.conf", "/etc/pip.conf")
    npm = _read_first("/root/.npmrc", "/usr/etc/npmrc", "/etc/npmrc")
    return mirror_args(dict(os.environ), pip, npm)


def _read_first(*paths: str) -> str:
    """Return the contents of the first file that exists, empty when none does."""
    for path in paths:
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
    return ""


def read_certificates(ca_bundle: str) -> bytes:
    """Return the content of a PEM file of this host.

    :raises DeployError: it cannot be read.
    """
    try:
        with open(ca_bundle, "rb") as file:
            return file.read()
    except OSError as error:
        raise DeployError(
            f"the certificate bundle {ca_bundle} cannot be read on this host ({error.strerror}); "
            "install ca-certificates, or name another file in jupyterhub_ca_bundle (jupyterhub_images_ca_bundle)"
        ) from error


def context(archive: str, folder: str, ca_bundle: str) -> io.BytesIO:
    """Return a build context as a tarball: one directory of the archive, and the certificate bundle.

    :param archive: tarball of all contexts, as the action plugin sent it.
    :param ca_bundle: a PEM file of this host; it becomes part of the context.
    :raises DeployError: when the bundle cannot be read.
    """
    certificates = read_certificates(ca_bundle)
    target = io.BytesIO()
    with tarfile.open(archive) as source, tarfile.open(fileobj=target, mode="w") as tar:
        for member in source:
            if member.isfile() and member.name.startswith(folder + "/"):
                content = source.extractfile(member)
                member.name = member.name[len(folder) + 1 :]
                member.pax_headers = {}  # has the old name, if that was longer than 100 bytes
                tar.addfile(member, content)
        info = tarfile.TarInfo(CA_BUNDLE_NAME)
        info.size, info.mode = len(certificates), 0o644
        tar.addfile(info, io.BytesIO(certificates))
    target.seek(0)
    return target


def build(
    client: Any,
    image: Image,
    base: str,
    fileobj: io.BytesIO,
    args: dict[str, str],
    progress: Reporter,
    stop: threading.Event,
) -> str:
    """Build an image and return its id.

    The classic builder is part of Docker 20.10 to 29; BuildKit needs a plugin of the client.

    :param base: name of the image to build on.
    :param args: build arguments that do not change the image: mirrors and proxies.
    :param stop: set when another step has failed.
    :raises DeployError: with the last output of the builder.
    """
    output: list[str] = []
    step = ""
    try:
        for event in client.build(
            fileobj=fileobj, custom_context=True, tag=image.name, rm=True, forcerm=True, decode=True,
            buildargs={**args, **image.args, "BASE": base}, labels={LABEL: image.digest}, use_config_proxy=True,
        ):  # fmt: skip
            check(stop)
            if "error" in event:
                raise DeployError(_failure(image, step, [*output, str(event["error"])]))
            for line in str(event.get("stream", "")).splitlines():
                words = describe(line)
                if words:
                    step = words
                    progress.say(f"{image.purpose} image: {step}")
                elif line.strip():
                    output.append(line.strip())
    except docker_errors.APIError as error:
        raise DeployError(_failure(image, step, [str(error.explanation or error)])) from error
    remove_old_stages(client, image.purpose)
    return str(client.inspect_image(image.name)["Id"])


def _failure(image: Image, step: str, output: list[str]) -> str:
    """Return the error message of a failed build: its step and its last output."""
    return (
        f"image {image.name} could not be built ({step or 'before the first step'}): {' / '.join(output[-6:])}; "
        "if a download failed, see jupyterhub_ca_bundle and jupyterhub_images_build_args (PIP_INDEX_URL and others)"
    )


def remove_old_stages(client: Any, purpose: str) -> None:
    """Remove the first stages of earlier builds of this image, except the newest, which the next build reuses."""
    for stage in _stages(client, purpose)[:-1]:
        try:
            client.remove_image(stage)
        except docker_errors.APIError:  # still in use; it only takes disk space
            continue


def newest_stage(client: Any, purpose: str) -> str | None:
    """Return the id of the first stage of the last build of this image, ``None`` when there is none."""
    return next(reversed(_stages(client, purpose)), None)


def _stages(client: Any, purpose: str) -> list[str]:
    """Return the ids of the first stages, oldest first; our Dockerfiles label them."""
    stages = client.images(filters={"dangling": True, "label": [f"org.jupyterhub.deploy.stage={purpose}"]})
    return [stage["Id"] for stage in sorted(stages, key=lambda found: found["Created"])]
