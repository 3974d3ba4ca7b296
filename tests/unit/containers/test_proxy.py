"""The specification of the proxy container, and each reason to replace it, single and combined."""

from __future__ import annotations

import dataclasses

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import proxy
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.proxy import ProxyOptions
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.update import proxy as update_proxy
from hypothesis import given
from hypothesis import strategies as st

import jupyterhub_proxy
from support import modules
from support.factories.container import inspected

OPTIONS = ProxyOptions(
    name="jupyterhub-proxy",
    hub="jupyterhub",
    image="proxy:1",
    api_host="jupyterhub-proxy-api",
    token_file="/etc/jupyterhub/secrets/proxy_token",
    api_token_file="/etc/jupyterhub/secrets/api_token",
    network="jupyterhub-network",
    control_network="jupyterhub-control",
    front="jupyterhub-front",
    front_directory="/etc/jupyterhub-front",
    front_network="jupyterhub-front",
    health_timeout=120,
    address="172.19.0.2",
)
WANTED = proxy.wanted_spec(OPTIONS, "sha256:" + "1" * 64)

CHANGES = {
    "image": ("proxy:0", "proxy image name changed: proxy:0 → proxy:1"),
    "image_id": ("sha256:" + "9" * 64, "proxy image content changed: sha256:999999999999 → sha256:111111111111"),
    "environment": ({**WANTED["environment"], "PROXY_API_HOST": "x"}, "environment changed: PROXY_API_HOST"),
    "mounts": ([], f"mounts changed: +{WANTED['mounts'][0]}"),
    "networks": (["jupyterhub-front", "jupyterhub-network"], "networks changed: +jupyterhub-control"),
    "addresses": ({}, "fixed addresses changed: jupyterhub-front"),
    "ports": (["0.0.0.0:8000:8000"], "published ports changed: -0.0.0.0:8000:8000"),
    "hardening": ({**WANTED["hardening"], "cap_add": []}, "container restrictions changed: cap_add"),
    "restart_policy": ("no", "restart policy changed: no → unless-stopped"),
    "healthcheck": (["NONE"], None),
}


@pytest.mark.parametrize("image", [{"Config": {"Labels": None}}, {"Config": {"Labels": {"other": "yes"}}}])
def test_an_image_without_routes_by_host_names_is_refused(image):
    by_host = dataclasses.replace(OPTIONS, host_routing=True)
    with pytest.raises(DeployError, match="proxy image proxy:1 is of an earlier version, which has no routes for"):
        proxy.check_routing(by_host, image)
    proxy.check_routing(OPTIONS, image)
    proxy.check_routing(by_host, None)
    proxy.check_routing(by_host, {"Config": {"Labels": {proxy.LABEL_HOST_ROUTING: "yes"}}})


def reasons(old):
    observed = proxy.observed_spec(inspected({**WANTED, **old}))
    return [found.message for found in container_spec.differences(proxy.TITLES, WANTED, observed)]


def test_every_part_of_the_spec_has_a_change_below():
    assert set(CHANGES) == set(WANTED) == set(proxy.TITLES)


def test_a_proxy_that_matches_its_spec_is_kept():
    assert reasons({}) == []


@pytest.mark.parametrize("key", CHANGES)
def test_each_single_difference_is_named(key):
    value, message = CHANGES[key]
    found = reasons({key: value})
    assert len(found) == 1
    assert found == [message] if message else found[0].startswith("health check changed")


@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_all_differences_together_are_named(keys):
    found = reasons({key: CHANGES[key][0] for key in keys})
    assert [reason.partition(" changed")[0] for reason in found] == [
        title for key, title in proxy.TITLES.items() if key in keys
    ]


def test_requests_without_a_route_go_to_the_hub():
    assert WANTED["environment"]["PROXY_DEFAULT_TARGET"] == "http://jupyterhub:8081"


def test_the_host_reaches_the_fixed_address():
    assert WANTED["addresses"] == {"jupyterhub-front": "172.19.0.2"}
    assert proxy.public_probe(OPTIONS) == "http://172.19.0.2:8000/_chp_healthz"


def test_routes_begin_with_a_host_name_when_users_have_one():
    assert WANTED["environment"]["PROXY_HOST_ROUTING"] == ""
    by_host = dataclasses.replace(OPTIONS, host_routing=True)
    assert proxy.wanted_spec(by_host, None)["environment"]["PROXY_HOST_ROUTING"] == "1"
    # In both directions; a variable that nobody wants would not count.
    wanted = proxy.wanted_spec(by_host, WANTED["image_id"])
    for new, old in ((wanted, WANTED), (WANTED, wanted)):
        found = container_spec.differences(proxy.TITLES, new, proxy.observed_spec(inspected(old)))
        assert [one.message for one in found] == ["environment changed: PROXY_HOST_ROUTING"]


@pytest.mark.parametrize("before", [False, True])
def test_an_existing_proxy_can_keep_its_routes_until_the_hub_has_changed(before):
    keeping = dataclasses.replace(OPTIONS, host_routing=not before, keep_routing=True)
    existing = inspected(proxy.wanted_spec(dataclasses.replace(OPTIONS, host_routing=before), None))
    assert proxy.by_host(keeping, existing) is before
    assert proxy.by_host(keeping, None) is not before
    assert proxy.by_host(dataclasses.replace(keeping, keep_routing=False), existing) is not before


def test_a_proxy_of_an_earlier_version_without_routes_by_host_names_is_kept():
    environment = {name: value for name, value in WANTED["environment"].items() if name != proxy.HOST_ROUTING}
    observed = proxy.observed_spec(inspected({**WANTED, "environment": environment}))
    assert container_spec.differences(proxy.TITLES, WANTED, observed) == []
    by_host = proxy.wanted_spec(dataclasses.replace(OPTIONS, host_routing=True), WANTED["image_id"])
    assert len(container_spec.differences(proxy.TITLES, by_host, observed)) == 1


@pytest.mark.parametrize(
    ("aliases", "host"),
    [
        (None, "hub-proxy-api"),
        (["hub-proxy-api", "0123456789ab"], "hub-proxy-api"),
        (["hub-proxy-api", "hub-proxy-api-28001"], "hub-proxy-api-28001"),
    ],
)
def test_the_api_has_a_name_of_its_own_where_the_container_has_one(aliases, host):
    networks = {"hub-network": {"Aliases": ["hub-proxy"]}, "hub-control": {"Aliases": aliases}}
    assert proxy.api_url({"NetworkSettings": {"Networks": networks}}, "hub-proxy-api") == f"http://{host}:8001"


def test_check_mode_works_on_a_host_without_docker(monkeypatch):
    monkeypatch.setattr(update_proxy, "connect_or_none", lambda: None)
    monkeypatch.setattr(update_proxy, "docker_errors", None)  # without Python's docker SDK
    options = {name: value for name, value in dataclasses.asdict(OPTIONS).items() if name != "address"}
    result = modules.run(jupyterhub_proxy, check=True, **options)
    assert (result["action"], result["changed"]) == ("create", True)
