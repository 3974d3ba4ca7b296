"""Images of the test hosts, built from Debian's packages, and kept by the digest of their recipe."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
REPOSITORY = "jhd-test-host"
LOCK = Path(tempfile.gettempdir(), "jhd-test-host.lock")
#: Certificates that the site added to this machine's own; test hosts download through the same network.
SITE_CERTIFICATES = Path("/usr/local/share/ca-certificates")

_SERVER = [
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iptables",
    "kmod",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
]


class Kind(NamedTuple):
    """One sort of test host: its Debian release, what is installed on it, and how it runs."""

    suite: str
    packages: list[str]
    init: str  # "systemd" or "bare", see host-init


#: The servers that an operator has; machines for a container registry, for an ACME server, and for the web servers of
#: others; and the bare machine of the newcomer: a minimal Debian with Python, make and git.
KINDS = {
    "debian12": Kind("bookworm", _SERVER, "systemd"),
    "debian13": Kind("trixie", _SERVER, "systemd"),
    "registry": Kind("bookworm", ["apache2-utils", "ca-certificates", "docker-registry", "openssl"], "bare"),
    "acme": Kind("bookworm", ["bind9", "bind9-dnsutils", "ca-certificates", "pebble", "python3"], "bare"),
    "web": Kind("bookworm", ["apache2", "ca-certificates", "nginx", "python3"], "bare"),
    "bare": Kind("bookworm", ["ca-certificates", "git", "make", "python3"], "bare"),
}


class DockerError(RuntimeError):
    """The Docker client failed; the text has its output."""


def docker(*args: str) -> str:
    """Run the Docker client and return its output; :class:`DockerError` when it fails."""
    done = subprocess.run(["docker", *args], check=False, text=True, capture_output=True)
    if done.returncode:
        raise DockerError(f"docker {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout.strip()


def sources(suite: str) -> list[str]:
    """Return apt source lines for a Debian suite at the mirrors that this machine itself uses.

    ``JHD_DEBIAN_MIRROR`` and ``JHD_DEBIAN_SECURITY_MIRROR`` name them where this machine is not Debian.

    Raises:
        RuntimeError: no mirror is known.
    """
    main = os.environ.get("JHD_DEBIAN_MIRROR")
    security = os.environ.get("JHD_DEBIAN_SECURITY_MIRROR")
    if not main or not security:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)", "Created-By: Packages"],
            check=True, text=True, stdout=subprocess.PIPE,
        ).stdout  # fmt: skip
        own = _codename()
        uri_of = {line.split()[1]: line.split()[0] for line in listed.splitlines()}
        main = main or uri_of.get(own)
        security = security or uri_of.get(f"{own}-security")
    if not main or not security:
        raise RuntimeError(
            "apt on this machine has no Debian mirror from which test hosts could be built; set "
            "JHD_DEBIAN_MIRROR and JHD_DEBIAN_SECURITY_MIRROR to the addresses of one"
        )
    return [f"deb {main} {suite} main", f"deb {main} {suite}-updates main", f"deb {security} {suite}-security main"]


def _codename() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return ""


def _recipe_digest(kind: Kind) -> str:
    """Digest of all that an image is made of; the month is in it, so that security updates get in."""
    parts = [repr(kind), repr(sources(kind.suite)), datetime.date.today().strftime("%Y-%m")]
    files = [HERE / "Dockerfile", HERE / "host-init", *sorted(SITE_CERTIFICATES.glob("*.crt"))]
    parts += [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def ensure_image(kind_name: str) -> str:
    """Return the image of a kind of test host, building it if this machine does not have it (about a minute)."""
    kind = KINDS[kind_name]
    image = f"{REPOSITORY}:{kind_name}-{_recipe_digest(kind)}"
    with LOCK.open("w") as lock:  # another process of the tests may build the same at this moment
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not docker("images", "--quiet", image):
            _build(kind_name, image)
    return image


def _build(kind_name: str, image: str) -> None:
    """Build the image of a kind of test host, and remove those that it replaces."""
    kind = KINDS[kind_name]
    base = f"{REPOSITORY}:{kind_name}-base"
    with tempfile.TemporaryDirectory() as scratch:
        tarball = Path(scratch, "root.tar")
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(kind.packages)}",
             "--aptopt=Acquire::Languages \"none\"", kind.suite, str(tarball), *sources(kind.suite)],
            check=True,
        )  # fmt: skip
        docker("import", str(tarball), base)
        context = Path(scratch, "context")
        (context / "ca").mkdir(parents=True)
        for file in SITE_CERTIFICATES.glob("*.crt"):
            shutil.copy(file, context / "ca")
        for name in ("Dockerfile", "host-init"):
            shutil.copy(HERE / name, context)
        docker("build", "--quiet", "--build-arg", f"BASE={base}", "--build-arg", f"KIND={kind.init}",
               "--tag", image, str(context))  # fmt: skip
    outdated = docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    for other in outdated:
        if other.startswith(f"{REPOSITORY}:{kind_name}-") and other != image:
            subprocess.run(["docker", "rmi", other], check=False, capture_output=True)  # in use: the next build's turn
