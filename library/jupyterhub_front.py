#!/usr/bin/python
"""Ansible module: the front of a host, through which users reach the hubs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_front
short_description: Run the front of a host, through which users reach the hubs
description:
  - Runs one nginx container on the network of the host, in front of the proxies of all hubs of the host, and makes it
    serve one hub, under its domain or, without HTTPS, at its port. The other hubs' parts of the configuration stay as
    they are.
  - A new configuration is validated before nginx uses it. nginx then reloads without interrupting a connection. A new
    container listens beside the old one, which ends with its last connection, after a day at the latest.
  - At the end, fetches the certificate from the front, and checks that it is the one of the hub.
  - If the hub's proxy has the hub's port, as in earlier versions, the container only starts. M(jupyterhub_proxy) then
    starts another proxy, and moves the port from the old one to the front.
options:
  name:
    description: Name of the front's container.
    type: str
    default: jupyterhub-front
  hub:
    description: Name of the hub.
    type: str
    required: true
  state:
    description: V(absent) stops serving the hub, and removes the front with the last hub.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: Image of the front. It must be on the host.
    type: str
    default: ""
  directory:
    description: Directory on the host with the configuration, the certificates and their keys.
    type: path
    default: /etc/jupyterhub-front
  https:
    description:
      - The origin of the certificate. V(acme) requests one from an ACME server (O(acme)), V(own) uses O(certificate)
        and O(key). V(behind) is for a hub behind another proxy, which ends TLS. V(none) serves plain HTTP.
    type: str
    choices: [none, acme, own, behind]
    default: none
  domain:
    description: Host name of the hub in the users' browsers. With O(https=none), the hub has its port for itself.
    type: str
    default: ""
  subdomains:
    description: Whether each user has a host name of their own below O(domain).
    type: bool
    default: false
  bind_address:
    description: IPv4 address of the host that users reach. V(0.0.0.0) means all of them, and those of IPv6.
    type: str
    default: 0.0.0.0
  http_port:
    description: Port for HTTP. Redirects to HTTPS; with O(https=behind), the port that the other proxy uses; with
      O(https=none), the hub's.
    type: int
    default: 80
  https_port:
    description: Port for HTTPS. Not used with O(https=behind) and O(https=none).
    type: int
    default: 443
  hsts_seconds:
    description: How long browsers use only HTTPS for the domain, in seconds. 0 does not ask them to.
    type: int
    default: 0
  trusted_proxies:
    description: Addresses and networks of the other proxy, for O(https=behind). Only these may name the browser's
      address and protocol. With O(https=none), by default those of this host.
    type: list
    elements: str
    default: []
  certificate:
    description: The certificate with its intermediate authorities, for O(https=own). A path on the host, or PEM text.
    type: str
    default: ""
  key:
    description: The key of O(certificate), without a passphrase. A path on the host, or PEM text.
    type: str
    default: ""
  acme:
    description: How a certificate is requested, for O(https=acme).
    type: dict
    default: {}
    suboptions:
      email:
        description: Address for messages of the server.
        type: str
        default: ""
      server:
        description: V(letsencrypt), V(staging), or the URL of the directory of an ACME server.
        type: str
        default: letsencrypt
      ca_bundle:
        description: Authorities that the server's own certificate is checked with. A path on the host, or PEM text.
        type: str
        default: ""
      eab_key_id:
        description: Key id of an external account.
        type: str
        default: ""
      eab_hmac_key:
        description: HMAC key of an external account, base64url.
        type: str
        default: ""
      challenge:
        description: V(http) needs port 80 of O(domain), V(dns) a plugin or a hook.
        type: str
        choices: [http, dns]
        default: http
      dns_plugin:
        description: A plugin of certbot, such as V(rfc2136).
        type: str
        default: ""
      dns_credentials:
        description:
          - Settings of the plugin, as certbot names them, as a JSON object.
          - One string, because Ansible hides each value of a dictionary wherever it appears, also a number of seconds.
        type: str
        default: ""
      dns_hook:
        description: Text of a script that is called with C(add) or C(remove).
        type: str
        default: ""
  environment:
    description: Environment variables of the container.
    type: dict
    default: {}
  keep_old_names:
    description: Also serve the names that the hub had before, until a call without this option. For the time until the
      hub itself has the new ones.
    type: bool
    default: false
  health_timeout:
    description: Seconds that nginx gets to start, or to use a new configuration.
    type: float
    default: 120
attributes:
  check_mode:
    description: Reports what would be done, also on a host without Docker; changes nothing.
    support: full
  diff_mode:
    description: Shows the configuration of nginx and the specification of the container before and after.
    support: full
"""

EXAMPLES = r"""
- name: Serve the hub under its domain
  jupyterhub_front:
    hub: jupyterhub
    image: jupyterhub-deploy/front:5.8.0
    https: own
    domain: hub.example.com
    certificate: /etc/ssl/hub.example.com.pem
    key: /etc/ssl/private/hub.example.com.key
"""

RETURN = r"""
action:
  description: What was done with the container, or would be in check mode.
  type: str
  returned: success
  sample: create
keeps_old_names:
  description: Whether O(keep_old_names) had an effect.
  type: bool
  returned: success
messages:
  description: What was done and why.
  type: list
  elements: str
  returned: success
  sample: ["the front serves https://hub.example.com/ for hub jupyterhub"]
certificate:
  description: The certificate that is served, with its names, who issued it, and the days until it ends. Empty without
    one.
  type: dict
  returned: success
  sample: {"names": ["hub.example.com"], "issuer": "Example University", "days": 364}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.update import front


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pass the options on."""
    return front.run(module.params, module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(front.SPEC, run, doing="updating the front", required_if=front.REQUIRED_IF)


if __name__ == "__main__":
    main()
