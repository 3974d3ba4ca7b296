"""Request a certificate from an ACME server, with certbot in the front's container.

``front.acme`` says what certbot gets, ``front.acme_failure`` what its errors mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically
from ansible.module_utils.jupyterhub_deploy.front import acme, acme_failure, certificate, nginx
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings, File
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.front.site import ACME, CHAIN, KEY, LAST_RENEWAL


def acme_settings(options: dict[str, Any]) -> AcmeSettings:
    """Return the settings of ACME from the option of the module.

    :raises DeployError: a file cannot be read.
    """
    credentials = options.get("dns_credentials")
    bundle = options.get("ca_bundle")
    text = certificate.pem_of("jupyterhub_acme_ca_bundle", bundle) if bundle else ""
    known = json.loads(credentials) if credentials else {}
    return AcmeSettings(**{**options, "ca_bundle": text, "dns_credentials": known})


class Acme:
    """The certificate of one hub from an ACME server.

    :param directory: the front's directory on the host.
    :param names: host names that the certificate is for.
    """

    def __init__(self, directory: str, hub: str, names: Sequence[str], settings: AcmeSettings) -> None:
        self.directory, self.hub, self.names, self.settings = directory, hub, list(names), settings
        self.live = nginx.acme_directory(hub)

    def has_certificate(self) -> bool:
        """Return whether there is a certificate, perhaps for other names or an old one."""
        return os.path.exists(os.path.join(self.directory, self.live, CHAIN))

    def reason(self) -> str:
        """Return why a certificate has to be requested, empty when the present one is as wanted."""
        if not self.has_certificate():
            return f"a certificate for {', '.join(self.names)} is requested from {self.settings.url}"
        chain, key = (read_text(os.path.join(self.directory, self.live, name)) or "" for name in (CHAIN, KEY))
        try:
            present = certificate.describe(chain, key)
        except DeployError as error:
            raise DeployError(
                f"the certificate of hub {self.hub} in {os.path.join(self.directory, self.live)} is damaged ({error}); "
                f"remove {' and '.join(self._lineage())}, then run make site again, which requests another one"
            ) from error
        if set(present.names) != set(self.names):
            return f"names of the certificate changed: {', '.join(present.names)} → {', '.join(self.names)}"
        if self._server() not in ("", self.settings.url):
            return f"ACME server changed: {self._server()} → {self.settings.url}"
        if present.expires < time.time():
            return "the certificate has expired"
        changed = self.settings_changed() or self._written() > self._written(LAST_RENEWAL)
        if changed and self._renewal_failed():
            return "the last renewal failed, and the settings of ACME changed"
        return ""

    def settings_changed(self) -> bool:
        """Return whether certbot's files have to be written, or some of them to be removed."""
        return any(self._outdated()) or bool(self._unwanted())

    def write_settings(self) -> None:
        """Write certbot's files, and remove those that are not needed any more."""
        for path, file in self._outdated():
            write_atomically(os.path.join(self.directory, path), file.text, mode=file.mode, parents=True)
        for path in self._unwanted():
            os.unlink(path)

    def request(self, container: FrontContainer) -> None:
        """Request the certificate; the present one stays in use until there is a new one.

        :raises DeployError: there is none, and why.
        """
        force = self.has_certificate() and self._server() not in ("", self.settings.url)
        code, output = container.run(acme.certonly(self.hub, self.names, self.settings, force))
        if code:
            raise DeployError(acme_failure.explain(self.hub, self.names, self.settings, output))

    def remove(self) -> None:
        """Remove certbot's settings, so that the certificate is not renewed any more. It stays, for a later use."""
        for path in self._files():
            os.unlink(path)

    def _written(self, *paths: str) -> float:
        """Return when the latest of these files, or of the settings, was written; 0 if none exists."""
        found = [os.path.join(self.directory, path) for path in paths] or self._files()
        return max((os.stat(path).st_mtime for path in found if os.path.exists(path)), default=0.0)

    def _renewal_failed(self) -> bool:
        """Return whether the front could not renew the certificate, and no run has requested one since."""
        if self._written(os.path.join(self.live, CHAIN)) > self._written(LAST_RENEWAL):
            return False
        with contextlib.suppress(ValueError, LookupError, TypeError):  # damaged; the next renewal replaces it
            last = json.loads(read_text(os.path.join(self.directory, LAST_RENEWAL)) or "{}")
            return bool(last["hubs"][self.hub]["exit_code"])
        return False

    def _lineage(self) -> list[str]:
        """Return the paths of what certbot knows of the certificate."""
        parts = (f"live/{self.hub}", f"archive/{self.hub}", f"renewal/{self.hub}.conf")
        return [os.path.join(self.directory, ACME, part) for part in parts]

    def _server(self) -> str:
        """Return the URL of the server that issued the present certificate."""
        text = read_text(os.path.join(self.directory, f"acme/renewal/{self.hub}.conf")) or ""
        found = re.search(r"^server = (\S+)$", text, re.MULTILINE)
        return found[1] if found else ""

    def _outdated(self) -> list[tuple[str, File]]:
        wanted = acme.files(self.hub, self.settings)
        return [
            (path, file)
            for path, file in wanted.items()
            if read_text(os.path.join(self.directory, path)) != file.text
        ]  # fmt: skip

    def _unwanted(self) -> list[str]:
        wanted = {os.path.join(self.directory, path) for path in acme.files(self.hub, self.settings)}
        return [path for path in self._files() if path not in wanted]

    def _files(self) -> list[str]:
        folder = os.path.join(self.directory, acme.directory(self.hub)[len(acme.FRONT) + 1 :])
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []
