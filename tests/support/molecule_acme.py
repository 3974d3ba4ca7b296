"""The ACME server of Molecule's scenario ``https``.

The scenario's prepare.yml starts it with ``python -m support.molecule_acme FILE``. The file then has what the settings
of the hub and the tests need.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from hosts.hosts import Host
from support.acme import ZONE, AcmeHost, Pebble

DOMAIN = f"hub.{ZONE}"
#: The directory in which Molecule keeps the state of the scenario.
STATE = "MOLECULE_EPHEMERAL_DIRECTORY"


class Known(NamedTuple):
    """What the file says: :class:`support.acme.Pebble`, and the authority of the API's own certificate."""

    port: int
    url: str
    root: str
    authority: str

    @property
    def pebble(self) -> Pebble:
        """The server."""
        return Pebble(self.port, self.url, self.root)


def known(state: str = "") -> Known:
    """Return what is known of the server; in a run of Molecule, the directory is in the environment."""
    return Known(**json.loads(Path(state or os.environ[STATE], "acme.json").read_text(encoding="utf-8")))


def main() -> None:
    """Start it, and let the hub's name have the address of the scenario's server."""
    server = AcmeHost(Host.find("molecule-acme"))
    pebble = server.start()
    server.set_address(DOMAIN, Host.find("molecule-https").address)
    text = json.dumps(Known(*pebble, server.authority)._asdict())
    Path(sys.argv[1]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
