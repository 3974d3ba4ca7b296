"""Classify Docker's errors about registries, and explain them. The texts are from Docker 20.10 to 28."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.images import registry as registry
from ansible.module_utils.jupyterhub_deploy.images.reference import parse

NAME = "registry.example.com/course/notebook:1"
SEEN = [
    (500, 'Get "https://quay.io/v2/": dial tcp: lookup quay.io on 192.0.2.53:53: no such host', "unreachable"),
    (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', "unreachable"),
    (500, 'Get "https://quay.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout '
     "exceeded while awaiting headers)", "unreachable"),
    (500, 'Get "https://quay.io/v2/": context deadline exceeded', "unreachable"),
    (500, 'Get "https://quay.io/v2/": dial tcp 192.0.2.1:443: i/o timeout', "unreachable"),
    (500, 'Get "https://quay.io/v2/": net/http: TLS handshake timeout', "unreachable"),
    (500, 'Get "https://quay.io/v2/": Forbidden', "unreachable"),
    (500, 'Get "https://quay.io/v2/": EOF', "unreachable"),
    (500, 'Get "https://quay.io/v2/": proxyconnect tcp: dial tcp 192.0.2.1:3128: no route to host', "unreachable"),
    (500, "received unexpected HTTP status: 503 Service Unavailable", "unreachable"),
    (500, 'Get "https://192.0.2.1:5000/v2/": x509: certificate signed by unknown authority', "untrusted"),
    (500, 'Get "https://192.0.2.1:5000/v2/": tls: failed to verify certificate: x509: certificate signed by unknown '
     "authority", "untrusted"),
    (500, 'Get "https://192.0.2.1:5000/v2/": http: server gave HTTP response to HTTPS client', "plain http"),
    (500, 'Get "https://192.0.2.1:5000/v2/a/b/manifests/1": no basic auth credentials', "refused"),
    (500, 'Get "https://192.0.2.1:5000/v2/": unauthorized: authentication required', "refused"),
    (404, "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested "
     "access to the resource is denied", "refused"),
    (500, "unauthorized: incorrect username or password", "refused"),
    (401, "errors:\ndenied: requested access to the resource is denied", "refused"),
    (404, "manifest for 192.0.2.1:5000/a:nosuch not found: manifest unknown: manifest unknown", "missing"),
    (500, "no matching manifest for linux/arm64/v8 in the manifest list entries", "missing"),
    (500, "toomanyrequests: You have reached your pull rate limit.", "limited"),
    (404, "something new", "missing"),
    (None, "write /var/lib/docker/tmp/x: no space left on device", "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "text", "kind"), SEEN)
def test_kinds(status, text, kind):
    assert registry.classify(status, text) == kind


@pytest.mark.parametrize("kind", ["unreachable", "untrusted", "plain http", "refused", "missing", "limited", "failed"])
def test_errors_contain_image_registry_and_dockers_explanation(kind):
    text = registry.explain(kind, NAME, parse(NAME), None, "its own words")
    assert NAME in text
    assert "registry registry.example.com" in text
    assert "its own words" in text
    assert "\n" not in text


def test_next_steps():
    login = {"username": "alice", "password": "geheim"}
    reference = parse(NAME)
    wrong = registry.explain("refused", NAME, reference, login, "unauthorized")
    assert "refused the login of alice" in wrong
    assert "jupyterhub_registry_logins" in wrong
    assert "geheim" not in wrong
    assert "wants a login" in registry.explain("refused", NAME, reference, None, "denied")
    assert "jupyterhub_image_source: build" in registry.explain("unreachable", NAME, reference, None, "no such host")
    assert "/etc/docker/certs.d/registry.example.com/ca.crt" in registry.explain(
        "untrusted", NAME, reference, None, "x"
    )
    assert "docker_insecure_registries" in registry.explain("plain http", NAME, reference, None, "x")


@pytest.mark.parametrize("kind", ["unreachable", "untrusted", "plain http", "refused", "missing", "limited", "failed"])
@pytest.mark.parametrize("login", [None, {"username": "alice", "password": "geheim"}])
def test_errors_of_the_policy_always_name_a_way_to_continue(kind, login):
    text = registry.explain_newer(kind, NAME, parse(NAME), login, "its own words")
    for part in (NAME, "registry registry.example.com", "its own words", "-e jupyterhub_pull_policy=missing"):
        assert part in text
    assert "geheim" not in text
    assert "\n" not in text


def test_an_image_that_is_not_in_a_registry_is_reported():
    for kind in ("missing", "refused"):
        text = registry.explain_newer(kind, NAME, parse(NAME), None, "x")
        assert f"image {NAME} is on this host, but registry registry.example.com has none of that name" in text
    unreachable = registry.explain_newer("unreachable", NAME, parse(NAME), None, "no such host")
    assert "nothing was changed, and the hub keeps running" in unreachable
    assert "jupyterhub_image_source: build" not in unreachable
