"""The apt sources and the proxy of the host, for mmdebstrap, which does not read the host's settings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from ansible.module_utils.jupyterhub_deploy import files


def archive_sources(targets: str, suite: str) -> list[str]:
    """Return the apt sources of the host's own distribution, as one-line entries.

    Sources of third parties are left out: the images need none of their packages, and their keys may be missing. The
    sources of the distribution are recognised by their suite (``bookworm``, ``bookworm-updates`` …) and the component
    ``main``; those of Debian may have another name for the suite, such as ``oldstable``.

    :param targets: what apt knows, from :func:`index_targets`.
    :param suite: the distribution's code name.
    """
    components: dict[tuple[str, str, str], list[str]] = {}
    for uri, _, its_suite, component, entry in _archives(targets, suite):
        components.setdefault((_options(entry), _mirror(uri), its_suite), []).append(component)
    return [
        f"deb {options}{uri} {its_suite} {' '.join(dict.fromkeys(found))}"
        for (options, uri, its_suite), found in components.items()
        if "main" in found and uri.startswith(("http://", "https://"))
    ]


def problem(targets: str, suite: str) -> str:
    """Return why no base image can be built from the host's sources, empty if one can. Pure."""
    if archive_sources(targets, suite):
        return ""
    return local_only(targets, suite) or (
        f"apt on this host has no package list of the suite {suite} with the component main; fix the apt sources and "
        "run apt-get update, or name a base image in jupyterhub_images_base"
    )


def local_only(targets: str, suite: str) -> str:
    """Return that all sources of the suite are files of the host, empty if they are not or there are none. Pure."""
    local = sorted({uri for uri, _ in archives(targets, suite)})
    if not local or archive_sources(targets, suite):
        return ""
    return (
        f"apt on this host gets the suite {suite} from {', '.join(local)}, which an image cannot use; add a source "
        "with http:// or https:// and run apt-get update, or name a base image in jupyterhub_images_base"
    )


def archives(targets: str, suite: str) -> list[tuple[str, str]]:
    """Return address and suite, as ``apt-cache`` shows them, of the sources of :func:`archive_sources`."""
    return [(uri, release) for uri, release, _, component, _ in _archives(targets, suite) if component == "main"]


def _archives(targets: str, suite: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield address, suite in the sources, code name, component and entry of the distribution's sources."""
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    for line in targets.splitlines():
        uri, release, codename, component, entry, origin = line.split(" ", 5)
        # Ubuntu has the same code name for all of them.
        its_suite = codename if origin == "Debian" and release not in wanted else release
        if its_suite in wanted:
            yield uri, release, its_suite, component, entry


def index_targets() -> str:
    """Return the package lists that apt has downloaded, by line.

    A line has the address, the suite in the sources, the code name, the component, the file with the position, and the
    origin.
    """
    form = "$(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT) $(SOURCESENTRY) $(ORIGIN)"
    return _output(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])


def _options(entry: str) -> str:
    """Return the options of a source in the one-line style, which ``indextargets`` does not show.

    In a ``*.sources`` file, only paths of keyrings count: apt uses its trusted keys for a key inside the file.

    :param entry: such as ``/etc/apt/sources.list:3``.
    """
    path, _, line = entry.rpartition(":")
    text = files.read_text(path) or ""
    if path.endswith(".sources"):
        keyrings = " ".join(re.findall(r"(?im)^Signed-By:[ \t]*(/.*)$", text)).split()
        return f"[signed-by={','.join(dict.fromkeys(keyrings))}] " if keyrings else ""
    found = re.match(r"\s*deb\s+(\[[^]]*\]\s+)", text.splitlines()[int(line) - 1])
    return found[1] if found else ""


def _mirror(uri: str) -> str:
    """Return the address of a source; of a list of mirrors in a file of the host, which images do not have, the first.

    Cloud images of Debian have such lists: ``mirror+file:/etc/apt/mirrors/debian.list``.
    """
    scheme, _, path = uri.partition(":")
    if scheme != "mirror+file":
        return uri
    lines = (files.read_text("/" + path.strip("/")) or "").splitlines()
    return next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), uri)


def proxy_options() -> list[str]:
    """Return mmdebstrap's options for the proxy of this host's apt: mmdebstrap does not read the host's settings."""
    options = []
    for scheme in ("http", "https"):
        key = f"Acquire::{scheme}::Proxy"
        value = _output(["apt-config", "shell", "value", key]).strip().partition("=")[2].strip("'")
        if value:
            options.append(f'--aptopt={key} "{value}"')
    return options


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
