"""The front of a host, as one hub wants it: its site, its certificate, and the container.

The order keeps what runs: a configuration is validated before nginx uses it, a certificate is requested while the old
one is in use, and a container is replaced while the old one still serves its connections.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import image_id
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.front import certificate, handover, nginx, plan, release, target
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings
from ansible.module_utils.jupyterhub_deploy.front.acme_request import Acme, acme_settings
from ansible.module_utils.jupyterhub_deploy.front.certificate import Certificate
from ansible.module_utils.jupyterhub_deploy.front.container import TITLES, FrontContainer, wanted_spec
from ansible.module_utils.jupyterhub_deploy.front.own_certificate import OwnCertificate
from ansible.module_utils.jupyterhub_deploy.front.site import (
    CHAIN,
    CHALLENGES,
    KEY,
    OWN,
    Site,
    own_directory,
    read_sites,
    write_site,
    write_waiting,
)
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

# Without HTTPS, a web server on the host may end it in front of the hub.
LOOPBACK = ["127.0.0.1", "::1"]
FETCH_TIMEOUT = 10.0  # seconds until the new certificate is served
LISTEN_TIMEOUT = 5.0  # seconds in which a running nginx has to listen


@dataclass(frozen=True)
class FrontOptions:
    """The options of the module ``jupyterhub_front``, by their names."""

    name: str
    hub: str
    state: str
    image: str
    directory: str
    https: str
    domain: str
    subdomains: bool
    bind_address: str
    http_port: int
    https_port: int
    hsts_seconds: int
    trusted_proxies: list[str]
    certificate: str
    key: str
    acme: dict[str, Any]
    environment: dict[str, str]
    keep_old_names: bool
    health_timeout: float


class Front:
    """The front of this host.

    :param client: a low-level Docker client; ``None`` in check mode on a host without Docker.
    """

    def __init__(self, client: Any | None, options: FrontOptions) -> None:
        self.client, self.options = client, options
        self.directory = options.directory
        self.container = FrontContainer(client, options.name, options.health_timeout)
        self.sites = read_sites(self.directory)
        self.others = [site for hub, site in self.sites.items() if hub != options.hub]
        self.own = OwnCertificate.of(options.hub, options.certificate, options.key) if options.https == "own" else None
        names = [options.domain, *([f"*.{options.domain}"] if options.subdomains else [])]
        settings = acme_settings(options.acme) if options.https == "acme" else AcmeSettings()
        self.acme = Acme(self.directory, options.hub, names, settings)
        served = self.sites.get(options.hub)
        if served and served.certificate == self.acme.live and not self.acme.has_certificate():  # removed by hand
            self.sites[options.hub] = dataclasses.replace(served, certificate="")

    def wanted_site(self) -> Site:
        """Return what the hub wants the front to serve.

        :raises DeployError: it conflicts with what another hub wants.
        """
        options = self.options
        plain = options.https == "none"
        domain, trusted = "" if plain else options.domain, options.trusted_proxies or (LOOPBACK if plain else [])
        site = Site(
            options.hub, options.https, domain, options.subdomains, options.bind_address,
            options.http_port, options.https_port, options.hsts_seconds, trusted,
            self.own.directory if self.own else self.acme.live if self._uses_acme() else "",
        )  # fmt: skip
        for other in self.others:
            plan.check_conflict(site, other)
        return site

    def _uses_acme(self) -> bool:
        """Return whether the hub has a certificate from ACME already."""
        return self.options.https == "acme" and self.acme.has_certificate()

    def holders(self, site: Site) -> list[str]:
        """Return the hub's own proxies that users reach at a port of the site: see ``front.handover``."""
        return handover.holders(self.client.containers(), site) if self.client else []

    def certificate_reason(self) -> str:
        """Return why a certificate is requested from the ACME server, empty if none is."""
        return self.acme.reason() if self.options.https == "acme" else ""

    def settings_changed(self) -> bool:
        """Return whether the settings of ACME differ from those that renewals use."""
        return self.options.https == "acme" and self.acme.settings_changed()

    def render(self, sites: list[Site]) -> str:
        """Return the configuration with what is served for this hub, and the sites of the others."""
        return self.container.render([*self.others, *sites])

    def plan(self, site: Site) -> tuple[str, list[str], dict[str, Any]]:
        """Return what to do with the container, why, and the diff of its specification.

        The action is one of ``containers.spec.plan``.
        """
        options = self.options
        current = self.container.observe() if self.client else None
        wanted = wanted_spec(
            options.image, image_id(self.client, options.image), self.directory, options.environment
        )  # fmt: skip
        before = container_spec.comparable(wanted, container_spec.observed_spec(current)) if current else {}
        differences = container_spec.differences(TITLES, wanted, before) if current else []
        running = current is not None and current["State"]["Running"]
        # A busy host may refuse one command in the container.
        running = running and (bool(differences) or wait_until(self.container.listens, LISTEN_TIMEOUT))
        action, reasons = container_spec.plan("front", current, [one.message for one in differences], running)
        # A restart would interrupt the connections of all hubs.
        return ("replace" if action == "restart" else action), reasons, {"before": before, "after": wanted}

    def wait(self, site: Site, action: str, spec: container_spec.Spec) -> None:
        """Make the container run, and let the site wait until the hub's proxy gives up the port: ``front.handover``.

        :raises DeployError: that fails; what was served before still is.
        """
        self._require(spec, site)
        if action == "replace":
            self._replace(spec)
        elif action != "none":
            old = self.sites.get(self.options.hub)
            self._start(action, self.render([old] if old else []), spec)
        write_waiting(self.directory, site.hub, site)

    def apply(
        self, site: Site, action: str, spec: container_spec.Spec, requested: bool = False, again: bool = False
    ) -> Site:
        """Make the front serve the site; return it, with its certificate.

        :param requested: request a certificate.
        :param again: let nginx read its files in any case.
        :raises DeployError: that fails; what was served before still is.
        """
        self._require(spec, site)
        if self.own:
            self.own.write(self.directory)
        if self.options.https == "acme":
            self.acme.write_settings()
        before = self.sites.get(site.hub)
        if before and requested and self.keeps(site):
            self._copy_certificate(before)
        old = self.sites.get(site.hub)
        sites = plan.meanwhile(old, site) if requested else self.served(site)
        if action == "replace":  # first, because the old one may be stopped, or lack what a request needs
            if not self.container.listens():
                release.write(self.directory, self.render(sites))
            self._replace(spec)
        self._serve(sites, action, spec, again)
        if requested:
            site = self._request(before, site, spec)
        if self.keeps(site):
            return site
        write_site(self.directory, site.hub, site)
        write_waiting(self.directory, site.hub, None)
        self._remove_old_certificates(site)
        if self.options.https != "acme":
            self.acme.remove()
        return site

    def _require(self, spec: container_spec.Spec, site: Site) -> None:
        """Check that the image is there, and write the files that every configuration needs."""
        if not spec["image_id"]:
            name = spec["image"] or "of the front"
            raise DeployError(f"image {name} is not on this host; run make site without --tags, which installs it")
        os.makedirs(os.path.join(self.directory, CHALLENGES), mode=0o755, exist_ok=True)
        for one in (site, *self.others):
            target.ensure(self.directory, one.hub, self.client, one.listens)

    def served(self, site: Site) -> list[Site]:
        """Return what is served for the hub, with its old names if they are to be kept."""
        return plan.with_old_names(self.sites.get(site.hub), site) if self.options.keep_old_names else [site]

    def keeps(self, site: Site) -> bool:
        """Return whether old names are kept, so that another run has to remove them."""
        return self.served(site) != [site]

    def _copy_certificate(self, old: Site) -> None:
        """Keep the certificate of the hub's old names, whose place the one for the new names takes."""
        if old.certificate != self.acme.live:
            return
        chain, key = (read_text(os.path.join(self.directory, old.certificate, name)) or "" for name in (CHAIN, KEY))
        copy = OwnCertificate(own_directory(old.hub, chain, key), chain, key)
        copy.write(self.directory)
        self.sites[old.hub] = dataclasses.replace(old, certificate=copy.directory)
        write_site(self.directory, old.hub, self.sites[old.hub])

    def outdated(self, site: Site) -> str:
        """Return what nginx has not read yet, as after a run that was killed; empty when it uses what it should.

        :param site: as it is served.
        """
        if not release.is_used(release.current(self.directory), site):
            return "nginx did not use its configuration"
        if site.certificate:
            try:
                self._fetch(site)
            except DeployError:
                return "nginx did not use the certificate"
        return ""

    def _fetch(self, site: Site) -> Certificate:
        """Return the site's certificate as the front serves it.

        :raises DeployError: nothing answers, or with another one.
        """
        trusted = read_text(os.path.join(self.directory, site.certificate, CHAIN)) or ""
        # Preflight has checked the dates; a certificate that is in use already may have expired.
        return certificate.fetch(site.local_address, site.https_port, site.domain, trusted, check_time=False)

    def _serve(self, sites: list[Site], action: str, spec: container_spec.Spec, again: bool = False) -> None:
        """Make the front, which is created or started if necessary, use a configuration.

        :param again: let nginx read the certificates in any case.
        """
        config = self.render(sites)
        if action in ("create", "start"):
            self._start(action, config, spec)
            config = self.render(sites)  # the version of nginx is known now
        current = release.current(self.directory)
        if again or config != current or not release.is_used(config, sites[-1]):  # a run was killed before the reload
            release.release(self.container, self.directory, config, sites[-1])

    def _request(self, old: Site | None, site: Site, spec: container_spec.Spec) -> Site:
        """Request a certificate and use it; return the site with it.

        :param old: what was served before.
        :raises DeployError: there is none; what was served for the hub before still is.
        """
        if old is None:
            write_site(self.directory, site.hub, dataclasses.replace(site, certificate=""))
        try:
            self.acme.request(self.container)
        except DeployError:
            if old:
                write_site(self.directory, site.hub, old)
                self._serve([old], "none", spec)
            raise
        site = dataclasses.replace(site, certificate=self.acme.live)
        # Also when the text is the same: nginx has to read the new files.
        release.release(self.container, self.directory, self.render(self.served(site)), site)
        return site

    def _start(self, action: str, config: str, spec: container_spec.Spec) -> None:
        """Create or start the container, which does not run; the old configuration is restored if it does not start."""
        old = release.current(self.directory)
        release.write(self.directory, config)
        try:
            if action == "create":
                self.container.replace(spec)
            else:
                self.client.restart(self.container.name)  # type: ignore[union-attr]
                self.container.wait_until(self.container.listens, "listening")
        except DeployError:
            release.write(self.directory, old)
            raise

    def _replace(self, spec: container_spec.Spec) -> None:
        """Replace the container. The present configuration has to be one for the nginx of a new image, too."""
        current, observed = release.current(self.directory), self.container.observe()
        if observed and observed["Image"] != spec["image_id"]:
            release.write(self.directory, nginx.for_any_version(current))
        try:
            self.container.replace(spec)
        except DeployError:
            release.write(self.directory, current)
            raise

    def remove(self) -> list[str]:
        """Remove the site of this hub, and the front with the last one; return a message for each action."""
        hub = self.options.hub
        messages = []
        if self.others:
            config = self.render([])
            if not self.container.listens():
                release.write(self.directory, config)
            elif config != release.current(self.directory):
                release.release(self.container, self.directory, config, self.others[0])
        elif self.container.observe():
            self.container.remove()
            messages.append(f"removed container {self.container.name}, which no hub needs any more")
        if hub in self.sites:  # or nginx would look for it in the next run of another hub, if this one is killed
            write_site(self.directory, hub, dataclasses.replace(self.sites[hub], certificate=""))
        shutil.rmtree(os.path.join(self.directory, OWN, hub), ignore_errors=True)
        self.acme.remove()
        target.remove(self.directory, hub)
        write_waiting(self.directory, hub, None)
        if hub in self.sites:  # last, because the next run sees by it that something is left
            write_site(self.directory, hub, None)
            messages.append(f"the front does not serve {self.sites[hub].url} any more")
        return messages

    def verify(self, site: Site) -> Certificate | None:
        """Fetch the certificate that the front serves, and check that it is the one of the site.

        :raises DeployError: another one is served, or none.
        """
        if not site.certificate:
            return None
        found: list[Certificate] = []
        errors: list[DeployError] = []

        def fetched() -> bool:
            try:
                found.append(self._fetch(site))
            except DeployError as error:
                errors.append(error)
            return bool(found)

        if not wait_until(fetched, FETCH_TIMEOUT, 0.5):
            raise errors[-1]
        return found[0]

    def _remove_old_certificates(self, site: Site) -> None:
        folder = os.path.join(self.directory, OWN, site.hub)
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if os.path.join(OWN, site.hub, name) != site.certificate:
                shutil.rmtree(os.path.join(folder, name))
