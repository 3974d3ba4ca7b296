"""A certificate of the operator's, and its files in the directory of the front."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically
from ansible.module_utils.jupyterhub_deploy.front.certificate import pem_of
from ansible.module_utils.jupyterhub_deploy.front.site import CHAIN, KEY, own_directory


@dataclass(frozen=True)
class OwnCertificate:
    """A certificate of the operator's. Its directory has a name of its own, so that it never changes while in use."""

    directory: str
    chain: str
    key: str

    @classmethod
    def of(cls, hub: str, certificate: str, key: str) -> OwnCertificate:
        """Read certificate and key.

        :param certificate: its path, or its text; so is ``key``.
        :raises DeployError: a file cannot be read.
        """
        chain = pem_of("jupyterhub_tls_certificate", certificate)
        private = pem_of("jupyterhub_tls_key", key)
        return cls(own_directory(hub, chain, private), chain, private)

    def write(self, directory: str) -> None:
        """Write both files below the front's directory."""
        for name, text in ((CHAIN, self.chain), (KEY, self.key)):
            path = os.path.join(directory, self.directory, name)
            if read_text(path) != text:
                write_atomically(path, text, parents=True)
