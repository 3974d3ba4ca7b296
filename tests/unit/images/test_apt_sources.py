"""Which of a host's apt sources a base image is made from."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.images.apt_sources import archive_sources

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

CLOUD = f"""\
# A comment

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
# Signed-By: /etc/apt/keyrings/old.gpg
Signed-By: {KEYRING}
"""

EMBEDDED = """\
Types: deb
URIs: http://mirror.example.com/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""

LINES = """\
# deb http://mirror.example.com/ubuntu noble main
deb http://mirror.example.com/ubuntu noble main universe # the archive
deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://mirror.example.com/ubuntu noble-security main
"""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a host, by path."""
    contents = {
        "/etc/apt/sources.list": LINES,
        "/etc/apt/sources.list.d/debian.sources": CLOUD,
        "/etc/apt/sources.list.d/own.sources": EMBEDDED,
        "/etc/apt/mirrors/debian.list": "# nearest first\nhttps://deb.example.com/debian\thost\nhttp://b.example.com\n",
    }
    monkeypatch.setattr(files, "read_text", contents.get)
    return contents


@pytest.mark.usefixtures("host")
class TestSources:
    def test_a_list_of_mirrors_becomes_its_first_mirror(self) -> None:
        targets = """\
mirror+file:/etc/apt/mirrors/debian.list/ bookworm main /etc/apt/sources.list.d/debian.sources:1
mirror+file:/etc/apt/mirrors/debian.list/ bookworm non-free-firmware /etc/apt/sources.list.d/debian.sources:1
mirror+file:/etc/apt/mirrors/debian.list/ bookworm-updates main /etc/apt/sources.list.d/debian.sources:1
mirror+file:/etc/apt/mirrors/debian.list/ bookworm-backports main /etc/apt/sources.list.d/debian.sources:1
mirror+file:/etc/apt/mirrors/none.list/ bookworm-security main /etc/apt/sources.list.d/debian.sources:1
"""
        assert archive_sources(targets, "bookworm") == [
            f"deb [signed-by={KEYRING}] https://deb.example.com/debian bookworm main non-free-firmware",
            f"deb [signed-by={KEYRING}] https://deb.example.com/debian bookworm-updates main",
        ]

    def test_a_key_inside_the_file_is_left_to_apt(self) -> None:
        targets = "http://mirror.example.com/debian/ bookworm main /etc/apt/sources.list.d/own.sources:1\n"
        assert archive_sources(targets, "bookworm") == ["deb http://mirror.example.com/debian/ bookworm main"]

    def test_a_line_keeps_its_options(self) -> None:
        # One line for each architecture; sources of third parties, and media that only this host has, are left out.
        targets = """\
http://mirror.example.com/ubuntu/ noble main /etc/apt/sources.list:2
http://mirror.example.com/ubuntu/ noble main /etc/apt/sources.list:2
http://mirror.example.com/ubuntu/ noble universe /etc/apt/sources.list:2
https://mirror.example.com/ubuntu/ noble-security main /etc/apt/sources.list:3
https://third.example.com/docker/ noble stable /etc/apt/sources.list:3
https://third.example.com/tools/ stable main /etc/apt/sources.list:3
cdrom:[Ubuntu]/ noble main /etc/apt/sources.list:2
"""
        assert archive_sources(targets, "noble") == [
            "deb http://mirror.example.com/ubuntu/ noble main universe",
            "deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://mirror.example.com/ubuntu/ noble-security main",
        ]
